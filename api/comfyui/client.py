"""The HTTP and websocket client of ComfyUI: uploads photos, queues graphs, follows runs, downloads pictures."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import aiohttp

from ..base.order import Job, Order, Picture
from . import responses
from .workflow import Graph, fill, load, photo_name

Began = Callable[[], None]  # called when the run has begun, possibly several times
Report = Callable[[str, float, float], None]  # (title of the node at work, value, maximum)

CALL = aiohttp.ClientTimeout(total=60)  # loading a model can block ComfyUI's server for seconds
PROBE = aiohttp.ClientTimeout(total=3)
ASK_AGAIN = 5.0  # seconds; the websocket does not report the deletion of a queued job


class ComfyError(Exception):
    """A call to ComfyUI failed; the message is one sentence."""


class UnreachableError(ComfyError):
    """ComfyUI does not answer."""


class RefusedError(ComfyError):
    """ComfyUI refused the graph or the photo; trying again does not help."""


class LostError(ComfyError):
    """ComfyUI does not know the job: it was restarted, or the queued job was deleted."""


class TimedOutError(ComfyError):
    """The run exceeded its timeout; ComfyUI goes on with it unless it is cancelled."""


class Comfy:
    """The client of one ComfyUI server. The caller owns and closes the session."""

    def __init__(self, url: str, session: aiohttp.ClientSession):
        self.url = url.rstrip("/")
        self._session = session

    async def is_there(self) -> bool:
        """Whether the server answers."""
        try:
            async with self._session.get(f"{self.url}/system_stats", timeout=PROBE) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def run(self, order: Order, report: Report | None = None, timeout: float = 3600) -> Job:
        """Queues the order unless ComfyUI already has it, and waits for the end of its run (`timeout` in seconds).

        Settle an order that may be run again: otherwise each run draws another seed.
        """
        graph = fill(order, load(order.workflow))
        if await self.job(order.id) is None:
            for parameter, photo in order.photos.items():
                await self.upload(photo, photo_name(order, parameter))
            await self.queue(order.id, graph)
        return await self.wait(order.id, timeout, _by_title(report, graph))

    async def upload(self, photo: Path, name: str) -> None:
        """Uploads a file to ComfyUI's input folder. `name` may contain subfolders. Raises RefusedError."""
        folder, _, filename = name.rpartition("/")
        await self._write(Picture(filename, folder, "input"), await asyncio.to_thread(photo.read_bytes))

    async def blank(self, picture: Picture) -> None:
        """Overwrites a picture with an empty file: ComfyUI has no call that deletes one."""
        await self._write(picture, b"")

    async def forget(self, job_ids: Iterable[str]) -> None:
        """Deletes ended runs from ComfyUI's history, which holds their graphs and errors."""
        await self._call("POST", "/history", json={"delete": list(job_ids)})

    async def queue(self, job_id: str, graph: Graph) -> None:
        """Queues the graph. The job's id is also the client id of its websocket. Raises RefusedError."""
        body = {"prompt": graph, "prompt_id": job_id, "client_id": job_id}
        status, answer = await self._call("POST", "/prompt", json=body)
        reasons = responses.reasons(answer, graph, await self._choices(responses.unlisted(answer)))
        if status == 200 and reasons:  # ComfyUI queued it without the faulty outputs
            await self.cancel(job_id)
        if status != 200 or reasons:
            raise RefusedError(f"ComfyUI refused the workflow: {reasons or f'HTTP {status}'}.")

    async def cancel(self, job_id: str) -> None:
        await self._call("POST", f"/api/jobs/{job_id}/cancel")

    async def job(self, job_id: str) -> Job | None:
        """Returns the state of the run with this id; None if ComfyUI does not know it."""
        status, answer = await self._call("GET", f"/api/jobs/{job_id}")
        if status == 404:
            return None
        if status != 200:
            raise ComfyError(f"ComfyUI answered HTTP {status} when asked for the job {job_id}.")
        return responses.job(answer)

    async def wait(
        self, job_id: str, timeout: float = 3600, report: Report | None = None, began: Began | None = None
    ) -> Job:
        """Waits for the end of a run: listens on the websocket, and polls when that is silent or closed.

        Raises TimedOutError and LostError.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    job = await self._follow(job_id, report, began or (lambda: None))
                    if job.ended:
                        return job
                    await asyncio.sleep(min(1, ASK_AGAIN))
        except TimeoutError:
            raise TimedOutError(f"The job {job_id} did not end within {timeout:g} seconds; ComfyUI goes on.") from None

    async def picture(self, picture: Picture) -> bytes:
        query = {"filename": picture.filename, "subfolder": picture.subfolder, "type": picture.type}
        status, content = await self._call("GET", "/view", params=query)
        if status != 200:
            raise ComfyError(f"ComfyUI does not give the picture {picture.filename} (HTTP {status}).")
        return content

    async def _choices(self, kinds: Iterable[str]) -> responses.Choices:
        """Returns the choices of these node classes' inputs, as far as ComfyUI lists them."""
        found = {}
        for kind in kinds:
            status, answer = await self._call("GET", f"/object_info/{kind}")
            found |= responses.choices(answer) if status == 200 else {}
        return found

    async def _write(self, picture: Picture, content: bytes) -> None:
        form = aiohttp.FormData({"subfolder": picture.subfolder, "type": picture.type, "overwrite": "true"})
        form.add_field("image", content, filename=picture.filename)
        status, _ = await self._call("POST", "/upload/image", data=form)
        if status != 200:
            raise RefusedError(f"ComfyUI did not take the photo {picture.filename} (HTTP {status}).")

    async def _follow(self, job_id: str, report: Report | None, began: Began) -> Job:
        """Returns the job when it has ended or the websocket closes. Connects before it polls, to miss no end."""
        try:
            async with self._session.ws_connect(
                f"{self.url}/ws", params={"clientId": job_id}, max_msg_size=0
            ) as socket:
                while True:
                    job = await self._known(job_id, began)
                    if job.ended or not await _listen(socket, job_id, report, began):
                        return job
        except (aiohttp.ClientError, TimeoutError):  # without a websocket the job is polled
            return await self._known(job_id, began)

    async def _known(self, job_id: str, began: Began) -> Job:
        job = await self.job(job_id)
        if job is None:
            raise LostError(
                f"ComfyUI at {self.url} no longer knows the job {job_id}: it was restarted or the job deleted."
            )
        if job.state != "pending":
            began()
        return job

    async def _call(self, method: str, path: str, **options: object) -> tuple[int, bytes]:
        try:
            async with self._session.request(method, self.url + path, timeout=CALL, **options) as answer:  # type: ignore
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            raise UnreachableError(f"ComfyUI does not answer at {self.url} ({reason}): is it running?") from error


async def _listen(socket: aiohttp.ClientWebSocketResponse, job_id: str, report: Report | None, began: Began) -> bool:
    """Reports progress until it is time to poll the job; returns False if the socket closed."""
    try:
        async with asyncio.timeout(ASK_AGAIN):
            async for message in socket:
                event = responses.event(message.data) if message.type is aiohttp.WSMsgType.TEXT else None
                if event is None or event.job_id != job_id:
                    continue
                began()
                if event.node is None:
                    return True
                if report is not None:
                    report(event.node, event.value, event.maximum)
    except TimeoutError:
        return True
    return False


def _by_title(report: Report | None, graph: Graph) -> Report | None:
    """Maps progress from node ids to titles. `1.2` is the id of a node that node 1 created at run time."""
    if report is None:
        return None
    titles = {node: content["_meta"]["title"] for node, content in graph.items()}
    return lambda node, value, maximum: report(titles.get(node.split(".")[0], node), value, maximum)

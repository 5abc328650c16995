"""The HTTP and websocket client of ComfyUI: uploads photos, queues graphs, follows runs, downloads pictures."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import aiohttp

from ..base.order import Job, Order, Picture
from . import responses
from .workflow import Graph, fill, load, photo_name

Began = Callable[[], None]  # called when the run is seen to have begun, maybe several times
Report = Callable[[str, float, float], None]  # (title of the node at work, value, maximum)

CALL = aiohttp.ClientTimeout(total=60)  # loading a model can hold ComfyUI's server up for seconds
PROBE = aiohttp.ClientTimeout(total=3)
ASK_AGAIN = 5.0  # seconds; a job deleted while it waits is not told of on the websocket


class ComfyError(Exception):
    """ComfyUI did not do what was asked; the message is one sentence."""


class UnreachableError(ComfyError):
    """ComfyUI does not answer."""


class RefusedError(ComfyError):
    """ComfyUI does not accept the graph or the photo; trying again does not help."""


class LostError(ComfyError):
    """ComfyUI knows nothing of the job: it was restarted, or the job was deleted while it waited."""


class TimedOutError(ComfyError):
    """The run took longer than it may; ComfyUI goes on with it unless it is cancelled."""


class Comfy:
    """One ComfyUI server. The session is the caller's, who closes it."""

    def __init__(self, url: str, session: aiohttp.ClientSession):
        self.url = url.rstrip("/")
        self._session = session

    async def is_there(self) -> bool:
        """Whether it is there."""
        try:
            async with self._session.get(f"{self.url}/system_stats", timeout=PROBE) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def run(self, order: Order, report: Report | None = None, timeout: float = 3600) -> Job:
        """Waits for the order's run, after queueing it unless ComfyUI already has it.

        Give a settled order where it may be run again: another seed would be drawn otherwise.
        """
        graph = fill(order, load(order.workflow))
        if await self.job(order.id) is None:
            for parameter, photo in order.photos.items():
                await self.upload(photo, photo_name(order, parameter))
            await self.queue(order.id, graph)
        return await self.wait(order.id, timeout, _by_title(report, graph))

    async def upload(self, photo: Path, name: str) -> None:
        """Puts a file into ComfyUI's input folder, under a name that may have folders in it."""
        folder, _, filename = name.rpartition("/")
        await self._write(Picture(filename, folder, "input"), await asyncio.to_thread(photo.read_bytes))

    async def blank(self, picture: Picture) -> None:
        """Leaves an empty file in the place of a picture: ComfyUI has no call that removes one."""
        await self._write(picture, b"")

    async def forget(self, job_ids: Iterable[str]) -> None:
        """Removes ended runs from ComfyUI's history, which holds their graphs and errors."""
        await self._call("POST", "/history", json={"delete": list(job_ids)})

    async def queue(self, job_id: str, graph: Graph) -> None:
        """Queues the graph under the job's id, which also names the websocket that hears of it."""
        body = {"prompt": graph, "prompt_id": job_id, "client_id": job_id}
        status, answer = await self._call("POST", "/prompt", json=body)
        reasons = responses.reasons(answer, graph, await self._choices(responses.unlisted(answer)))
        if status == 200 and reasons:  # queued all the same, without the outputs at fault
            await self.cancel(job_id)
        if status != 200 or reasons:
            raise RefusedError(f"ComfyUI refused the workflow: {reasons or f'HTTP {status}'}.")

    async def cancel(self, job_id: str) -> None:
        await self._call("POST", f"/api/jobs/{job_id}/cancel")

    async def job(self, job_id: str) -> Job | None:
        """How the run with this id stands; None when ComfyUI does not know it."""
        status, answer = await self._call("GET", f"/api/jobs/{job_id}")
        if status == 404:
            return None
        if status != 200:
            raise ComfyError(f"ComfyUI answered HTTP {status} when asked for the job {job_id}.")
        return responses.job(answer)

    async def wait(
        self, job_id: str, timeout: float = 3600, report: Report | None = None, began: Began | None = None
    ) -> Job:
        """Follows a run to its end, by the websocket and, whenever that is silent or closed, by asking."""
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
        """What the inputs of these node classes may be, as far as ComfyUI has a list of it."""
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
        """The job when it ended, or as it stood when the websocket closed. The socket opens first: no end is missed."""
        try:
            async with self._session.ws_connect(
                f"{self.url}/ws", params={"clientId": job_id}, max_msg_size=0
            ) as socket:
                while True:
                    job = await self._known(job_id, began)
                    if job.ended or not await _listen(socket, job_id, report, began):
                        return job
        except (aiohttp.ClientError, TimeoutError):  # no websocket; the job is asked after all the same
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
    """Reports progress until it is time to ask after the job; False when the socket closed."""
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
    """Progress comes by node id; an id that is not in the graph belongs to a node that made others."""
    if report is None:
        return None
    titles = {node: content["_meta"]["title"] for node, content in graph.items()}
    return lambda node, value, maximum: report(titles.get(node.split(".")[0], node), value, maximum)

"""The client against faults that a real ComfyUI does not produce on demand; the end-to-end test has the real one."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from consistent_face.api.base.order import Failure, Order, Picture
from consistent_face.api.comfyui import client as comfy
from consistent_face.api.comfyui import workflow

ID = "11111111-2222-4333-8444-555555555555"
GRAPH = {
    "4": {"class_type": "PreviewImage", "inputs": {}, "_meta": {"title": "Found Faces"}},
    "5": {"class_type": "SaveImage", "inputs": {}, "_meta": {"title": "Result"}},
}
PENDING = {"id": ID, "status": "pending"}
RUNNING = {"id": ID, "status": "in_progress"}
COMPLETED = {
    "id": ID,
    "status": "completed",
    "execution_start_time": 1000,
    "execution_end_time": 3500,
    "outputs": {
        "4": {"images": [{"filename": "faces.png", "subfolder": "", "type": "temp"}]},
        "3": {"text": ["1 face"]},
        "5": {"images": [{"filename": "result_00001_.png", "subfolder": f"consistent-face/{ID}", "type": "output"}]},
    },
    "workflow": {"prompt": GRAPH},
}
PICTURES = (Picture("result_00001_.png", f"consistent-face/{ID}", "output"),)
END = {"type": "executing", "data": {"node": None, "prompt_id": ID}}


class FakeComfy:
    """Answers from scripts: one job per question (the last one for ever), one list of messages per websocket."""

    def __init__(self) -> None:
        self.jobs: list[dict | None] = []
        self.sockets: list[list[dict]] = []
        self.prompt: tuple[int, dict | str] = (200, {"prompt_id": ID, "node_errors": {}})
        self.kinds: dict[str, dict] = {}
        self.asked: list[str] = []
        self.posted: list[dict] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/ws", self.socket),
                web.get("/api/jobs/{id}", self.job),
                web.post("/api/jobs/{id}/cancel", self.cancel),
                web.post("/prompt", self.queue),
                web.post("/upload/image", self.upload),
                web.get("/object_info/{kind}", self.kind),
            ]
        )
        return app

    async def job(self, request: web.Request) -> web.Response:
        self.asked.append("job")
        job = self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0]
        return web.json_response(job) if job else web.json_response({"error": "Job not found"}, status=404)

    async def cancel(self, request: web.Request) -> web.Response:
        self.asked.append("cancel")
        return web.json_response({"cancelled": True})

    async def queue(self, request: web.Request) -> web.Response:
        self.asked.append("queue")
        self.posted.append(await request.json())
        status, content = self.prompt
        return web.Response(status=status, text=content if isinstance(content, str) else json.dumps(content))

    async def kind(self, request: web.Request) -> web.Response:
        self.asked.append(request.match_info["kind"])
        return web.json_response(self.kinds, status=200 if self.kinds else 404)

    async def upload(self, request: web.Request) -> web.Response:
        self.asked.append("upload")
        return web.Response(status=400)

    async def socket(self, request: web.Request) -> web.StreamResponse:
        self.asked.append("ws")
        if not self.sockets:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_bytes(b"\0\0\0\1a preview picture")
        for message in self.sockets.pop(0):
            if message == "silence":
                await asyncio.sleep(60)
            await socket.send_json(message)
        await socket.close()
        return socket


@pytest.fixture
def fake() -> FakeComfy:
    return FakeComfy()


@pytest.fixture
async def client(fake: FakeComfy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[comfy.Comfy]:
    monkeypatch.setattr(comfy, "ASK_AGAIN", 0.05)
    server = TestServer(fake.app(), shutdown_timeout=0.1)  # type: ignore[call-arg]
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        yield comfy.Comfy(str(server.make_url("/")), session)
    await server.close()


async def test_progress_is_told_and_the_end_is_read_from_the_job(client: comfy.Comfy, fake: FakeComfy) -> None:
    progress = {"value": 2, "max": 30, "prompt_id": ID, "node": "5"}
    foreign = {"type": "executing", "data": {"node": None, "prompt_id": "another"}}
    fake.sockets = [[foreign, {"type": "status", "data": {}}, {"type": "progress", "data": progress}, END]]
    fake.jobs = [RUNNING, COMPLETED]
    told: list[tuple[str, float, float]] = []
    job = await client.wait(ID, report=lambda *event: told.append(event))
    assert told == [("5", 2, 30)]
    assert (job.state, job.pictures, job.seconds, job.failure) == ("completed", PICTURES, 2.5, None)
    assert job.outputs == {"Found Faces": (Picture("faces.png", "", "temp"),), "Result": PICTURES}


async def test_a_closed_socket_is_opened_again(client: comfy.Comfy, fake: FakeComfy) -> None:
    fake.sockets = [[], [END]]
    fake.jobs = [RUNNING, RUNNING, COMPLETED]
    assert (await client.wait(ID)).state == "completed"
    assert fake.asked.count("ws") == 2


async def test_without_any_websocket_the_job_is_asked_after(client: comfy.Comfy, fake: FakeComfy) -> None:
    fake.jobs = [RUNNING, RUNNING, COMPLETED]
    assert (await client.wait(ID)).pictures == PICTURES


async def test_a_job_deleted_while_it_waits_is_noticed_in_silence(client: comfy.Comfy, fake: FakeComfy) -> None:
    fake.sockets = [["silence"]]  # type: ignore[list-item]
    fake.jobs = [PENDING, PENDING, None]
    with pytest.raises(comfy.LostError, match=f"no longer knows the job {ID}"):
        await client.wait(ID)


async def test_waiting_has_an_end(client: comfy.Comfy, fake: FakeComfy) -> None:
    fake.sockets = [["silence"]]  # type: ignore[list-item]
    fake.jobs = [RUNNING]
    with pytest.raises(comfy.ComfyError, match=r"did not end within 0\.2 seconds"):
        await client.wait(ID, timeout=0.2)


async def test_a_run_already_there_is_adopted(client: comfy.Comfy, fake: FakeComfy) -> None:
    fake.jobs = [COMPLETED]
    job = await client.run(Order("face_consistency", photos={"photo": Path("gone.jpg")}, id=ID))
    assert job.pictures == PICTURES
    assert not {"queue", "upload"} & set(fake.asked)


async def test_a_new_order_is_queued_under_its_own_id(client: comfy.Comfy, fake: FakeComfy) -> None:
    order = Order("face_consistency", {"seed": 5}, id=ID)
    fake.jobs = [None, COMPLETED]
    await client.run(order)
    filled = workflow.fill(order, workflow.load("face_consistency"))
    assert fake.posted == [{"prompt": filled, "prompt_id": ID, "client_id": ID}]


async def test_a_refused_graph_is_explained_by_title(client: comfy.Comfy, fake: FakeComfy) -> None:
    fault = {"message": "Value not in list", "details": "filename_prefix: 'x' not in ['y']"}
    error = {"message": "Prompt outputs failed validation", "details": ""}
    fake.prompt = (400, {"error": error, "node_errors": {"5": {"errors": [fault], "class_type": "SaveImage"}}})
    with pytest.raises(comfy.RefusedError) as refusal:
        await client.queue(ID, GRAPH)
    sentence = "ComfyUI refused the workflow: Result: Value not in list: filename_prefix: 'x' not in ['y']."
    assert str(refusal.value) == sentence
    fake.prompt = (400, {"error": error, "node_errors": {}})
    with pytest.raises(comfy.RefusedError, match=r"^ComfyUI refused the workflow: Prompt outputs failed validation\.$"):
        await client.queue(ID, GRAPH)


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ([["euler", "ddim"], {}], "sampler_name must be one of euler, ddim, but 'foo' was found."),
        (["COMBO", {"options": ["euler", "ddim"]}], "sampler_name must be one of euler, ddim, but 'foo' was found."),
        (None, "Value not in list: sampler_name: 'foo' not in (list of length 45)."),
    ],
    ids=["as old nodes declare it", "as new nodes declare it", "not told"],
)
async def test_choices_that_comfyui_leaves_out_are_asked_for(
    client: comfy.Comfy, fake: FakeComfy, declared: list | None, told: str
) -> None:
    fault = {
        "type": "value_not_in_list",
        "message": "Value not in list",
        "details": "sampler_name: 'foo' not in (list of length 45)",
        "extra_info": {"input_name": "sampler_name", "input_config": None, "received_value": "foo"},
    }
    inputs = {"required": {"steps": ["INT", {"min": 1}], "vae": ["VAE"], "sampler_name": declared}}
    fake.kinds = {"SaveImage": {"input": inputs}} if declared else {}
    fake.prompt = (400, {"node_errors": {"5": {"errors": [fault], "class_type": "SaveImage"}}})
    with pytest.raises(comfy.RefusedError) as refusal:
        await client.queue(ID, GRAPH)
    assert str(refusal.value) == f"ComfyUI refused the workflow: Result: {told}"
    assert fake.asked == ["queue", "SaveImage"]


async def test_a_fault_of_comfyui_itself_is_told_by_its_number(client: comfy.Comfy, fake: FakeComfy) -> None:
    fake.prompt = (500, "500 Internal Server Error")
    with pytest.raises(comfy.RefusedError, match=r"^ComfyUI refused the workflow: HTTP 500\.$"):
        await client.queue(ID, GRAPH)


async def test_node_errors_fail_a_job_that_was_queued_all_the_same(client: comfy.Comfy, fake: FakeComfy) -> None:
    fault = {"message": "Required input is missing", "details": "images"}
    fake.prompt = (200, {"prompt_id": ID, "node_errors": {"5": {"errors": [fault], "class_type": "SaveImage"}}})
    with pytest.raises(comfy.RefusedError, match="Result: Required input is missing: images"):
        await client.queue(ID, GRAPH)
    assert fake.asked == ["queue", "cancel"]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (
            {"exception_type": "custom_nodes.x.core.errors.NoFaceError", "exception_message": "No face was found.\n"},
            Failure("NoFaceError", "No face was found."),
        ),
        ({"exception_type": "ValueError", "exception_message": "Bad."}, Failure("ValueError", "Bad.")),
        (None, Failure("Exception", "ComfyUI gave no reason.")),
    ],
)
async def test_a_failed_run_tells_class_and_message(
    client: comfy.Comfy, fake: FakeComfy, error: dict | None, failure: Failure
) -> None:
    fake.jobs = [{"id": ID, "status": "failed", "execution_error": error}]
    job = await client.wait(ID)
    assert (job.failure, job.pictures) == (failure, ())


async def test_a_photo_that_is_not_taken(client: comfy.Comfy, tmp_path: Path) -> None:
    (tmp_path / "me.jpg").write_bytes(b"photo")
    with pytest.raises(comfy.RefusedError, match=r"did not take the photo photo\.jpg \(HTTP 400\)"):
        await client.upload(tmp_path / "me.jpg", "consistent-face/x/photo.jpg")


async def test_a_missing_picture_is_named(client: comfy.Comfy) -> None:
    with pytest.raises(comfy.ComfyError, match=r"does not give the picture a\.png \(HTTP 404\)"):
        await client.picture(Picture("a.png", "", "output"))


async def test_a_server_that_is_not_there() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(comfy.UnreachableError, match=r"does not answer at http://127\.0\.0\.1:9 .*is it running\?"):
            await comfy.Comfy("http://127.0.0.1:9/", session).wait(ID)


def test_a_reason_is_never_a_page() -> None:
    from consistent_face.api.comfyui.responses import reasons

    fault = {"message": "Value not in list", "details": "x" * 10_000}
    assert len(reasons(json.dumps({"node_errors": {"5": {"errors": [fault]}}}).encode(), GRAPH)) == 1000

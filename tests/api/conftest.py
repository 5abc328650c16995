"""The service as it runs: uvicorn on a port of its own, before a real ComfyUI, with graphs that need no sampling."""

import base64
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
import uvicorn

from consistent_face.api.app import create_app
from consistent_face.api.base.settings import Settings
from consistent_face.api.comfyui import workflow as api_graph
from consistent_face.api.database.keys import Keys
from consistent_face.api.database.tables import Base
from consistent_face.api.http.connections import options
from consistent_face.api.jobs.service import Service
from consistent_face.tests.api import graphs
from consistent_face.tools.server import ComfyServer, free_port

PHOTO = Path(__file__).resolve().parent.parent / "photos" / "astronaut.jpg"


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters of the workflows that have not landed yet."""
    for name, slots in graphs.STAND_INS.items():
        if name not in api_graph.PARAMETERS:
            monkeypatch.setitem(api_graph.PARAMETERS, name, slots)


@dataclass
class Running:
    """A service that answers."""

    url: str
    settings: Settings
    app: object
    server: uvicorn.Server
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def service(self) -> Service:
        return self.app.state.service  # type: ignore[attr-defined]

    def key(self, name: str = "tester", credits: int | None = None, scopes: tuple[str, ...] = ()) -> str:
        if name not in self.keys:
            self.keys[name] = Keys(self.service.store).add(name, credits, scopes)[1]
        return self.keys[name]

    def post(self, path: str, body: object, key: str | None = None, **options: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})  # type: ignore[arg-type]
        return requests.post(self.url + path, json=body, headers=headers, timeout=600, **options)  # type: ignore[arg-type]

    def get(self, path: str, key: str | None = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return requests.get(self.url + path if path.startswith("/") else path, headers=headers, timeout=60)

    def wait(self, job_id: str, key: str | None = None, seconds: float = 60) -> dict:
        """The job when it has ended."""
        end, job = time.monotonic() + seconds, {}
        while time.monotonic() < end:
            job = self.get(f"/jobs/{job_id}", key).json()
            if job.get("state") in ("succeeded", "failed", "cancelled"):
                return job
            time.sleep(0.05)
        raise AssertionError(f"The job did not end: {job}")


@contextlib.contextmanager
def serving(settings: Settings, run_jobs: bool = True) -> Iterator[Running]:
    """The service in a thread of this process."""
    port = free_port()
    settings = settings.model_copy(update={"port": port})
    app = create_app(settings, run_jobs)
    server = uvicorn.Server(uvicorn.Config(app, **options(settings)))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield Running(f"http://127.0.0.1:{port}", settings, app, server)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def test_graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.make(tmp_path_factory.mktemp("graphs"))


@pytest.fixture(scope="session")
def slow_graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.make(tmp_path_factory.mktemp("slow"), blurs=2)


@pytest.fixture
def settings(tmp_path: Path, test_graphs: Path, stand_ins: None) -> Settings:
    """Without a ComfyUI: what is accepted waits."""
    return _settings(tmp_path, test_graphs)


def _settings(folder: Path, workflows: Path) -> Settings:
    return Settings(
        data=folder / "data",
        workflows=workflows,
        comfy_url=f"http://127.0.0.1:{free_port()}",
        allow_loopback=True,
        webhook_backoff=0.1,
        fetch_timeout=2,
        rate_limit="100000/minute",
        failures_limit="100000/minute",
    )


@pytest.fixture
def with_comfy(settings: Settings, comfy: ComfyServer) -> Settings:
    """In front of the session's ComfyUI, whose folders are beside its log."""
    folder = comfy.log.parent
    folders = {"comfy_input": folder / "input", "comfy_output": folder / "output"}
    return settings.model_copy(update={"comfy_url": comfy.url, **folders})


@pytest.fixture
def running(with_comfy: Settings) -> Iterator[Running]:
    """The whole service."""
    with serving(with_comfy) as one:
        yield one


@pytest.fixture(scope="module")
def _idle(test_graphs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(_settings(tmp_path_factory.mktemp("idle"), test_graphs), run_jobs=False) as one:
        yield one


@pytest.fixture
def idle(_idle: Running, stand_ins: None) -> Iterator[Running]:
    """A service that accepts and answers, and runs nothing: one a module, emptied before each test."""
    service = _idle.service
    with service.store.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
    _idle.keys.clear()
    service.settings = _idle.settings
    yield _idle


@pytest.fixture(scope="session")
def photo_text() -> str:
    return base64.b64encode(PHOTO.read_bytes()).decode()


@pytest.fixture
def consistency(photo_text: str) -> Callable[..., dict]:
    """A body of Qolaba's Face Consistency."""
    return lambda **more: {"image": photo_text, "prompt": "a portrait", "width": 256, "height": 256, **more}


@pytest.fixture
def generator(photo_text: str) -> Callable[..., dict]:
    """A body of ModelsLab's make_gen."""
    return lambda **more: {"face_image": photo_text, "prompt": "a portrait", "width": 256, "height": 256, **more}


@pytest.fixture
def character(photo_text: str) -> Callable[..., dict]:
    """A body of Segmind's Consistent Character."""
    return lambda **more: {"image": photo_text, "prompt": "a character sheet", **more}

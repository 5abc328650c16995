"""Photos are decoded apart from the service: one that takes too long ends its decoder, and nothing else."""

import asyncio
import base64
import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
from PIL import Image

from consistent_face.api.base.errors import OverloadedError, PictureError, StorageError
from consistent_face.api.base.settings import ROOT, Settings
from consistent_face.api.comfyui.client import ComfyError
from consistent_face.api.database.engine import Database
from consistent_face.api.database.keys import Keys
from consistent_face.api.media import decoding
from consistent_face.api.media.decoding import Decoding
from consistent_face.tests.api import bombs
from consistent_face.tests.api.conftest import PHOTO, serving
from consistent_face.tests.api.test_pictures import made
from consistent_face.tools.server import free_port

DELIVERY = {"format": "jpeg", "low_res": True}
STUCK = bombs.arithmetic_scans(50)  # 1000 bytes that pass every bound, and hold a decoder for more than a second


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "photo"


@contextlib.asynccontextmanager
async def opened(**settings: object) -> AsyncIterator[Decoding]:
    one = Decoding(Settings(**settings))  # type: ignore[arg-type]
    try:
        yield one
    finally:
        await asyncio.to_thread(one.close)


def processes(one: Decoding) -> list[subprocess.Popen[bytes]]:
    return [found for decoder in one._photos._all if (found := decoder._process) is not None]


def gone(pid: int, seconds: float = 5) -> bool:
    """Whether a process ends in time; one that nobody has asked after yet has ended, too."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return True
    return False


async def test_a_photo_is_written_and_its_decoder_stays_for_the_next(path: Path) -> None:
    async with opened() as one:
        one.warm_up()
        while len(processes(one)) < 2:
            await asyncio.sleep(0.01)
        warm = processes(one)
        content = PHOTO.read_bytes()
        sources = (content, base64.b64encode(content).decode(), f"data:image/jpeg;base64,{base64.b64encode(content)!r}")
        written = [await one.photo("a", source, "image", path) for source in sources[:2]]
        assert [one.name for one in written] == ["photo.jpg"] * 2
        assert written[0].read_bytes()[:3] == b"\xff\xd8\xff"
        with pytest.raises(PictureError, match="image is neither an http"):
            await one.photo("a", sources[2], "image", path)
        assert processes(one) == warm and [process.poll() for process in warm] == [None, None]


async def test_one_that_takes_too_long_is_killed_and_told_in_a_sentence(path: Path) -> None:
    async with opened(decode_timeout=0.3) as one:
        assert (await one.photo("a", PHOTO.read_bytes(), "image", path)).unlink() is None  # it is warm
        started = time.monotonic()
        for decoder in one._photos._all:
            decoder.start()
        early = [process.pid for process in processes(one)]
        with pytest.raises(PictureError, match=r"^face_image takes more than 0.3 seconds to decode: save it anew"):
            await one.photo("a", STUCK, "face_image", path)
        assert time.monotonic() - started < 1
        assert sum(gone(pid, 0.1) for pid in early) == 1
        assert list(path.parent.iterdir()) == []
        assert (await one.photo("a", PHOTO.read_bytes(), "image", path)).exists()


@pytest.mark.parametrize("when", ["while it works", "while it rests"])
async def test_a_decoder_that_dies_is_replaced(path: Path, when: str) -> None:
    async with opened() as one:
        await one.photo("a", PHOTO.read_bytes(), "image", path)
        if when == "while it rests":
            for process in processes(one):
                process.kill()
                process.wait()
        else:
            asked = asyncio.create_task(one.photo("a", STUCK, "image", path))
            await asyncio.sleep(0.3)
            for process in processes(one):
                process.kill()
            with pytest.raises(PictureError, match=r"^image could not be decoded, it crashed the decoder"):
                await asked
        assert (await one.photo("a", PHOTO.read_bytes(), "image", path)).exists()


async def test_memory_is_limited(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding WebP without loss takes some 30 bytes a pixel: a gigabyte here."""
    monkeypatch.setattr(decoding, "MEMORY_PER_PIXEL", 0)
    out = io.BytesIO()
    Image.new("RGB", (6000, 6000)).save(out, "WEBP", lossless=True, method=0, quality=0)
    async with opened() as one:
        with pytest.raises(PictureError, match=r"^image (takes too much memory|could not be decoded)"):
            await one.photo("a", out.getvalue(), "image", path)
        assert (await one.photo("a", PHOTO.read_bytes(), "image", path)).exists()


async def test_a_caller_has_one_decoder_and_another_has_the_other(path: Path) -> None:
    async with opened(decode_timeout=0.7) as one:
        await one.photo("b", PHOTO.read_bytes(), "image", path)
        bombs_of_a = [
            asyncio.create_task(one.photo("a", STUCK, "image", path.with_name(f"a{number}"))) for number in range(3)
        ]
        await asyncio.sleep(0.1)
        times = []
        for _ in range(10):
            started = time.monotonic()
            await one.photo("b", PHOTO.read_bytes(), "image", path)
            times.append(time.monotonic() - started)
        assert max(times) < 0.5
        assert not all(task.done() for task in bombs_of_a)
        ends = await asyncio.gather(*bombs_of_a, return_exceptions=True)
        assert all(isinstance(end, PictureError) for end in ends)


async def test_waiting_for_a_decoder_has_an_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "PATIENCE", 0.2)
    async with opened(decode_timeout=0.6) as one:
        held = [asyncio.create_task(one.photo(who, STUCK, "image", path.with_name(who))) for who in ("a", "b")]
        await asyncio.sleep(0.05)
        for who in ("a", "c"):  # its own photo is in front of it, or those of others
            with pytest.raises(OverloadedError, match=r"^No decoder was free within 0\.2 seconds: send") as refused:
                await one.photo(who, PHOTO.read_bytes(), "image", path)
            assert (refused.value.status, refused.value.retry_after) == (503, 30)
        await asyncio.gather(*held, return_exceptions=True)


async def test_a_full_disk_is_no_fault_of_the_photo(path: Path) -> None:
    async with opened() as one:
        with pytest.raises(OSError, match="No such file"):
            await one.photo("a", PHOTO.read_bytes(), "image", path / "missing" / "photo")
        assert (await one.photo("a", PHOTO.read_bytes(), "image", path)).exists()


async def test_results_have_a_decoder_of_their_own(path: Path) -> None:
    async with opened(decode_timeout=0.5) as one:
        held = [asyncio.create_task(one.photo(who, STUCK, "image", path.with_name(who))) for who in ("a", "b")]
        whole, small = await one.forms("a", made("PNG", (1000, 500)), DELIVERY)
        assert whole[:3] == b"\xff\xd8\xff" and small is not None and len(small) < len(whole)
        whole, small = await one.forms("a", made("PNG", (100, 50)), {"format": "png", "low_res": True})
        assert whole[:4] == b"\x89PNG" and small is None
        with pytest.raises(ComfyError, match="ComfyUI gave a picture that cannot be read"):
            await one.forms("a", b"no picture", DELIVERY)
        await asyncio.gather(*held, return_exceptions=True)


async def test_a_result_whose_encoder_dies_is_tried_again() -> None:
    async with opened() as one:
        asked = asyncio.create_task(one.forms("a", made("PNG", (400, 400)), DELIVERY))
        while (process := one._results._all[0]._process) is None:
            await asyncio.sleep(0.01)
        process.kill()
        with pytest.raises(StorageError):
            await asked
        whole, _ = await one.forms("a", made("PNG"), DELIVERY)
        assert whole[:3] == b"\xff\xd8\xff"


async def test_decoders_know_none_of_the_services_secrets(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSISTENT_FACE_S3_SECRET_ACCESS_KEY", "hidden")
    async with opened() as one:
        await one.photo("a", PHOTO.read_bytes(), "image", path)
        assert "hidden" not in psutil.Process(processes(one)[0].pid).environ().values()
        assert resource.prlimit(processes(one)[0].pid, resource.RLIMIT_CORE) == (0, 0)


def test_a_decoder_imports_little() -> None:
    """It starts in a tenth of a second, and has no code of the service to be turned against it."""
    listed = "import sys, api.media.decoder_process; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", listed], cwd=ROOT, capture_output=True, text=True, check=True)
    tops = {name.partition(".")[0] for name in found.stdout.split()}
    assert not tops & {"aiohttp", "asyncio", "fastapi", "numpy", "pydantic", "sqlalchemy", "starlette", "torch"}


@contextlib.contextmanager
def process_of_its_own(settings: Settings, timeout: float) -> Iterator[psutil.Process]:
    values = {"DATA": settings.data, "WORKFLOWS": settings.workflows, "COMFY_URL": settings.comfy_url}
    values |= {"PORT": settings.port, "DECODE_TIMEOUT": timeout, "CONCURRENCY": 10_000, "RATE_LIMIT": "100000/minute"}
    environment = {**os.environ, **{f"CONSISTENT_FACE_{name}": str(value) for name, value in values.items()}}
    process = subprocess.Popen([sys.executable, "-m", "api"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"{settings.base_url}/healthz", timeout=5)
                break
            time.sleep(0.05)
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_decoder_outlives_the_service(settings: Settings, how: signal.Signals) -> None:
    """Neither one that rests nor one that is in the middle of a picture."""
    settings = settings.model_copy(update={"port": free_port()})
    body = {"image": base64.b64encode(bombs.scans(44)).decode(), "prompt": "a", "celery": True}
    with process_of_its_own(settings, 20) as service:
        sent = threading.Thread(target=_sent, args=(f"{settings.base_url}/getImagetoImage", body))
        sent.start()
        time.sleep(0.5)
        decoders = [one.pid for one in service.children()]
        assert decoders
        service.send_signal(how)
        assert gone(service.pid, 25)
        sent.join()
        assert all(gone(pid, 0.4) for pid in decoders)  # what they were at takes longer


def _sent(url: str, body: dict) -> None:
    with contextlib.suppress(requests.ConnectionError):
        requests.post(url, json=body, timeout=60)


def in_the_shape(path: str, answer: requests.Response) -> str:
    body = answer.json()
    return body["error_data"] if path == "/getImagetoImage" else body["message" if "message" in body else "error"]


VENDORS = [
    ("/getImagetoImage", "image", 400),
    ("/api/v1/enterprise/face_gen/make_gen", "face_image", 400),
    ("/v1/consistent-character-ai-neolemon", "image", 406),
]


@dataclass(frozen=True)
class Callers:
    """A service of two keys."""

    url: str
    one: str
    other: str


@pytest.fixture(scope="module")
def callers(test_graphs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callers]:
    with two_callers(tmp_path_factory.mktemp("callers"), test_graphs, 20) as found:
        yield found


@contextlib.contextmanager
def two_callers(folder: Path, graphs: Path, timeout: float) -> Iterator[Callers]:
    settings = Settings(data=folder, workflows=graphs, port=free_port(), comfy_url=f"http://127.0.0.1:{free_port()}")
    known = Keys(Database(folder))
    keys = [known.add(name, None, ())[1] for name in ("one", "other")]
    with process_of_its_own(settings, timeout):
        yield Callers(settings.base_url, *keys)


def seven(url: str, key: str, bomb: bytes) -> tuple[list[threading.Thread], list[requests.Response]]:
    """Sends a photo to all three vendors, seven times at once."""
    text = base64.b64encode(bomb).decode()
    bodies = [(path, json.dumps({field: text, "prompt": "a"}).encode()) for path, field, _ in VENDORS]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answers: list[requests.Response] = []

    def send(number: int) -> None:
        path, body = bodies[number % len(bodies)]
        answers.append(requests.post(url + path, data=body, headers=headers, timeout=120))

    return [threading.Thread(target=send, args=(number,)) for number in range(7)], answers


def longest(callers: Callers, sending: list[threading.Thread], photo: dict) -> float:
    """What the other caller's small requests take at most while the threads send."""
    url = callers.url
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {callers.other}"
        asks: list[tuple[int, Callable[[], requests.Response]]] = [
            (200, lambda: session.get(f"{url}/jobs?limit=1")),
            (503, lambda: session.get(f"{url}/readyz")),  # there is no ComfyUI
            (404, lambda: session.post(f"{url}/getImage", json={"id": "x"})),
            (400, lambda: session.post(f"{url}/getImagetoImage", json={"prompt": "a"})),
            (200, lambda: session.post(f"{url}/getImagetoImage", json=photo)),
        ]
        for thread in sending:
            thread.start()
        times = []
        while any(thread.is_alive() for thread in sending):
            for status, ask in asks:
                started = time.monotonic()
                assert ask().status_code == status
                times.append(time.monotonic() - started)
    return max(times)


def held_up(callers: Callers, bomb: bytes, sentence: str, photo: dict) -> float:
    """The other caller's longest request while seven such photos are sent, each of which is refused by the sentence."""
    sending, answers = seven(callers.url, callers.one, bomb)
    found = longest(callers, sending, photo)
    assert len(answers) == 7
    for path, field, status in VENDORS:
        of_one = [answer for answer in answers if answer.request.path_url == path]
        assert {answer.status_code for answer in of_one} == {status}
        assert all(in_the_shape(path, answer).startswith(f"{field} {sentence}") for answer in of_one)
    return found


ROUNDS = 3  # other work on the machine may spoil one


@pytest.mark.parametrize("name", bombs.REFUSED)
def test_seven_such_photos_hold_up_nobody_else(callers: Callers, consistency: Callable[..., dict], name: str) -> None:
    make, sentence = bombs.REFUSED[name]
    rounds = (held_up(callers, make(), sentence, consistency(celery=True)) for _ in range(ROUNDS))
    assert any(seconds < 0.5 for seconds in rounds)


def test_nor_do_seven_that_no_bound_refuses(
    test_graphs: Path, tmp_path: Path, consistency: Callable[..., dict]
) -> None:
    sentence = "takes more than 0.6 seconds to decode: save it anew"
    with two_callers(tmp_path, test_graphs, 0.6) as callers:
        rounds = (held_up(callers, STUCK, sentence, consistency(celery=True)) for _ in range(ROUNDS))
        assert any(seconds < 0.5 for seconds in rounds)


def test_who_waits_too_long_is_told_when_to_come_again(
    settings: Settings, photo_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "PATIENCE", 0.1)
    with serving(settings, run_jobs=False) as one:
        waiting = base64.b64encode(STUCK).decode()
        held = threading.Thread(target=one.post, args=("/getImagetoImage", {"image": waiting, "prompt": "a"}))
        held.start()
        time.sleep(0.3)
        for path, field, _ in VENDORS:
            answer = one.post(path, {field: photo_text, "prompt": "a"})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
            assert in_the_shape(path, answer).startswith("No decoder was free within 0.1 seconds: send the request")
        one.service.settings = one.settings.model_copy(update={"sync_wait_s": 0.1})
        held.join()
        assert one.get("/jobs").status_code == 200

"""Deletion: searches all folders for the bytes of photo and results after a job."""

import base64
import io
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from sqlalchemy import text

from consistent_face.api.database.tables import JobRow
from consistent_face.api.jobs.retention import remove_strays
from consistent_face.tests.api.conftest import Running, Settings, serving
from consistent_face.tools.server import ComfyServer


@pytest.fixture
def face() -> bytes:
    """A photo like no other, so that its bytes are found wherever they are."""
    noise = np.random.default_rng().integers(0, 256, (64, 64, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


def holders(folders: list[Path], needles: list[bytes]) -> list[Path]:
    """Files in which any of the byte strings stands."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path for path in files if any(needle in path.read_bytes() for needle in needles)]


def needle(content: bytes) -> bytes:
    """A stretch of a picture's own data."""
    middle = len(content) // 2
    return content[middle : middle + 64]


@pytest.fixture(params=["local", "remote"])
def kept(request: pytest.FixtureRequest, with_comfy: Settings) -> Iterator[Running]:
    """A ComfyUI whose folders are known, and one that is reached over HTTP alone."""
    remote = {"comfy_input": None, "comfy_output": None}
    with serving(with_comfy.model_copy(update=remote if request.param == "remote" else {})) as one:
        yield one


def test_after_deletion_nothing_is_left_anywhere(
    kept: Running, comfy: ComfyServer, face: bytes, consistency: Callable[..., dict]
) -> None:
    body = consistency(image=base64.b64encode(face).decode(), batch=2, prompt="a very unusual prompt")
    answer = kept.post("/getImagetoImage", body).json()
    results = [kept.get(link).content for link in answer["output"]["result"]]
    needles = [needle(content) for content in (face, *results)]
    folders = [kept.settings.data, comfy.log.parent]
    assert holders([kept.settings.data], needles)  # the results, until they are deleted
    job = answer["task_id"]
    assert requests.delete(f"{kept.url}/jobs/{job}").json() == {"id": job, "state": "deleted"}
    assert holders(folders, [*needles, b"a very unusual prompt"]) == []
    assert kept.get(answer["output"]["result"][0]).status_code == 404
    assert requests.get(f"{comfy.url}/api/jobs/{job}").status_code == 404
    assert kept.get(f"/jobs/{job}").status_code == 404


def test_comfyui_and_the_photo_are_clean_as_soon_as_a_job_ends(
    kept: Running, comfy: ComfyServer, face: bytes, consistency: Callable[..., dict]
) -> None:
    answer = kept.post("/getImagetoImage", consistency(image=base64.b64encode(face).decode())).json()
    result = kept.get(answer["output"]["result"][0]).content
    for _ in range(100):
        row = kept.service.store.get(answer["task_id"])
        if row is not None and row.cleaned:
            break
        time.sleep(0.05)
    assert holders([comfy.log.parent], [needle(face), needle(result)]) == []
    assert holders([kept.settings.data], [needle(face)]) == []


def test_a_failed_job_leaves_nothing_either(
    kept: Running, comfy: ComfyServer, face: bytes, consistency: Callable[..., dict], tmp_path: Path
) -> None:
    graph = (kept.settings.workflows / "face_consistency.json").read_text()
    (tmp_path / "face_consistency.json").write_text(graph.replace("ImageCompositeMasked", "ImageBlur"))
    kept.service.settings = kept.settings.model_copy(update={"workflows": tmp_path})
    answer = kept.post("/getImagetoImage", consistency(image=base64.b64encode(face).decode()))
    body = answer.json()
    assert (answer.status_code, body["status"], body["error"]) == (500, "FAILED", "Internal Error")
    assert "ComfyUI refused the workflow" in body["error_data"]
    requests.delete(f"{kept.url}/jobs/{body['task_id']}")
    assert holders([kept.settings.data, comfy.log.parent], [needle(face)]) == []


def test_a_job_deleted_between_its_prompts_leaves_nothing(
    running: Running, consistency: Callable[..., dict], slow_graphs: Path
) -> None:
    """Four of its eight pictures are stored before the others are made."""
    running.service.settings = running.settings.model_copy(update={"workflows": slow_graphs})
    results = running.settings.data / "results"
    body = consistency(celery=True, width=512, height=512, batch=8)
    job = running.post("/getImagetoImage", body).json()["task_id"]
    while len(list(results.glob("*.png"))) < 4:
        time.sleep(0.01)
    assert requests.delete(f"{running.url}/jobs/{job}").json()["state"] == "deleting"
    while running.service.store.get(job) is not None:
        time.sleep(0.05)
    assert list(results.iterdir()) == []


def test_a_job_that_cannot_be_written_down_leaves_no_photo(
    idle: Running, consistency: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(idle.service.store, "add", full)
    assert idle.post("/getImagetoImage", consistency(celery=True)).status_code == 500
    assert list(idle.service.photos.iterdir()) == []


def test_files_without_a_job_are_removed_when_none_can_come_any_more(
    idle: Running, consistency: Callable[..., dict]
) -> None:
    job = idle.post("/getImagetoImage", consistency(celery=True)).json()["task_id"]
    (photo,) = idle.service.photos.iterdir()
    stray = job[:-1] + ("0" if job[-1] != "0" else "1")
    files = [photo, *(folder / f"{stray}-0.png" for folder in (idle.service.photos, idle.service.disk.folder))]
    fresh = idle.service.photos / f"{stray}-photo.jpg"
    for path in (*files[1:], fresh):
        path.write_bytes(b"a face")
    foreign = idle.service.photos / "lost+found"
    foreign.mkdir()
    for path in (*files, foreign):
        os.utime(path, (1, 1))
    remove_strays(idle.service)
    foreign.rmdir()
    assert [path.exists() for path in (*files, fresh)] == [True, False, False, True]


def test_jobs_expire_by_themselves(
    with_comfy: Settings,
    comfy: ComfyServer,
    face: bytes,
    consistency: Callable[..., dict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consistent_face.api.jobs.retention.SWEEP", 0.1)
    with serving(with_comfy.model_copy(update={"retention_s": 1.0})) as running:
        body = consistency(image=base64.b64encode(face).decode())
        answer = running.post("/getImagetoImage", body).json()
        link = answer["output"]["result"][0]
        assert running.get(link).status_code == 200
        time.sleep(2)
        assert running.get(link).status_code in (403, 404)
        assert running.service.store.get(answer["task_id"]) is None
        assert holders([running.settings.data, comfy.log.parent], [needle(face)]) == []


def test_a_job_that_waits_too_long_is_given_up(
    settings: Settings, face: bytes, consistency: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ComfyUI never answers; the photo goes all the same."""
    monkeypatch.setattr("consistent_face.api.jobs.retention.SWEEP", 0.1)
    with serving(settings.model_copy(update={"retention_s": 0.5, "workers": 1})) as running:
        body = consistency(image=base64.b64encode(face).decode(), celery=True)
        job = running.post("/getImagetoImage", body).json()["task_id"]
        assert holders([settings.data], [needle(face)])
        for _ in range(100):
            if not holders([settings.data], [needle(face)]):
                break
            time.sleep(0.1)
        assert holders([settings.data], [needle(face)]) == []
        assert running.get(f"/jobs/{job}").status_code == 404


@pytest.mark.parametrize("broken", ["values", "photos", "id", "vendor", "workflow"])
def test_a_job_that_cannot_be_cleaned_keeps_no_other_from_it(
    running: Running, consistency: Callable[..., dict], broken: str
) -> None:
    """A hundred of them, which come first; and one waits to run before all others."""
    given: dict = {"key_id": "open", "vendor": "qolaba", "workflow": "face_consistency", "values": {"batch": 8}}
    given |= {"photos": {}, "request": {}, "pictures": 8, "delivery": {"format": "png"}, "price": 1}
    given |= {"created": time.time() - 99, "expires": time.time() - 9}
    bad = {"values": {"batch": "many"}, "photos": {"photo": 7}, "id": None, "vendor": "gone", "workflow": "gone"}[
        broken
    ]
    with running.service.store.write() as session:
        for number in range(121):
            row = {"id": f"no uuid {number}" if broken == "id" else str(uuid.uuid4()), **given}
            row |= {} if broken == "id" else {broken: bad}
            session.add(JobRow(**row, state="queued" if number == 120 else "failed"))
    job = running.post("/getImagetoImage", consistency()).json()
    assert job["status"] == "SUCCESS"
    end = time.monotonic() + 20
    while time.monotonic() < end and not getattr(running.service.store.get(job["task_id"]), "cleaned", True):
        time.sleep(0.1)
    row = running.service.store.get(job["task_id"])
    assert row is not None and row.cleaned
    assert list(running.service.photos.iterdir()) == []


def test_a_row_that_cannot_be_read_is_not_claimed_for_ever(running: Running, consistency: Callable[..., dict]) -> None:
    running.service.settings = running.settings.model_copy(update={"sync_wait_s": 0.0})
    with running.service.store.write() as session:
        row = {"id": "broken", "key_id": "open", "vendor": "qolaba", "workflow": "face_consistency", "pictures": 1}
        row |= {"values": {}, "photos": {}, "request": {}, "delivery": {}, "created": 1.0, "expires": time.time() + 99}
        session.add(JobRow(**row, state="held"))
        session.flush()
        session.execute(text("UPDATE jobs SET \"values\" = 'no json', state = 'queued' WHERE id = 'broken'"))
    job = running.post("/getImagetoImage", consistency()).json()["task_id"]
    end = time.monotonic() + 20
    while time.monotonic() < end and not getattr(running.service.store.get(job), "cleaned", False):
        time.sleep(0.1)
    row = running.service.store.get(job)
    assert row is not None and (row.state, row.cleaned) == ("succeeded", True)

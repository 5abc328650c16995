"""Results on disk behind signed links, and in S3: a real moto server process, presigned, also a key's own bucket."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from sqlalchemy import update

from consistent_face.api.database.tables import JobRow
from consistent_face.api.jobs import worker
from consistent_face.api.media.storage import LONGEST_LINK, BucketAccess
from consistent_face.tests.api.conftest import Running, Settings, serving
from consistent_face.tools.server import free_port

GEN = "/api/v1/enterprise/face_gen/make_gen"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The endpoint of an S3 with the buckets `ours` and `theirs`."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    url = f"http://127.0.0.1:{port}"
    for bucket in ("ours", "theirs"):
        assert requests.put(f"{url}/{bucket}").status_code == 200
    yield url
    process.kill()
    process.wait()


def listed(s3: str, bucket: str) -> list[str]:
    text = requests.get(f"{s3}/{bucket}?list-type=2").text
    return [part.partition("</Key>")[0] for part in text.split("<Key>")[1:]]


def test_links_are_signed_and_end(running: Running, consistency: Callable[..., dict]) -> None:
    link = running.post("/getImagetoImage", consistency()).json()["output"]["result"][0]
    assert running.get(link).headers["content-type"] == "image/png"
    base, _, query = link.partition("?")
    signature = query.partition("signature=")[2]
    for bad in (
        base,
        f"{base}?expires=99999999999&signature={signature}",
        link[:-1] + ("0" if link[-1] != "0" else "1"),
        f"{base}?expires=1&signature={running.service.seal.sign('link', base.rpartition('/')[2] + ' 1')}",
        f"{running.url}/files/..%2fsecret?expires=99999999999&signature={signature}",
        f"{base}?expires=x&signature=é",
    ):
        assert running.get(bad).status_code in (403, 404), bad


def test_results_in_the_operators_bucket(with_comfy: Settings, s3: str, consistency: Callable[..., dict]) -> None:
    access = {"s3_bucket": "ours", "s3_endpoint": s3, "s3_access_key_id": "a", "s3_secret_access_key": "b"}
    with serving(with_comfy.model_copy(update=access)) as running:
        body = running.post("/getImagetoImage", consistency(batch=2)).json()
        links = body["output"]["result"]
        assert all(link.startswith(f"{s3}/ours/{body['task_id']}-") and "X-Amz-Signature" in link for link in links)
        assert requests.get(links[0]).content.startswith(b"\x89PNG")
        assert len(listed(s3, "ours")) == 2
        requests.delete(f"{running.url}/jobs/{body['task_id']}")
        assert listed(s3, "ours") == []


def test_results_in_a_keys_own_bucket(
    running: Running, s3: str, generator: Callable[..., dict], consistency: Callable[..., dict]
) -> None:
    key = running.key("theirs")
    details = {"endpoint_url": f"{s3}/theirs", "aws_access_key_id": "a", "aws_secret_access_key": "very-secret"}
    answer = running.post("/api/v1/enterprise/update_s3", {"key": key, "image_directory": "faces", **details})
    assert answer.json()["status"] == "success"
    made = running.post(GEN, generator(key=key)).json()
    assert made["meta"]["temp"] == "no"
    assert requests.get(made["output"][0]).content.startswith(b"\x89PNG")
    assert listed(s3, "theirs") == [f"faces/{made['meta']['file_prefix']}-0.png"]
    job = running.get("/jobs", key).json()["jobs"][0]["id"]
    requests.delete(f"{running.url}/jobs/{job}", headers={"x-api-key": key})
    assert len(listed(s3, "theirs")) == 1  # what is in their bucket is theirs
    assert b"very-secret" not in (running.settings.data / "jobs.db").read_bytes()
    assert b"very-secret" not in (running.settings.data / "jobs.db-wal").read_bytes()
    running.post("/api/v1/enterprise/face_gen/reset_s3", {"key": key})
    assert running.post(GEN, generator(key=key)).json()["meta"]["temp"] == "yes"


def test_a_job_keeps_to_its_bucket(running: Running, s3: str, generator: Callable[..., dict]) -> None:
    """Whatever the key's bucket is when the job is looked at: another one, or none."""
    key = running.key("moving")
    details = {"endpoint_url": f"{s3}/theirs", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    running.post("/api/v1/enterprise/update_s3", {"key": key, "image_directory": "/first/", **details})
    made = running.post(GEN, generator(key=key)).json()
    moved = {"image_directory": "sec/ond", **details}
    for path, body in (("update_s3", moved), ("reset_s3", {})):
        assert running.post(f"/api/v1/enterprise/{path}", {"key": key, **body}).json()["status"] == "success"
        (link,) = running.get("/jobs", key).json()["jobs"][0]["results"]
        assert "/theirs/first/" in link and requests.get(link).content.startswith(b"\x89PNG")
        fetched = running.post(f"/api/v1/enterprise/face_gen/fetch/{made['id']}", {"key": key}).json()
        assert "/theirs/first/" in fetched["output"][0]


@pytest.mark.parametrize("folder", ["./faces", "a//b", "../up", "a/..", "a b"])
def test_a_directory_that_is_refused(idle: Running, folder: str) -> None:
    details = {"endpoint_url": "https://s3.example.com/b", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    answer = idle.post("/api/v1/enterprise/update_s3", {**details, "image_directory": folder})
    assert answer.status_code == 400
    expected = f"image_directory must be names of folders with / between them, but '{folder}' was found."
    assert answer.json()["message"] == expected


@pytest.mark.parametrize("endpoint", ["http://10.0.0.1/bucket", "ftp://x/b", "https://", "nowhere"])
def test_an_endpoint_that_is_refused(idle: Running, endpoint: str) -> None:
    idle.service.settings = idle.settings.model_copy(update={"allow_loopback": False})
    details = {"endpoint_url": endpoint, "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    answer = idle.post("/api/v1/enterprise/update_s3", details)
    assert (answer.status_code, "endpoint_url" in answer.json()["message"]) == (400, True)


def test_s3_links_are_not_signed_for_longer_than_s3_allows() -> None:
    assert LONGEST_LINK == 7 * 24 * 3600


class Flaky(BaseHTTPRequestHandler):
    """A bucket that is down at first, and then answers without end."""

    failures = 0

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if Flaky.failures:
            Flaky.failures -= 1
            return self.send_error(503)
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):  # until the connection is closed
            while True:
                self.wfile.write(bytes(2**16))
        return None

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def flaky() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/theirs"
    server.shutdown()
    server.server_close()


def test_a_bucket_may_be_down_for_a_while_and_say_what_it_likes(
    running: Running, flaky: str, generator: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "STORAGE_PAUSE", 0.01)
    monkeypatch.setattr(Flaky, "failures", worker.STORAGE_ATTEMPTS - 1)
    details = {"endpoint_url": flaky, "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    running.post("/api/v1/enterprise/update_s3", details)
    assert running.post(GEN, generator()).json()["status"] == "success"


def test_a_job_that_waits_for_its_bucket_can_be_deleted(
    running: Running, flaky: str, generator: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flaky, "failures", 1)
    details = {"endpoint_url": flaky, "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    running.post("/api/v1/enterprise/update_s3", details)
    running.service.settings = running.settings.model_copy(update={"modelslab_sync_wait_s": 0.0})
    job = running.post(GEN, generator()).json()["meta"]["file_prefix"]
    while not running.service.later:
        time.sleep(0.01)
    assert requests.delete(f"{running.url}/jobs/{job}").json()["state"] == "deleting"
    while running.service.store.get(job) is not None:
        time.sleep(0.05)
    assert running.get(f"/jobs/{job}").status_code == 404


def test_jobs_of_an_older_version_keep_their_bucket(settings: Settings, generator: Callable[..., dict]) -> None:
    """It wrote down whose bucket it is, not how it is reached."""
    with serving(settings.model_copy(update={"modelslab_sync_wait_s": 0.0}), run_jobs=False) as one:
        key = one.key("older")
        details = {"endpoint_url": "http://127.0.0.1:9/theirs", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
        one.post("/api/v1/enterprise/update_s3", {"key": key, **details})
        one.post(GEN, generator(key=key))
        with one.service.store.write() as session:
            session.execute(update(JobRow).values(bucket=JobRow.key_id))
        one.service.store.recover()
        row = one.service.store.claim()
        assert row is not None and row.bucket == one.service.bucket_for(row.key_id) != row.key_id


def test_a_bucket_that_takes_nothing_fails_the_job_with_a_reason(
    running: Running, generator: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "STORAGE_PAUSE", 0.01)
    key = running.key("lost")
    details = {"endpoint_url": f"http://127.0.0.1:{free_port()}/none", "aws_access_key_id": "a"}
    running.post("/api/v1/enterprise/update_s3", {"key": key, "aws_secret_access_key": "b", **details})
    answer = running.post(GEN, generator(key=key))
    assert (answer.status_code, answer.json()["status"]) == (500, "error")
    assert "bucket" in answer.json()["message"]


SOUND = {"endpoint_url": "https://s3.example.com/b", "aws_access_key_id": "a", "aws_secret_access_key": "b"}


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("endpoint_url", "https://s3.example.com/../b"),
        ("endpoint_url", "https://s3.example.com/b?x=y"),
        ("endpoint_url", "https://s3.example.com/b#z"),
        ("endpoint_url", "https://s3.example.com/%2e%2e"),
        ("endpoint_url", "https://s3.example.com"),
        ("bucket_name", "../../x"),
        ("bucket_name", "a\r\nHost: evil"),
        ("bucket_name", "a/b"),
        ("bucket_name", "-a"),
        ("bucket_name", "a..b"),
        ("bucket_name", "x" * 300),
        ("region_name", "us-east-1\r\n"),
        ("region_name", "us/../east"),
        ("region_name", "x" * 100),
        ("aws_access_key_id", "a\nb"),
        ("aws_access_key_id", "é"),
        ("aws_secret_access_key", "a b"),
        ("aws_secret_access_key", "x" * 300),
        ("public_url", "https://pictures.example.com/?x="),
        ("public_url", "ftp://pictures.example.com"),
        ("image_directory", "a/../b"),
        ("image_directory", "x" * 600),
    ],
)
def test_details_of_a_bucket_that_are_refused(idle: Running, field: str, found: str) -> None:
    answer = idle.post("/api/v1/enterprise/face_gen/update_s3", {**SOUND, field: found})
    assert (answer.status_code, field in answer.json()["message"]) == (400, True), answer.text
    assert idle.service.bucket_for("open") == ""


@pytest.mark.parametrize("found", ["b", "my-bucket", "my.bucket.example", "Old_Bucket", "0"])
def test_names_of_buckets_that_are_taken(idle: Running, found: str) -> None:
    assert idle.post("/api/v1/enterprise/update_s3", {**SOUND, "bucket_name": found}).status_code == 200


UNUSABLE = [
    {"endpoint": "https://h:abc"},
    {"endpoint": "https://[v1.a]"},
    {"endpoint": "https://\ud800.com"},
    {"secret_access_key": "\ud800"},
    {"directory": None},
    {"public_url": "\ud800"},
    {"unknown": 1},
]


@pytest.mark.parametrize("stored", UNUSABLE, ids=str)
def test_a_stored_bucket_that_cannot_be_opened_fails_the_job_with_a_reason(
    running: Running, generator: Callable[..., dict], stored: dict
) -> None:
    """An older version accepted such details. The client gets its id, the job its end, and no run is made for it."""
    key, other = running.key("older"), running.key("other")
    access = {"bucket": "b", "region": "r", "endpoint": "https://a.example", "access_key_id": "a"}
    text = json.dumps({**access, "secret_access_key": "b", **stored})
    running.service.set_bucket(running.service.keys.recognize(key).id, _Text(text))  # type: ignore[arg-type]
    running.service.settings = running.settings.model_copy(update={"modelslab_sync_wait_s": 0.0})
    made = running.post(GEN, generator(key=key)).json()
    assert made["status"] in ("processing", "error") and made.get("future_links", []) == []
    (job,) = running.get("/jobs", key).json()["jobs"]
    job = running.wait(job["id"], key)
    assert (job["number"], job["state"], job["results"]) == (made["id"], "failed", [])
    assert "The bucket" in job["error"]
    fetched = running.post(f"/api/v1/enterprise/face_gen/fetch/{made['id']}", {"key": key})
    assert (fetched.status_code, fetched.json()["message"]) == (500, job["error"])
    body = {"image": generator()["face_image"], "prompt": "a"}
    assert running.post("/getImagetoImage", body, other).json()["status"] == "SUCCESS"


class _Text:
    """Details as they were written down."""

    def __init__(self, text: str):
        self._text = text

    def text(self) -> str:
        return self._text


def test_a_bucket_that_never_answers_holds_up_no_other_key(
    running: Running, generator: Callable[..., dict], consistency: Callable[..., dict]
) -> None:
    """More jobs than there are workers go to it."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        key = running.key("slow")
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/b"
        running.post("/api/v1/enterprise/update_s3", {**SOUND, "key": key, "endpoint_url": endpoint})
        running.service.settings = running.settings.model_copy(update={"modelslab_sync_wait_s": 0.0})
        jobs = [running.post(GEN, generator(key=key)).json()["meta"]["file_prefix"] for _ in range(6)]
        started = time.monotonic()
        answer = running.post("/getImagetoImage", consistency(), running.key("other")).json()
        assert (answer["status"], time.monotonic() - started < 20) == ("SUCCESS", True)
        assert {running.get(f"/jobs/{job}", key).json()["state"] for job in jobs} == {"running"}
        for job in jobs:
            requests.delete(f"{running.url}/jobs/{job}", headers={"x-api-key": key})


def test_access_is_written_down_as_json() -> None:
    assert json.loads(BucketAccess("b", "r", None, "a", "s").text())["bucket"] == "b"

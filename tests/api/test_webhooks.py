"""Webhooks against a receiver that fails first: at least once, the same id, signed as the standard says."""

import base64
import contextlib
import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from consistent_face.api.__main__ import main
from consistent_face.api.database.tables import Hook, JobRow
from consistent_face.api.jobs.service import Service
from consistent_face.api.vendors import modelslab
from consistent_face.tests.api.conftest import Running, Settings, serving

GEN = "/api/v1/enterprise/face_gen/make_gen"


class Receiver:
    """Answers with the numbers in `script`, then 200; 0 closes the connection without an answer."""

    def __init__(self) -> None:
        self.script: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.times: list[float] = []
        self.slowness = 28.0  # seconds to answer what is posted below /slow
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                receiver.times.append(time.monotonic())
                if self.path.startswith("/slow"):
                    time.sleep(receiver.slowness)
                number = receiver.script.pop(0) if receiver.script else 200
                if number == 0:
                    return self.connection.close()
                with contextlib.suppress(OSError):  # who stopped waiting
                    self.send_response(number)
                    if number == 302:
                        self.send_header("Location", "/elsewhere")
                    self.end_headers()
                return None

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        self.url = f"{self.base}/hook?token=secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count: int) -> None:
        for _ in range(400):
            if len(self.got) >= count:
                return
            time.sleep(0.025)
        raise AssertionError(f"{len(self.got)} webhooks came where {count} were expected.")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


def verify(headers: dict[str, str], body: bytes, secret: bytes) -> None:
    """As the standard's libraries do it."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


def test_a_webhook_is_sent_again_until_it_is_taken(
    running: Running, receiver: Receiver, generator: Callable[..., dict]
) -> None:
    receiver.script = [500, 0, 302]
    made = running.post(GEN, generator(webhook=receiver.url, track_id=77)).json()
    receiver.wait(4)
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {made["meta"]["file_prefix"]}
    for headers, body in receiver.got:
        verify(headers, body, running.service.seal.webhook_secret("open"))
        assert json.loads(body) == {**made, "track_id": 77}
    time.sleep(0.5)
    assert len(receiver.got) == 4


def test_a_failure_is_told_as_documented(
    receiver: Receiver, generator: Callable[..., dict], with_comfy: Settings, tmp_path: Path
) -> None:
    bad = with_comfy.model_copy(update={"workflows": tmp_path})
    with serving(bad) as running:
        answer = running.post(GEN, generator(webhook=receiver.url, track_id="mine"))
        assert (answer.status_code, answer.json()["status"]) == (500, "error")
        receiver.wait(1)
        told = json.loads(receiver.got[0][1])
    assert (set(told), told["status"], told["track_id"]) == ({"status", "id", "message", "track_id"}, "failed", "mine")


def test_given_up_and_redelivered_by_command(
    with_comfy: Settings, receiver: Receiver, generator: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.script = [503, 503]
    with serving(with_comfy.model_copy(update={"webhook_attempts": 2})) as running:
        running.post(GEN, generator(webhook=receiver.url))
        receiver.wait(2)
        time.sleep(0.6)
        assert len(receiver.got) == 2
        monkeypatch.setenv("CONSISTENT_FACE_DATA", str(running.settings.data))
        assert main(["webhooks", "redeliver"]) == 0
        receiver.wait(3)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_a_webhook_that_cannot_be_made_holds_up_no_other(
    running: Running, receiver: Receiver, generator: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    vendors, made = running.service.vendors, modelslab.webhook

    async def broken(row: JobRow, service: Service) -> dict:
        return await made(row, service) if row.request["track_id"] else {"x": 1 / 0}

    monkeypatch.setitem(vendors, "modelslab", replace(vendors["modelslab"], webhook=broken))
    for track in (0, 1, 0, 2):
        running.post(GEN, generator(webhook=receiver.url, track_id=track))
    receiver.wait(2)
    assert [json.loads(body)["track_id"] for _, body in receiver.got] == [1, 2]


def test_what_is_owed_survives_a_restart(
    with_comfy: Settings, receiver: Receiver, generator: Callable[..., dict]
) -> None:
    receiver.script = [500]
    with serving(with_comfy.model_copy(update={"webhook_backoff": 2.0})) as running:
        running.post(GEN, generator(webhook=receiver.url))
        receiver.wait(1)
    with serving(with_comfy):
        receiver.wait(2)
    assert receiver.got[0][0]["webhook-id"] == receiver.got[1][0]["webhook-id"]


def test_a_webhook_goes_to_public_addresses_alone(
    with_comfy: Settings, receiver: Receiver, generator: Callable[..., dict]
) -> None:
    hidden = receiver.url.replace("http:", "https:")
    with serving(with_comfy.model_copy(update={"allow_loopback": False})) as running:
        assert running.post(GEN, generator(webhook=receiver.url)).status_code == 400
        made = running.post(GEN, generator(webhook=hidden)).json()
        assert made["status"] == "success"
        time.sleep(0.5)
    assert receiver.got == []


def ended(service: Service, url: str, key: str = "open", count: int = 1, **more: object) -> list[str]:
    """Jobs that have ended, and whose webhooks are owed: as an older version may have left them."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    given: dict = {"key_id": key, "vendor": "modelslab", "workflow": "face_generator", "values": {}, "photos": {}}
    given |= {"request": {"track_id": 1}, "pictures": 1, "delivery": {"format": "png"}, "price": 1, "state": "failed"}
    given |= {"created": time.time(), "expires": time.time() + 600, "cleaned": True, "webhook": url, **more}
    with service.store.write() as session:
        session.add_all(JobRow(id=one, **given) for one in ids)
        session.flush()
        session.add_all(Hook(job_id=one, url=url, due=time.time() - 60) for one in ids)
    return ids


def hooks(service: Service, ids: list[str]) -> list[Hook]:
    with service.store.read() as session:
        return [hook for one in ids if (hook := session.get(Hook, one)) is not None]


@pytest.mark.parametrize("url", ["https://[::1", "https://h:99999/", "\x00", ""])
def test_a_stored_webhook_that_is_malformed_holds_up_no_other(settings: Settings, receiver: Receiver, url: str) -> None:
    """While one that is slow is on its way, and is not posted a second time."""
    receiver.slowness = 4.0
    with serving(settings.model_copy(update={"webhook_backoff": 0.2, "webhook_attempts": 3})) as one:
        broken = ended(one.service, url, count=5)
        slow = ended(one.service, f"{receiver.base}/slow", "other")
        started = time.monotonic()
        quick = ended(one.service, receiver.url, "another", count=3)
        receiver.wait(4)
        assert time.monotonic() - started < 2.5
        while any(hook.state == "owed" for hook in hooks(one.service, broken + slow + quick)):
            time.sleep(0.05)
        states = [[hook.state for hook in hooks(one.service, ids)] for ids in (broken, slow, quick)]
        assert states == [["dead"] * 5, ["delivered"], ["delivered"] * 3]
        assert {hook.attempts for hook in hooks(one.service, broken)} == {3}
    assert sorted(headers["webhook-id"] for headers, _ in receiver.got) == sorted(slow + quick)


@pytest.mark.parametrize(
    "broken",
    [{"vendor": "gone"}, {"request": {}}, {"state": "succeeded", "bucket": "garbage"}, {"workflow": "gone"}],
    ids=lambda broken: next(iter(broken)),
)
def test_a_job_that_cannot_be_told_of_holds_up_no_other(settings: Settings, receiver: Receiver, broken: dict) -> None:
    with serving(settings.model_copy(update={"webhook_attempts": 1})) as one:
        ended(one.service, receiver.base, **broken)
        (sound,) = ended(one.service, receiver.url, "another")
        while [hook.state for hook in hooks(one.service, [sound])] != ["delivered"]:
            time.sleep(0.05)


def test_a_slow_receiver_holds_up_no_other(
    running: Running, receiver: Receiver, generator: Callable[..., dict]
) -> None:
    """Of the same caller even: only what goes to the same host waits."""
    running.post(GEN, generator(webhook=f"{receiver.base}/slow"))
    receiver.wait(1)
    started = time.monotonic()
    for _ in range(3):
        running.post(GEN, generator(webhook=receiver.url.replace("127.0.0.1", "localhost")))
    receiver.wait(4)
    assert time.monotonic() - started < 2 + 3
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 4


def test_thousands_of_webhooks_to_a_dead_receiver_hold_up_no_other_key(settings: Settings, receiver: Receiver) -> None:
    with serving(settings) as one:
        ended(one.service, f"{receiver.base}/slow", "many", count=3000)
        ended(one.service, f"http://127.0.0.1:{receiver.server.server_port}?no-path", "many", count=1000)
        time.sleep(1.5)
        posted = len(receiver.got)
        started = time.monotonic()
        quick = ended(one.service, receiver.url, "another", count=8)
        while [hook.state for hook in hooks(one.service, quick)] != ["delivered"] * 8:
            time.sleep(0.05)
        assert time.monotonic() - started < 2
        slow = [headers["webhook-id"] for headers, _ in receiver.got[:posted]]
        assert len(slow) == len(set(slow))


def test_few_webhooks_go_to_one_host_at_a_time(settings: Settings, receiver: Receiver) -> None:
    receiver.slowness = 1.0
    with serving(settings) as one:
        ids = ended(one.service, f"{receiver.base}/slow", count=12)
        receiver.wait(4)
        time.sleep(0.3)
        assert len(receiver.got) == 4
        receiver.wait(12)
        assert [headers["webhook-id"] for headers, _ in receiver.got[:4]] != ids[8:]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 12


def test_a_stop_does_not_wait_for_a_slow_receiver_and_keeps_what_is_owed(
    settings: Settings, receiver: Receiver
) -> None:
    with serving(settings) as one:
        (slow,) = ended(one.service, f"{receiver.base}/slow")
        receiver.wait(1)
        started = time.monotonic()
    assert time.monotonic() - started < 8
    receiver.slowness = 0.0
    with serving(settings):
        receiver.wait(2)
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {slow}

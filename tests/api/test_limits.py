"""Slow and numerous requests of one address do not delay others. Loopback addresses stand for callers."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from consistent_face.api.http import bodies, connections
from consistent_face.api.jobs import service
from consistent_face.api.security import public_addresses
from consistent_face.tests.api.conftest import Running, Settings, serving

GEN = "/api/v1/enterprise/face_gen/make_gen"
SLOW = f"POST {GEN} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n"


class From(HTTPAdapter):
    """Requests from another address of this machine."""

    def __init__(self, address: str):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *arguments: object, **more: object) -> None:  # type: ignore[override]
        super().init_poolmanager(*arguments, **more, source_address=(self.address, 0))  # type: ignore[arg-type]


def post(one: Running, path: str, body: dict, address: str = "127.0.0.1", **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.mount("http://", From(address))
        return session.post(one.url + path, json=body, headers=headers, timeout=60)


@contextlib.contextmanager
def opened(one: Running, head: str, count: int = 1, address: str = "127.0.0.2") -> Iterator[list[socket.socket]]:
    """Connections that send this much and then nothing."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            peer = socket.create_connection(("127.0.0.1", one.settings.port), 60, (address, 0))
            found.append(stack.enter_context(peer))
            peer.sendall(head.encode())
        yield found


def answer_of(peer: socket.socket, trickle: bytes = b"", seconds: float = 30) -> tuple[bytes, float]:
    """What comes until the connection is closed, and how long that takes; it goes on sending meanwhile."""
    started, got = time.monotonic(), b""
    peer.settimeout(0.1)
    while time.monotonic() < started + seconds:
        try:
            if trickle:
                peer.sendall(trickle)
            if not (chunk := peer.recv(65536)):
                break
            got += chunk
        except TimeoutError:
            continue
        except OSError:
            break
    return got, time.monotonic() - started


@pytest.fixture
def strict(settings: Settings) -> Iterator[Running]:
    """With a key, and answers that wait for no job."""
    with serving(settings.model_copy(update={"modelslab_sync_wait_s": 0.0}), run_jobs=False) as one:
        one.key()
        yield one


def test_slow_strangers_do_not_shut_out_another_address(strict: Running, generator: Callable[..., dict]) -> None:
    """Each has a few places; what else it sends waits behind them, and the other's photo is read at once."""
    large = generator(key=strict.key(), padding="x" * 1_700_000)
    with opened(strict, SLOW + "\r\n{", 20), opened(strict, SLOW + "\r\n{", 20, "127.0.0.3"):
        time.sleep(0.3)
        started = time.monotonic()
        answer = post(strict, GEN, large)
        assert (answer.status_code, time.monotonic() - started < 2) == (200, True), answer.text


def test_an_address_with_too_many_slow_bodies_is_told_to_wait(
    settings: Settings, generator: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "STRANGERS", (32, 4, 1.0))
    with serving(settings, run_jobs=False) as one, opened(one, SLOW + "\r\n{", 4):
        one.key()
        time.sleep(0.3)
        answer = post(one, GEN, generator(padding="x" * 1_700_000), "127.0.0.2")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        assert answer.json()["retry_after"] == 1


@pytest.mark.parametrize("key", ["", "x-api-key: {key}\r\n", "x-api-key: wrong\r\n"], ids=["none", "known", "wrong"])
def test_a_slow_body_ends_whoever_sends_it(strict: Running, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(bodies, "GRACE", 0.5)
    with opened(strict, SLOW + key.format(key=strict.key()) + "\r\n{") as (peer,):
        got, seconds = answer_of(peer, b" ")
    status = b"401" if "wrong" in key else b"400"
    assert got.startswith(b"HTTP/1.1 " + status) and b"connection: close" in got.lower()
    assert b"16384 bytes a second" in got or status == b"401"
    assert seconds < 3


def test_a_body_that_comes_slowly_but_quickly_enough_is_read(
    strict: Running, generator: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "GRACE", 0.5)
    body = json.dumps(generator(key=strict.key())).encode()
    head = SLOW.replace("2000000", str(len(body))) + "Connection: close\r\n\r\n"
    with opened(strict, head) as (peer,):
        for start in range(0, len(body), 20_000):
            peer.sendall(body[start : start + 20_000])
            time.sleep(0.2)
        got, _ = answer_of(peer)
    assert got.startswith(b"HTTP/1.1 200"), got


@pytest.mark.parametrize(
    ("head", "trickle"),
    [
        ("", b""),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n", b"a: b\r\n"),
        ("", b"\r\n"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nX-Long: ", b"a"),
        ("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"a"),
    ],
    ids=["nothing", "header lines", "empty lines", "a second head", "a body after its answer"],
)
def test_a_head_that_does_not_end_is_cut_off(
    strict: Running, monkeypatch: pytest.MonkeyPatch, head: str, trickle: bytes
) -> None:
    monkeypatch.setattr(connections, "LOOK", 0.2)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with opened(strict, head) as (peer,):
        _, seconds = answer_of(peer, trickle)
    assert 0.8 < seconds < 4


def test_a_head_without_end_in_bytes(strict: Running) -> None:
    with opened(strict, "GET /healthz HTTP/1.1\r\nX-Long: ") as (peer,):
        got, seconds = answer_of(peer, b"a" * 100_000)
    assert seconds < 2 and (not got or got.startswith(b"HTTP/1.1 431"))


def test_a_request_that_waits_for_its_job_is_not_cut_off(
    settings: Settings, generator: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOOK", 0.1)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    with serving(settings.model_copy(update={"modelslab_sync_wait_s": 1.5}), run_jobs=False) as one:
        assert one.post(GEN, generator()).json()["status"] == "processing"


def test_who_takes_no_answer_is_cut_off(strict: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOOK", 0.2)
    monkeypatch.setattr(connections, "STALL_SECONDS", 1.0)
    (strict.service.disk.folder / "x.png").write_bytes(bytes(2**25))
    link = strict.service.disk.link("x.png", time.time() + 60)
    head = f"GET {link[len(strict.url) :]} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with opened(strict, head) as (peer,):
        time.sleep(3)
        assert len(answer_of(peer)[0]) < 2**25


def test_an_address_holds_few_connections_open(settings: Settings) -> None:
    few = settings.model_copy(update={"connections": 5})
    with serving(few, run_jobs=False) as one, opened(one, "", 5):
        with opened(one, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as (sixth,):
            got, seconds = answer_of(sixth)
            assert seconds < 1 and (not got or got.startswith(b"HTTP/1.1 429"))
        assert one.get("/healthz").text == "ok"
    trusted = few.model_copy(update={"trusted_proxies": ("127.0.0.2",)})
    with serving(trusted, run_jobs=False) as one, opened(one, "", 20):
        assert requests.get(f"{one.url}/healthz").text == "ok"
        with requests.Session() as session:
            session.mount("http://", From("127.0.0.2"))
            assert session.get(f"{one.url}/healthz").text == "ok"


def test_wrong_keys_are_counted_by_the_address_that_a_trusted_proxy_tells(settings: Settings) -> None:
    limited = settings.model_copy(update={"failures_limit": "3/minute", "trusted_proxies": ("127.0.0.2/32",)})
    with serving(limited, run_jobs=False) as one:
        one.key()

        def guess(told: str, proxy: str = "127.0.0.2") -> int:
            return post(one, GEN, {"key": "wrong"}, proxy, **{"X-Forwarded-For": told}).status_code

        forged = [guess(f"9.9.9.{number}, 198.51.100.1") for number in range(5)]
        assert forged == [401, 401, 401, 429, 429]
        assert guess("198.51.100.2") == 401
        networks = [guess(f"2001:db8:1:2::{number}") for number in range(5)]
        assert networks == [401, 401, 401, 429, 429]
        unbelieved = [guess(f"198.51.100.{number}", "127.0.0.3") for number in range(5)]
        assert unbelieved == [401, 401, 401, 429, 429]


def test_slow_strangers_behind_a_proxy_do_not_shut_out_their_neighbours(
    settings: Settings, generator: Callable[..., dict]
) -> None:
    with serving(settings.model_copy(update={"modelslab_sync_wait_s": 0.0, "trusted_proxies": ("127.0.0.2",)})) as one:
        large = generator(key=one.key(), padding="x" * 1_700_000)
        with opened(one, SLOW + "X-Forwarded-For: 1.1.1.1, 198.51.100.1\r\n\r\n{", 30):
            time.sleep(0.3)
            started = time.monotonic()
            answer = post(one, GEN, large, "127.0.0.2", **{"X-Forwarded-For": "198.51.100.2"})
            assert (answer.status_code, time.monotonic() - started < 2) == (200, True), answer.text


def test_the_rate_of_a_key_says_when_it_is_over(strict: Running) -> None:
    strict.service.settings = strict.settings.model_copy(update={"rate_limit": "2/second"})
    answers = [strict.get("/jobs", strict.key()) for _ in range(3)]
    assert (answers[-1].status_code, answers[-1].headers["Retry-After"]) == (429, "1")
    time.sleep(1)
    assert strict.get("/jobs", strict.key()).status_code == 200


@pytest.mark.parametrize("text", [b"&", b"a=1&", b"%41", b"%"], ids=repr)
def test_a_form_of_nothing_but_signs_holds_nobody_up(strict: Running, text: bytes) -> None:
    worst: list[float] = []

    def look() -> None:
        while not done.is_set():
            started = time.monotonic()
            strict.get("/healthz")
            worst.append(time.monotonic() - started)

    done, looker = threading.Event(), threading.Thread(target=look)
    looker.start()
    kind = {"Content-Type": "application/x-www-form-urlencoded", "x-api-key": strict.key()}
    answer = requests.post(strict.url + GEN, data=text * (2**24 // len(text)), headers=kind)
    done.set()
    looker.join()
    assert (answer.status_code, "form" in answer.json()["message"]) == (400, True)
    assert max(worst) < 1


def test_a_form_with_a_picture_in_base64_is_read(strict: Running, generator: Callable[..., dict]) -> None:
    answer = requests.post(strict.url + GEN, data=generator(prompt="é & ü", key=strict.key(), webhook=""))
    assert (answer.status_code, answer.json()["meta"]["prompt"]) == (200, "é & ü")


def test_silent_name_servers_of_one_key_hold_up_no_other(
    strict: Running, generator: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def slow(host: str, *arguments: Any, **options: Any) -> list:
        time.sleep(1.5 if host.endswith(".example") else 0)
        return look_up("127.0.0.1" if host.endswith(".example") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(public_addresses._Lookups, "threads", ThreadPoolExecutor(10))
    one, other = strict.key("one"), strict.key("other")
    page = f":{strict.settings.port}/healthz"
    with ThreadPoolExecutor(20) as pool:
        for number in range(20):
            body = generator(face_image=f"http://n{number}.example{page}")
            pool.submit(post, strict, GEN, body, **{"x-api-key": one})
        time.sleep(0.5)
        started = time.monotonic()
        answer = post(strict, GEN, generator(face_image=f"http://localhost{page}"), **{"x-api-key": other})
        waited = time.monotonic() - started
    assert (answer.status_code, "cannot be read as a picture" in answer.json()["message"]) == (400, True)
    assert waited < 1.2


def test_large_bodies_are_parsed_in_turns_by_caller(strict: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = bodies._pairs

    def slow(body: bytearray) -> dict[str, object]:
        time.sleep(0.4)
        return parse(body)

    monkeypatch.setattr(bodies, "_pairs", slow)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    one, other = ({**kind, "x-api-key": strict.key(name)} for name in ("one", "other"))
    with ThreadPoolExecutor(6) as pool:
        for _ in range(6):
            pool.submit(requests.post, strict.url + GEN, data="a=" + "x" * 300_000, headers=one)
        time.sleep(0.2)
        started = time.monotonic()
        requests.post(strict.url + GEN, data="a=" + "x" * 300_000, headers=other)
        waited = time.monotonic() - started
    assert waited < 1.3  # its turn comes after the one at hand, and not after all six

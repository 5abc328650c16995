"""Guarded connections: which addresses are refused, and what is accepted from public ones."""

import asyncio
import base64
import io
import socket
import threading
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from consistent_face.api.base.errors import PictureError
from consistent_face.api.base.settings import Settings
from consistent_face.api.media.intake import Intake
from consistent_face.api.media.pictures import accept
from consistent_face.api.security.public_addresses import guarded_session, is_public
from consistent_face.tests.api.conftest import PHOTO
from consistent_face.tools.server import free_port

INSIDE = [
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("192.0.0.8", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::1"),
    *("2001::1", "2002:7f00:1::", "fe80::1", "fe80::1%lo", "fec0::1", "fc00::1", "ff02::1", "2001:db8::1"),
]
URLS = [
    *("http://localhost:{port}/", "http://127.1:{port}/", "http://0x7f.1:{port}/", "http://2130706433:{port}/"),
    *("http://0:{port}/", "http://[::1]:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://127.0.0.1.:{port}/"),
    *("http://user@127.0.0.1:{port}/", "http://localhost.localdomain:{port}/", "http://017700000001:{port}/"),
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_the_internets(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:81b::200e"])
def test_an_address_of_the_internet(address: str) -> None:
    assert is_public(address)


class Site:
    """A web server of pictures and tricks; it counts what reaches it."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self.port = free_port()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.hits.append(request.path)
        kind = request.path.strip("/")
        if kind == "photo":
            return web.Response(body=PHOTO.read_bytes())
        if kind.startswith("again"):
            left = int(kind[5:])
            raise web.HTTPFound(f"/again{left - 1}" if left else "/photo")
        if kind == "inside":
            raise web.HTTPFound("http://10.255.255.1/photo")
        if kind == "file":
            raise web.HTTPFound("file:///etc/passwd")
        if kind == "missing":
            raise web.HTTPNotFound
        stream = web.StreamResponse()
        await stream.prepare(request)
        while kind in ("endless", "slow"):
            await stream.write(bytes(2**16) if kind == "endless" else b"x")
            await asyncio.sleep(0 if kind == "endless" else 0.1)
        return stream


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    one, loop, up = Site(), asyncio.new_event_loop(), threading.Event()

    async def start() -> None:
        app = web.Application()
        app.router.add_get("/{kind:.*}", one.answer)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", one.port).start()
        up.set()

    def serve() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    up.wait()
    yield one
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


async def take(url: str, loopback: bool, **more: object) -> bytes:
    settings = Settings(allow_loopback=loopback, **more)  # type: ignore[arg-type]
    async with guarded_session(loopback, 5) as session:
        intake = Intake(settings, session)
        fetched = await intake.fetched(url, "image")
        return accept(fetched, "image", settings.max_picture, settings.max_pixels).content


@pytest.mark.parametrize("url", URLS)
async def test_nothing_inside_is_ever_reached(site: Site, url: str) -> None:
    site.hits.clear()
    with pytest.raises(PictureError, match="image"):
        await take(url.format(port=site.port), loopback=False)
    assert site.hits == []


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("inside", "leads to an address that is not public"),
        ("file", "valid URL|cannot be reached"),
        ("again9", "redirects more than 3 times"),
        ("missing", "answered HTTP 404"),
        ("endless", "gives more than 100000 bytes"),
        ("slow", "no whole picture within 0.5 seconds"),
        ("empty", "cannot be read as a picture"),
    ],
)
async def test_urls_that_give_no_picture(site: Site, path: str, sentence: str) -> None:
    with pytest.raises(PictureError, match=sentence) as refusal:
        url = f"http://127.0.0.1:{site.port}/{path}"
        await take(url, loopback=True, max_picture=100_000, fetch_timeout=0.5)
    assert refusal.value.field == "image"


async def test_a_picture_is_fetched_over_redirects(site: Site) -> None:
    content = await take(f"http://127.0.0.1:{site.port}/again2", loopback=True)
    assert Image.open(io.BytesIO(content)).size == Image.open(PHOTO).size


async def test_a_name_that_changes_its_address_is_checked_when_it_connects(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name resolves to a public address first and to this machine afterwards, as in a rebinding attack."""
    answers = [{"hostname": "x", "host": "127.0.0.1", "port": site.port, "family": 2, "proto": 0, "flags": 0}]

    async def resolve(*_: object, **__: object) -> list[dict]:
        return answers

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    site.hits.clear()
    with pytest.raises(PictureError, match="not public"):
        await take(f"http://rebound.example:{site.port}/photo", loopback=False)
    assert site.hits == []


async def test_nothing_is_reachable() -> None:
    with pytest.raises(PictureError, match="cannot be reached"):
        await take(f"http://127.0.0.1:{free_port()}/", loopback=True)


FORMS = ["{}", "data:image/jpeg;base64,{}", "data:;base64,{}", " {}\n", "data:image/png;x=1;base64,{}"]


@pytest.mark.parametrize("form", FORMS)
async def test_base64_in_every_usual_form(form: str) -> None:
    text = base64.b64encode(PHOTO.read_bytes()).decode()
    assert len(await take(form.format(text), loopback=False)) > 1000
    folded = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    urlsafe = text.replace("+", "-").replace("/", "_").rstrip("=")
    assert await take(folded, loopback=False) == await take(urlsafe, loopback=False)


async def test_base64_is_measured_before_it_is_decoded() -> None:
    with pytest.raises(PictureError, match="more than 1000 bytes"):
        await take("A" * 2000, loopback=False, max_picture=1000)


async def test_names_that_are_never_found_hold_up_no_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads in which the store works are others than those in which names are looked up."""
    found, end = socket.getaddrinfo, threading.Event()

    def slow(host: str, *arguments: object, **more: object) -> list:
        if "tarpit" in host:
            end.wait(10)
        return found(host, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with guarded_session(False, 20) as session:
        asked = [asyncio.create_task(session.get(f"https://{number}.tarpit.invalid/")) for number in range(40)]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(1):
            await asyncio.gather(*(asyncio.to_thread(int) for _ in range(10)))
            with pytest.raises(aiohttp.ClientError):
                await session.get("http://localhost:9/")
        end.set()
        await asyncio.gather(*asked, return_exceptions=True)

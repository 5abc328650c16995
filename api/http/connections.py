"""Configures uvicorn and adds the connection limits that it lacks.

It limits the open connections per address, and the size and the time of a request's head. It closes connections whose
client does not read the answer or goes on sending after it. bodies.py limits the time of a body and answers slow ones.
"""

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..base.client_addresses import counted, is_trusted
from ..base.settings import Settings

LOOK = 5.0  # seconds between two checks of a connection
HEAD_SECONDS = 15.0  # from the opening of a connection, or the end of an answer, to the end of the next request's head
STALL_SECONDS = 60.0  # without any progress in sending an answer
LONGEST_HEAD = 64 * 1024  # bytes
GRACEFUL_SECONDS = 15


def options(settings: Settings) -> dict[str, Any]:
    """The options of uvicorn. Its proxy headers are off, since base/client_addresses.py handles them."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": partial(Connection, proxies=settings.trusted_proxies, most=settings.connections),
        "ws": "none",
        "proxy_headers": False,
        "server_header": False,
        "log_config": None,
        "access_log": False,
        "timeout_graceful_shutdown": GRACEFUL_SECONDS,
    }


class Connection(HttpToolsProtocol):
    def __init__(self, *arguments: Any, proxies: tuple[str, ...], most: int, **more: Any):
        super().__init__(*arguments, **more)
        self._proxies, self._most = proxies, most
        self.peer: str | None = None  # the counted address; None for a trusted proxy, whose connections are not counted
        self._moved = self.loop.time()
        self._unsent = 0
        self._head: int | None = 0  # bytes of the request's head so far; None while its body comes
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None and not is_trusted(self.client[0], self._proxies):
            self.peer = counted(self.client[0])
        self._timer = self.loop.call_later(LOOK, self._look)
        same = (one for one in self.connections if isinstance(one, Connection) and one.peer == self.peer)
        if self.peer is not None and sum(1 for _ in same) > self._most:
            self._refuse(b"429 Too Many Requests\r\nretry-after: 5", b"Too many connections from this address.")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > LONGEST_HEAD:
            self._refuse(b"431 Request Header Fields Too Large", b"The head of the request is too long.")

    def on_headers_complete(self) -> None:
        self._head = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._moved = self.loop.time()
        super().on_response_complete()

    def _look(self) -> None:
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._moved = unsent, now
        is_idle = self.cycle is None or self.cycle.response_complete
        still = now - self._moved
        if still > STALL_SECONDS if unsent else is_idle and still > HEAD_SECONDS:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(LOOK, self._look)

    def _refuse(self, status: bytes, sentence: bytes) -> None:
        head = b"HTTP/1.1 %b\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(sentence)) + sentence)
        self.transport.close()

"""Restricts connections to public addresses: checks the address on the socket just before it connects.

A check at that point also covers redirects and names that change their address after a lookup.
"""

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import aiohttp

# Networks that `is_global` of Python 3.11 accepts although they are not public, or can contain a private address.
REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # local NAT64
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fec0::/10",  # site-local
    )
)
LOOKUPS = 256  # simultaneous lookups: a key has some tens at most, and a silent name server delays each for 20 s
CHUNK = 64 * 1024
NETWORK = (aiohttp.ClientError, TimeoutError, OSError)  # the exceptions of a failed connection


class AddressError(OSError):
    """An address that the service does not connect to."""


class TooLongError(Exception):
    """The answer is longer than the limit."""


async def read_at_most(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer. Raises TooLongError as soon as it has more than `most` bytes."""
    content = bytearray()
    async for chunk in answer.content.iter_chunked(CHUNK):
        content += chunk
        if len(content) > most:
            raise TooLongError
    return bytes(content)


class _Lookups(asyncio.AbstractEventLoop):
    """Looks up names in its own threads; ThreadedResolver calls it like an event loop.

    The event loop has few threads: a few names whose servers never answer would block all of them for seconds.
    """

    threads = ThreadPoolExecutor(LOOKUPS, "lookup")

    async def getaddrinfo(self, host: str, port: int, **options: int) -> list:  # type: ignore[override,type-arg]
        act = partial(socket.getaddrinfo, host, port, **options)
        return await asyncio.get_running_loop().run_in_executor(self.threads, act)

    async def getnameinfo(self, address: tuple, flags: int = 0) -> tuple[str, str]:  # type: ignore[override,type-arg]
        act = partial(socket.getnameinfo, address, flags)
        return await asyncio.get_running_loop().run_in_executor(self.threads, act)


def is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return False
    if not found.is_global or found.is_multicast or found.is_reserved:
        return False
    return not any(found.version == network.version and found in network for network in REFUSED)


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def guarded_session(allow_loopback: bool, timeout: float) -> aiohttp.ClientSession:
    """Returns a session that checks every connection, also after a redirect. It uses no cookies and no proxies.

    A refused connection raises aiohttp.ClientConnectorError with an AddressError inside. `timeout` is in seconds.
    """

    def guard(info: tuple) -> socket.socket:  # type: ignore[type-arg]
        family, kind, protocol, _, target = info
        address = str(target[0])
        if not is_public(address) and not (allow_loopback and is_loopback(address)):
            raise AddressError(f"{address} is not a public address")
        return socket.socket(family, kind, protocol)

    return aiohttp.ClientSession(
        # No limit here: one caller's slow hosts would use it up. The users of the session have their own limits.
        connector=aiohttp.TCPConnector(
            socket_factory=guard, force_close=True, limit=0, resolver=aiohttp.ThreadedResolver(_Lookups())
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout),
        auto_decompress=False,
        trust_env=False,
    )

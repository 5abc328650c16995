"""Restricts connections to public addresses: checks the address on the socket just before it connects.

Checking there, and not when a name is looked up, leaves nothing to redirects and to names that change their address.
"""

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import aiohttp

# What `is_global` lets through in Python 3.11 and is not a host of the internet, or hides one that is not.
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
LOOKUPS = 256  # names looked up at a time: a key has some tens at most, and a silent name server holds each for 20 s
CHUNK = 64 * 1024
NETWORK = (aiohttp.ClientError, TimeoutError, OSError)  # what a connection may fail with


class AddressError(OSError):
    """An address that the service does not connect to."""


class TooLongError(Exception):
    """An answer of more bytes than are taken."""


async def read_at_most(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer. Raises TooLongError as soon as it has more than `most` bytes."""
    content = bytearray()
    async for chunk in answer.content.iter_chunked(CHUNK):
        content += chunk
        if len(content) > most:
            raise TooLongError
    return bytes(content)


class _Lookups(asyncio.AbstractEventLoop):
    """Names are looked up in threads of their own, as ThreadedResolver asks a loop to.

    The loop's few threads serve everybody: some names whose servers never answer would stop them all for seconds.
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
    """A session whose every connection is checked, the ones after a redirect too. No cookies, no proxies.

    Raises aiohttp.ClientConnectorError, with an AddressError inside, where a connection is refused.
    """

    def guard(info: tuple) -> socket.socket:  # type: ignore[type-arg]
        family, kind, protocol, _, target = info
        address = str(target[0])
        if not is_public(address) and not (allow_loopback and is_loopback(address)):
            raise AddressError(f"{address} is not a public address")
        return socket.socket(family, kind, protocol)

    return aiohttp.ClientSession(
        # No limit here: one caller's slow hosts would use it up. Whoever asks has limits of its own.
        connector=aiohttp.TCPConnector(
            socket_factory=guard, force_close=True, limit=0, resolver=aiohttp.ThreadedResolver(_Lookups())
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout),
        auto_decompress=False,
        trust_env=False,
    )

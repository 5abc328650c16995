"""Finds the address that a request is counted by.

A proxy's forwarding headers are used only when TRUSTED_PROXIES names the proxy. The hops in them are read from the
nearest on, and the first one that is not trusted is the caller: the caller may have made up the hops before it.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import Scope

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNKNOWN = "unknown"
SUBNET = 64  # bits of an IPv6 address that are counted: callers can choose the others freely
MOST_HOPS = 20


@lru_cache
def networks(proxies: tuple[str, ...]) -> tuple[Network, ...]:
    """Parses CIDRs. Raises ValueError, which names the one that is not a network."""
    return tuple(ipaddress.ip_network(one) for one in proxies)


def counted(address: str) -> str:
    """Returns the text that an address is counted as: an IPv4 address, or the /64 network of an IPv6 address."""
    return _group(found) if (found := read(address)) is not None else UNKNOWN


def is_trusted(address: str, proxies: tuple[str, ...]) -> bool:
    return (found := read(address)) is not None and _within(found, networks(proxies))


def caller_of(scope: Scope, proxies: tuple[str, ...]) -> str:
    """Returns the counted address of a request's caller; UNKNOWN without one."""
    client = scope.get("client")
    peer = read(client[0]) if client else None
    if peer is None:
        return UNKNOWN
    trusted = networks(proxies)
    if not _within(peer, trusted):
        return _group(peer)
    headers = Headers(scope=scope)
    found = {
        _group(_first_untrusted(peer, hops, trusted)) for hops in (_forwarded_for(headers), _forwarded(headers)) if hops
    }
    return found.pop() if len(found) == 1 else _group(peer)  # if the two headers disagree, one of them is forged


def read(text: str) -> Address | None:
    """Parses an address of a peer or header, with or without port, brackets and quotes; None if it is not valid.

    IPv4-mapped IPv6 addresses become IPv4.
    """
    text = text.strip()
    if text[:1] == text[-1:] == '"':
        text = text[1:-1]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _group(address: Address) -> str:
    if address.version == 4:
        return str(address)
    return str(ipaddress.IPv6Network((int(address), SUBNET), strict=False))


def _within(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)


def _first_untrusted(peer: Address, hops: Sequence[str], trusted: Sequence[Network]) -> Address:
    """Reads hops from the nearest on; an invalid one counts as the proxy that reported it."""
    nearest = peer
    for hop in reversed(hops[-MOST_HOPS:]):
        if (found := read(hop)) is None:
            return nearest
        if not _within(found, trusted):
            return found
        nearest = found
    return nearest


def _forwarded_for(headers: Headers) -> list[str]:
    """The hops in all lines of X-Forwarded-For, the nearest last."""
    lines = headers.getlist("x-forwarded-for")
    return ",".join(lines).split(",") if lines else []


def _forwarded(headers: Headers) -> list[str]:
    """The hops in Forwarded (RFC 7239). Quoted commas split too: a caller must not hide a hop with a quote."""
    lines = headers.getlist("forwarded")
    return [_told_for(hop) for hop in ",".join(lines).split(",")] if lines else []


def _told_for(hop: str) -> str:
    if hop.count('"') % 2:
        return ""
    pairs = (pair.partition("=") for pair in hop.split(";"))
    return next((value for name, _, value in pairs if name.strip().lower() == "for"), "")

"""Checks the URLs of callers: accepts only those whose host and port every HTTP client reads alike.

public_addresses.py checks the address of the host when it connects.
"""

import ipaddress
import re
import unicodedata
from urllib.parse import SplitResult, urlsplit

from yarl import URL

LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
LONGEST_HOST = 253


class URLError(ValueError):
    """A refused URL; the message is the reason, as the end of a sentence."""


def parsed(text: str, schemes: tuple[str, ...], longest: int) -> SplitResult:
    """Returns the parts of a URL with one of the schemes, a host and no user. Raises URLError."""
    if len(text) > longest:
        raise URLError(f"it has {len(text)} characters")
    if "\\" in text or any(unicodedata.category(one) in ("Cc", "Cs") for one in text):
        raise URLError("it has a backslash, a control character or half a character in it")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise URLError("its host or its port is malformed") from error
    if parts.scheme not in schemes or not parts.netloc:
        raise URLError("its scheme or its host is missing or another")
    if "@" in parts.netloc:
        raise URLError("it has a user name in it")
    if port == 0 or parts.netloc.endswith(":"):
        raise URLError("its port is malformed")
    for host in (parts.hostname or "", _as_connected(text)):
        _check_host(host, "[" in parts.netloc)
    return parts


def host_of(text: str) -> str:
    """Returns the host of a URL for a log; never fails."""
    try:
        return urlsplit(text).hostname or "(no host)"
    except ValueError:
        return "(malformed)"


def _as_connected(text: str) -> str:
    """Returns the host as the HTTP client reads it, in ASCII."""
    try:
        return URL(text).raw_host or ""
    except ValueError as error:  # a UnicodeError of IDNA too
        raise URLError("its host is no valid name") from error


def _check_host(host: str, in_brackets: bool) -> None:
    if in_brackets:
        try:
            scope = ipaddress.IPv6Address(host).scope_id
        except ValueError as error:
            raise URLError("its host is no valid address") from error
        if scope is not None:
            raise URLError("its host is an address of one machine's network")
    elif host.isascii():
        labels = host.removesuffix(".").split(".")
        if len(host) > LONGEST_HOST or not all(map(LABEL.fullmatch, labels)):
            raise URLError("its host is no valid name")

"""The counted address of a caller: forged headers are ignored, and trusted proxies are followed."""

import ipaddress

import pytest
from pydantic import ValidationError

from consistent_face.api.base.client_addresses import caller_of, counted, is_trusted
from consistent_face.api.base.settings import Settings

PROXIES = ("10.0.0.0/8", "2001:db8:ffff::/48")


def of(peer: str | None, *headers: tuple[str, str], proxies: tuple[str, ...] = PROXIES) -> str:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return caller_of({"type": "http", "client": (peer, 5) if peer else None, "headers": raw}, proxies)


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("203.0.113.7", [("X-Forwarded-For", "198.51.100.1")], "203.0.113.7"),
        ("203.0.113.7", [("Forwarded", "for=198.51.100.1")], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [("X-Forwarded-For", "198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", [("X-Forwarded-For", "9.9.9.9, 198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", [("X-Forwarded-For", "9.9.9.9, 198.51.100.1, 10.2.3.4")], "198.51.100.1"),
        ("10.0.0.1", [("X-Forwarded-For", "9.9.9.9"), ("X-Forwarded-For", "198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", [("X-Forwarded-For", "10.9.9.9, 10.2.3.4")], "10.9.9.9"),
        ("10.0.0.1", [("X-Forwarded-For", "198.51.100.1:4711")], "198.51.100.1"),
        ("10.0.0.1", [("X-Forwarded-For", "::ffff:198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", [("X-Forwarded-For", "9.9.9.9, garbage")], "10.0.0.1"),
        ("10.0.0.1", [("X-Forwarded-For", "9.9.9.9, garbage, 10.2.3.4")], "10.2.3.4"),
        ("10.0.0.1", [("X-Forwarded-For", "9.9.9.9,,")], "10.0.0.1"),
        ("10.0.0.1", [("X-Forwarded-For", "")], "10.0.0.1"),
        ("10.0.0.1", [("X-Forwarded-For", "1" * 5000)], "10.0.0.1"),
        ("10.0.0.1", [("X-Forwarded-For", "[2001:db8:1:2:3:4:5:6]:80")], "2001:db8:1:2::/64"),
        ("10.0.0.1", [("X-Forwarded-For", "2001:db8:1:2:aaaa::1")], "2001:db8:1:2::/64"),
        ("10.0.0.1", [("Forwarded", 'for="[2001:db8:1:2::9]:80";proto=https;by=10.0.0.1')], "2001:db8:1:2::/64"),
        ("10.0.0.1", [("Forwarded", "For=9.9.9.9, for=198.51.100.1; host=a")], "198.51.100.1"),
        ("10.0.0.1", [("Forwarded", "for=9.9.9.9"), ("Forwarded", "proto=https;for=198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", [("Forwarded", 'for="9.9.9.9, for=198.51.100.1')], "198.51.100.1"),
        ("10.0.0.1", [("Forwarded", 'for=198.51.100.1;host="a, for=9.9.9.9"')], "10.0.0.1"),
        ("10.0.0.1", [("Forwarded", "for=unknown")], "10.0.0.1"),
        ("10.0.0.1", [("Forwarded", "for=_hidden, for=10.2.3.4")], "10.2.3.4"),
        ("10.0.0.1", [("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", [("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=9.9.9.9")], "10.0.0.1"),
        ("::ffff:10.0.0.1", [("X-Forwarded-For", "198.51.100.1")], "198.51.100.1"),
        ("2001:db8:ffff::1", [("X-Forwarded-For", "198.51.100.1")], "198.51.100.1"),
        ("2001:db8:fffe::1", [("X-Forwarded-For", "198.51.100.1")], "2001:db8:fffe::/64"),
        (None, [("X-Forwarded-For", "198.51.100.1")], "unknown"),
    ],
)
def test_the_first_hop_that_is_not_trusted(peer: str | None, headers: list[tuple[str, str]], expected: str) -> None:
    assert of(peer, *headers) == expected


def test_nobody_is_believed_without_the_setting() -> None:
    assert of("127.0.0.1", ("X-Forwarded-For", "198.51.100.1"), proxies=()) == "127.0.0.1"


def test_an_address_of_ipv6_is_counted_by_its_64() -> None:
    assert counted("2001:db8:1:2::1") == counted("2001:db8:1:2:ffff::9") != counted("2001:db8:1:3::1")
    assert counted("::ffff:8.8.8.8") == counted("8.8.8.8") == "8.8.8.8"
    assert is_trusted("10.1.1.1", PROXIES) and not is_trusted("11.1.1.1", PROXIES)


def test_the_setting_is_read_with_commas_and_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("10.0.0.0/8, ::1", '["10.0.0.0/8", "::1"]'):
        monkeypatch.setenv("CONSISTENT_FACE_TRUSTED_PROXIES", text)
        assert Settings().trusted_proxies == ("10.0.0.0/8", "::1")
    assert ipaddress.ip_network("::1").prefixlen == 128
    monkeypatch.setenv("CONSISTENT_FACE_TRUSTED_PROXIES", "10.0.0.1/8")
    with pytest.raises(ValidationError, match=r"10\.0\.0\.1/8"):
        Settings()

"""Drops metadata from picture files without touching their pixels: places, cameras, workflows, comments, profiles."""

import struct
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"sRGB", b"cHRM", b"sBIT", b"bKGD", b"pHYs"}
WEBP_KEPT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH"}
WEBP_FLAGS = 0b0010_1100  # VP8X: profile, EXIF, XMP


class MalformedError(ValueError):
    """A file that does not keep to its format."""


def strip(content: bytes, kind: str) -> bytes:
    """The same picture without metadata; `kind` is JPEG, PNG or WEBP. Raises MalformedError."""
    cleaned = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp}[kind]
    try:
        return cleaned(content)
    except (struct.error, IndexError) as error:
        raise MalformedError(f"The {kind} file ends too early.") from error


def _png(content: bytes) -> bytes:
    parts, place = [PNG], len(PNG)
    while place < len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if end > len(content):
            raise MalformedError("The PNG file ends too early.")
        if name in PNG_KEPT:
            parts.append(content[place:end])
        place = end
        if name == b"IEND":
            break
    return b"".join(parts)


def _jpeg(content: bytes) -> bytes:
    """Keeps what a decoder needs: APP0 (JFIF) and APP14 (Adobe's colour transform) among the application segments."""
    parts = [content[:2]]
    for marker, segment in _segments(content):
        if marker in (0xE0, 0xEE) or not (0xE1 <= marker <= 0xEF or marker == 0xFE):
            parts.append(segment)
    return b"".join(parts)


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The segments after the start marker; the last one is the scan, up to the end marker."""
    place = 2
    while True:
        while content[place] == 0xFF and content[place + 1] == 0xFF:  # fill bytes
            place += 1
        if content[place] != 0xFF:
            raise MalformedError("The JPEG file has bytes between its segments.")
        marker = content[place + 1]
        if marker == 0xDA:
            end = content.rfind(b"\xff\xd9")
            yield marker, content[place : end + 2] if end > place else content[place:]
            return
        (length,) = struct.unpack_from(">H", content, place + 2)
        yield marker, content[place : place + 2 + length]
        place += 2 + length


def _webp(content: bytes) -> bytes:
    parts, place = [], 12
    while place + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        end = place + 8 + length + length % 2
        if name in WEBP_KEPT:
            chunk = bytearray(content[place:end])
            if name == b"VP8X":
                chunk[8] &= ~WEBP_FLAGS & 0xFF
            parts.append(bytes(chunk))
        place = end
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body

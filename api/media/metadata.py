"""Removes the metadata of a PNG: workflows, comments, profiles."""

import struct

from .containers import PNG, MalformedError

KEPT = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"sRGB", b"cHRM", b"sBIT", b"bKGD", b"pHYs"}


def strip(content: bytes) -> bytes:
    """Returns the PNG without metadata and with the same pixels. Raises MalformedError."""
    parts, place = [PNG], len(PNG)
    while place < len(content):
        try:
            length, name = struct.unpack_from(">I4s", content, place)
        except struct.error as error:
            raise MalformedError("The PNG file ends too early.") from error
        end = place + 12 + length
        if end > len(content):
            raise MalformedError("The PNG file ends too early.")
        if name in KEPT:
            parts.append(content[place:end])
        place = end
        if name == b"IEND":
            break
    return b"".join(parts)

"""Parses a picture file without decoding it: its format, its size, and how much work its decoding takes."""

import re
import struct
from dataclasses import dataclass

PNG = b"\x89PNG\r\n\x1a\n"
# Pillow reads every segment of a JPEG and every chunk of a PNG in Python, about 10 microseconds each: a fifth of a
# second. Encoders write chunks of 8 kB or more, so that 20 MB have 2,500.
MOST_PARTS = 20_000
# A progressive JPEG is decoded once per scan: 25 milliseconds at 40 million pixels, even for an empty scan. Encoders
# write 10 scans, and at most 26 with four colour channels.
MOST_SCANS = 50
# Pillow reads the whole EXIF block for the orientation, and each of its up to 65,535 entries may claim the whole block.
# Cameras write at most 64 kB, the size of a JPEG segment.
MOST_EXIF = 256 * 1024
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # zeros and restarts are part of a scan; 0xff is filling
NO_LENGTH = range(0x01, 0xC0)  # markers without a length
FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SOI, EOI, SOS, APP1 = 0xD8, 0xD9, 0xDA, 0xE1


class MalformedError(ValueError):
    """The file has another format, or ends before its size."""


class TooMuchError(ValueError):
    """The file takes more work than a picture needs; the message continues a sentence that begins with its name."""


@dataclass(frozen=True)
class Container:
    """`kind` is JPEG, PNG or WEBP. The size is the file's claim: the decoder's size counts."""

    kind: str
    width: int
    height: int


def look(content: bytes) -> Container:
    """Reads format and size. Raises MalformedError and TooMuchError; the decoder checks the end of the file."""
    try:
        if content.startswith(b"\xff\xd8"):
            return Container("JPEG", *_jpeg(content))
        if content.startswith(PNG):
            return Container("PNG", *_png(content))
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return Container("WEBP", *_webp(content))
    except struct.error as error:
        raise MalformedError("The file ends too early.") from error
    raise MalformedError("The file is neither a JPEG nor a PNG nor a WebP.")


def _jpeg(content: bytes) -> tuple[int, int]:
    """Reads width and height. Finds the markers as libjpeg does, up to the end of the first picture."""
    size, place, parts, scans, exif = None, 2, 0, 0, 0
    while (found := MARKER.search(content, place)) is not None and (marker := content[found.start() + 1]) != EOI:
        start = found.start()
        parts += 1 if scans else 1 + start - place  # before the first scan Pillow reads filling bytes one by one, too
        scans += marker == SOS
        _bound(parts, "segments and filling bytes", MOST_PARTS)
        _bound(scans, "scans", MOST_SCANS)
        place = start + 2
        if marker in NO_LENGTH or marker == SOI:
            continue
        if marker in FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", content, start + 5)
            size = width, height
        (length,) = struct.unpack_from(">H", content, place) if place + 2 <= len(content) else (2,)
        if marker == APP1 and content.startswith(b"Exif", place + 2):
            exif += length
            _bound(exif, "bytes of EXIF", MOST_EXIF)
        place += max(2, length)
    if size is None:
        raise MalformedError("The JPEG has no frame header.")
    return size


def _png(content: bytes) -> tuple[int, int]:
    if content[12:16] != b"IHDR":
        raise MalformedError("The PNG does not begin with its header.")
    size = struct.unpack_from(">II", content, 16)
    place, parts = len(PNG), 0
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        parts += 1
        _bound(parts, "chunks", MOST_PARTS)
        if name == b"eXIf":
            _bound(length, "bytes of EXIF", MOST_EXIF)
        place += 12 + length
        if name == b"IEND":
            break
    return size


def _webp(content: bytes) -> tuple[int, int]:
    place, parts = 12, 0
    while place + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        parts += 1
        _bound(parts, "chunks", MOST_PARTS)
        if name == b"EXIF":
            _bound(length, "bytes of EXIF", MOST_EXIF)
        place += 8 + length + length % 2
    if content[12:16] == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if content[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF


def _bound(found: int, what: str, most: int) -> None:
    if found > most:
        raise TooMuchError(f"has more than {most} {what}")

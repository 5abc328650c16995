"""Small picture files that ask for much work: each is one kind that a decoder, or Pillow around it, is slow at."""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

LARGEST = 20_000_000  # bytes
SIDE = 6320  # 40 million pixels


def jpeg(side: int = SIDE, mode: str = "L", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (side, side)).save(out, "JPEG", quality=50, **options)  # type: ignore[arg-type]
    return out.getvalue()


def scans(count: int, side: int = SIDE, mode: str = "L") -> bytes:
    """A progressive JPEG whose last scan, legal for libjpeg, stands there `count` times more."""
    whole = jpeg(side, mode, progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * count + b"\xff\xd9"


def arithmetic_scans(count: int, side: int = SIDE) -> bytes:
    """The same with arithmetic coding, which takes three times as long: `count` scans of nothing but zeros."""
    whole = jpeg(side, progressive=True)
    start = whole.index(b"\xff\xc2")
    head = whole[:start] + b"\xff\xca" + whole[start + 2 : whole.index(b"\xff\xc4")]
    first, more = (b"\xff\xda\0\x08\x01\x01\0" + of + bytes(8) for of in (b"\0\0\0", b"\1\x3f\x10"))
    return head + first + more * (count - 1) + b"\xff\xd9"


def exif(entries: int, more: int) -> bytes:
    """An EXIF block whose every entry says that it is the whole block."""
    size = 8 + 2 + 12 * entries + 4 + more
    said = b"".join(struct.pack("<HHII", 1 + tag, 7, size - 8, 8) for tag in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + said + bytes(4 + more)


def second_picture(count: int) -> bytes:
    """An MPO: its second picture has the scans, and is never decoded."""
    out = io.BytesIO()
    Image.new("L", (64, 64)).save(out, "MPO", save_all=True, append_images=[Image.new("L", (64, 64))])
    whole = out.getvalue()
    second = whole.rindex(b"\xff\xd8\xff")
    return whole[:second] + scans(count, 640)


def before_the_first_scan(piece: bytes) -> bytes:
    whole = jpeg(64)
    return whole[:2] + piece * (LARGEST // len(piece)) + whole[2:]


def png(*chunks: tuple[bytes, bytes], side: int = 64) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, (header, *chunks, (b"IEND", b""))))


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    name, content = chunk
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def flat(side: int = 64) -> tuple[bytes, bytes]:
    return b"IDAT", zlib.compress(bytes(side * (side + 1)), 9)


def chunks(name: bytes, content: bytes = b"", first: bool = True) -> bytes:
    """As many chunks as go into a file, before or behind the picture."""
    many = [(name, content)] * (LARGEST // (12 + len(content)))
    return png(*many, flat()) if first else png(flat(), *many)


def webp(frames: int) -> bytes:
    """An animated WebP whose every frame is the same 16x16 pixels."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "WEBP", lossless=True)
    picture = out.getvalue()[12:]
    canvas = (15).to_bytes(3, "little") * 2
    frame = bytes(6) + canvas + bytes(4) + picture
    body = b"WEBP" + _riff(b"VP8X", b"\x02\0\0\0" + canvas) + _riff(b"ANIM", bytes(6))
    body += _riff(b"ANMF", frame) * frames
    return _riff(b"RIFF", body)


def _riff(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


# Refused before they are decoded, each by the sentence with this in it.
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "scans": (lambda: scans(3000), "has more than 50 scans"),
    "scans of colours": (lambda: scans(3000, mode="RGB"), "has more than 50 scans"),
    "arithmetic scans": (lambda: arithmetic_scans(3000), "has more than 50 scans"),
    "segments": (lambda: before_the_first_scan(b"\xff\xfe\0\2"), "has more than 20000 segments"),
    "filling bytes": (lambda: before_the_first_scan(b"\xff"), "has more than 20000 segments and filling bytes"),
    "zeros": (lambda: before_the_first_scan(b"\0"), "has more than 20000 segments and filling bytes"),
    "chunks": (lambda: chunks(b"teSt"), "has more than 20000 chunks"),
    "pixel chunks": (lambda: chunks(b"IDAT"), "has more than 20000 chunks"),
    "chunks behind": (lambda: chunks(b"teSt", first=False), "has more than 20000 chunks"),
    "frames of an APNG": (lambda: chunks(b"fcTL", bytes(26)), "has more than 20000 chunks"),
    "an EXIF of a PNG": (lambda: png((b"eXIf", exif(65_000, 10**7)), flat()), "has more than 262144 bytes of EXIF"),
    "frames of a WebP": (lambda: webp(200_000), "has more than 20000 chunks"),
}
# Taken or refused, at the cost of a usual picture of their size.
HARMLESS: dict[str, Callable[[], bytes]] = {
    "50 scans": lambda: scans(44),
    "50 arithmetic scans": lambda: arithmetic_scans(50),
    "the second picture": lambda: second_picture(3000),
    "Photoshop's blocks": lambda: before_the_first_scan(
        b"\xff\xed\xff\xff" + (b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\0" * 5460)[:65533].ljust(65533, b"\0")
    ),
    "texts that grow": lambda: chunks(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20 - 100), 9)),
    "19000 frames": lambda: webp(19_000),
    "an EXIF of 256 kB": lambda: png((b"eXIf", exif(15_000, 80_000)), flat()),
    "restart markers": lambda: jpeg(restart_marker_blocks=1),
    "a flat PNG": lambda: png(flat(SIDE), side=SIDE),
}

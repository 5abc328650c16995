"""Checks photos and encodes them anew; encodes results for delivery.

A photo is encoded anew, so that nothing after this decodes a stranger's file. All of it takes its time, and holds
Python's lock: `decoder` runs it in a process of its own, which is why nothing large is imported here.
"""

import io
import struct
import warnings
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from ..base.errors import PictureError
from .containers import TooMuchError, look
from .metadata import strip
from .sources import Source, decode

FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
PLUGINS = (JpegImagePlugin, PngImagePlugin, WebPImagePlugin)  # imported here, or Pillow would import all that it has
MIN_SIDE, MAX_SIDE = 16, 16_384  # as Load Photo (core/image.py) has them; a test keeps them equal
LARGEST_PHOTO = 100_000_000  # bytes; ComfyUI takes uploads of 100 MB unless it is told otherwise
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LOW_RES = 512  # longest side of a low-resolution copy
QUALITY = 95
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error)
BROKEN = (*DAMAGED, Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Photo:
    """A checked photo: the bytes of a JPEG, PNG or WebP file of our own making, upright and without metadata."""

    content: bytes
    suffix: str
    width: int
    height: int


def accept(source: Source, name: str, largest: int, most_pixels: int) -> Photo:
    """Checks a photo, how much work it is before any of that is done, and encodes it anew.

    The pixels are those that Load Photo sees in the caller's file: exactly, or as near as a JPEG of quality 95 is.

    Args:
        name: the request's field, for the error.
        largest: bytes; most_pixels: width times height.

    Raises PictureError.
    """
    content = source if isinstance(source, bytes) else decode(source.strip(), name, largest)
    if len(content) > largest:
        raise PictureError(f"{name} has {len(content)} bytes: send at most {largest}.", name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a picture could fill the log with them
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            container = look(content)
            _check_size(container.width, container.height, name, most_pixels)
            image = Image.open(io.BytesIO(content), formats=(container.kind,))
            _check_size(*image.size, name, most_pixels)
            image.load()
            upright = _upright(image)
            encoded = encode(upright, container.kind)
        except TooMuchError as error:
            raise PictureError(f"{name} {error}: save it anew as a plain JPEG or PNG, and send that.", name) from error
        except BROKEN as error:
            raise PictureError(f"{name} cannot be read as a picture: send a JPEG, PNG or WebP file.", name) from error
    if len(encoded) > LARGEST_PHOTO:
        raise PictureError(f"{name} has {len(encoded)} bytes without loss: send it as a JPEG, or smaller.", name)
    return Photo(encoded, FORMATS[container.kind], *upright.size)


def _check_size(width: int, height: int, name: str, most_pixels: int) -> None:
    if width * height > most_pixels:
        raise PictureError(f"{name} is {width}x{height}: send a picture of at most {most_pixels} pixels.", name)
    if max(width, height) > MAX_SIDE:
        raise PictureError(f"{name} is {width}x{height}: send a picture of at most {MAX_SIDE} pixels a side.", name)
    if min(width, height) < MIN_SIDE:
        raise PictureError(f"{name} is {width}x{height}: send a picture of at least {MIN_SIDE}x{MIN_SIDE}.", name)


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ORIENTATION)
    except DAMAGED:  # the picture itself is good: it stays as it is stored, as Load Photo has it
        orientation = None
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def encode(image: Image.Image, kind: str) -> bytes:
    """A file without metadata, as quickly as the format allows. JPEG has no alpha: that is put on white.

    PNG and WebP keep every pixel, also the colours below a transparent one.
    """
    image.info = {"transparency": image.info["transparency"]} if "transparency" in image.info else {}
    out = io.BytesIO()
    if kind == "JPEG":
        _flat(image).save(out, "JPEG", quality=QUALITY, subsampling=0)
    elif kind == "PNG":
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, kind, lossless=True, exact=True, method=0, quality=0)
    return out.getvalue()


def deliverable(content: bytes, form: str) -> bytes:
    """A result as it leaves: `form` png keeps ComfyUI's file without its workflow, jpeg encodes it anew."""
    if form == "png":
        return strip(content)
    return encode(Image.open(io.BytesIO(content)), "JPEG")


def low_res(content: bytes) -> bytes | None:
    """A small JPEG copy; None of a picture that is small itself."""
    image = Image.open(io.BytesIO(content))
    if max(image.size) <= LOW_RES:
        return None
    image = _flat(image)
    image.thumbnail((LOW_RES, LOW_RES))
    return encode(image, "JPEG")


def _flat(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")

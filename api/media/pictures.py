"""Checks photos and encodes them anew; encodes results for delivery.

A photo is encoded anew, so that no later program decodes a caller's file. Decoding takes long and holds Python's lock:
decoder_process.py runs it in its own process, so this module imports nothing large.
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
PLUGINS = (JpegImagePlugin, PngImagePlugin, WebPImagePlugin)  # otherwise Pillow imports all of its plugins
MIN_SIDE, MAX_SIDE = 16, 16_384  # as in Load Photo (core/image.py); a test compares them
LARGEST_PHOTO = 100_000_000  # bytes; ComfyUI's default limit of uploads
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
    """A checked photo: the bytes of a newly encoded JPEG, PNG or WebP file, upright and without metadata."""

    content: bytes
    suffix: str
    width: int
    height: int


def accept(source: Source, name: str, largest: int, most_pixels: int) -> Photo:
    """Checks a photo and encodes it anew. Checks first how much work its decoding takes.

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
        warnings.simplefilter("ignore")  # a picture could fill the log with warnings
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
        raise PictureError(
            f"{name} has {len(encoded)} bytes when it is encoded without loss: send it as a JPEG, or smaller.", name
        )
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
    except DAMAGED:  # only its EXIF is damaged: the picture stays as it is stored, as in Load Photo
        orientation = None
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def encode(image: Image.Image, kind: str) -> bytes:
    """Encodes a file without metadata, with the format's fastest settings. JPEG has no alpha: it is put on white.

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
    """Returns a result for delivery: `form` png removes the workflow from ComfyUI's file, jpeg encodes it anew."""
    if form == "png":
        return strip(content)
    return encode(Image.open(io.BytesIO(content)), "JPEG")


def low_res(content: bytes) -> bytes | None:
    """Returns a small JPEG copy; None if the picture is small itself."""
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

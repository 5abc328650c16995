"""Pictures in and out: what a photo must be to be taken, and in what form results leave."""

import io
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps

from .errors import PictureError
from .metadata import MalformedError, strip

FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
ORIENTATION = 0x0112
LOW_RES = 512  # longest side of a low-resolution copy
QUALITY = 95
BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Photo:
    """A checked photo: the bytes of a JPEG, PNG or WebP file, upright and without metadata."""

    content: bytes
    suffix: str
    width: int
    height: int


def accept(content: bytes, name: str, largest: int, most_pixels: int) -> Photo:
    """Checks a photo whole, its size before its pixels are decoded.

    Args:
        name: the request's field, for the error.
        largest: bytes; most_pixels: width times height.

    Raises PictureError.
    """
    if len(content) > largest:
        raise PictureError(f"{name} has {len(content)} bytes: send at most {largest}.", name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return _checked(content, name, most_pixels)
        except BROKEN as error:
            raise PictureError(f"{name} cannot be read as a picture: send a JPEG, PNG or WebP file.", name) from error


def _checked(content: bytes, name: str, most_pixels: int) -> Photo:
    image = Image.open(io.BytesIO(content), formats=tuple(FORMATS))
    width, height = image.size
    if width * height > most_pixels:
        raise PictureError(f"{name} is {width}x{height}: send a picture of at most {most_pixels} pixels.", name)
    kind = "JPEG" if image.format == "MPO" else str(image.format)  # phones add pictures to a JPEG; the first one counts
    turned = image.getexif().get(ORIENTATION, 1) != 1 or getattr(image, "is_animated", False)
    if kind == "JPEG" and not turned:
        image.draft("RGB", (max(1, width // 8), max(1, height // 8)))  # all of the file is read, few pixels are made
    image.load()
    if turned:
        image = ImageOps.exif_transpose(image)
        content, (width, height) = encode(image, kind), image.size
    try:
        return Photo(strip(content, kind), FORMATS[kind], width, height)
    except MalformedError:  # a decoder forgives more
        return Photo(encode(image, kind), FORMATS[kind], width, height)


def encode(image: Image.Image, kind: str) -> bytes:
    """A file without metadata. JPEG has no alpha: transparent pictures are put on white."""
    out = io.BytesIO()
    if kind == "JPEG":
        _flat(image).save(out, "JPEG", quality=QUALITY, subsampling=0)
    elif kind == "PNG":
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, kind, lossless=True)
    return strip(out.getvalue(), kind)


def deliverable(content: bytes, form: str) -> bytes:
    """A result as it leaves: `form` png keeps ComfyUI's file without its workflow, jpeg encodes it anew."""
    if form == "png":
        return strip(content, "PNG")
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
    if image.mode == "RGB":
        return image
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")

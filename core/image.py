"""Decodes pictures within limits and upright, and reduces them to fit into a size."""

import os
import struct

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from .errors import PhotoError

MAX_BYTES = 20_000_000
MAX_PIXELS = 40_000_000
MAX_SIDE = 16_384
MIN_SIDE = 16
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")

# The exceptions of Pillow's readers on damaged files, found by cutting files and flipping their bytes.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error)

ALIKE = 16 / 255  # largest difference between the colours that compression makes of one colour
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


def path_within(folder: str, name: str) -> str:
    """Returns the real path of file `name`; raises PhotoError unless it is inside `folder` with links followed."""
    folder = os.path.realpath(folder)
    try:
        path = os.path.realpath(os.path.join(folder, name))
        inside = os.path.commonpath((folder, path)) == folder
    except ValueError:  # a null byte in the name, or another drive on Windows
        path, inside = "", False
    if not inside:
        raise PhotoError(f"{name!r} is outside ComfyUI's input folder; upload the picture or copy it into that folder.")
    if not os.path.isfile(path):
        raise PhotoError(f"{name!r} was not found in ComfyUI's input folder; upload the picture or choose another.")
    return path


def no_photo() -> tuple[Tensor, Tensor]:
    """Returns an empty batch: image [0,1,1,3] and mask [0,1,1]."""
    return torch.zeros(0, 1, 1, 3), torch.zeros(0, 1, 1)


def load_photo(path: str, name: str, most_bytes: int = MAX_BYTES) -> tuple[Tensor, Tensor]:
    """Decodes the first frame of a file: image [1,H,W,3] in 0..1 and mask [1,H,W], 1 where it is transparent.

    Raises PhotoError, which names the file `name`, if it is too large, too small, damaged or of another kind.
    """
    _check_bytes(os.path.getsize(path), name, most_bytes)
    try:
        with Image.open(path, formats=FORMATS) as picture:
            _check_size(*picture.size, name)
            picture.load()
            upright = _upright(picture)
    except PhotoError:
        raise
    except Image.UnidentifiedImageError:
        raise PhotoError(
            f"{name} is no picture that can be read, or its beginning is damaged; "
            f"save it as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        ) from None
    except Image.DecompressionBombError:
        raise PhotoError(_too_many_pixels(name, "has far too many pixels")) from None
    except DAMAGED as error:
        raise PhotoError(f"{name} is damaged or cut off ({error}); save or upload the picture again.") from error
    return _tensors(upright, name)


def fit(image: Tensor, max_width: int, max_height: int) -> Tensor:
    """Reduces [B,H,W,C] to fit into max_width x max_height, keeps the aspect ratio, and never enlarges."""
    height, width = image.shape[1:3]
    scale = min(max_width / width, max_height / height)
    if scale >= 1 or len(image) == 0:
        return image
    size = max(1, round(height * scale)), max(1, round(width * scale))
    reduced = interpolate(image.movedim(-1, 1).float(), size, mode="bicubic", antialias=True)
    return reduced.clamp(0, 1).movedim(1, -1).to(image.dtype)


def on_white(image: Tensor) -> Tensor:
    """Composites [...,3 or 4] in 0..1 on white, in float: [...,3]. Colours that alpha hides are removed."""
    rgb = image[..., :3].float()
    if image.shape[-1] < 4:
        return rgb
    alpha = image[..., 3:4].float()
    return rgb * alpha + 1 - alpha


def on_black(image: Tensor) -> Tensor:
    """Composites [...,3 or 4] in 0..1 on black, in float: [...,3]."""
    rgb = image[..., :3].float()
    return rgb if image.shape[-1] < 4 else rgb * image[..., 3:4].float()


def on_ground(image: Tensor, mask: Tensor, name: str) -> Tensor:
    """Fills the transparent parts (mask [1,H,W] = 1) of a photo [1,H,W,3] with one colour.

    A file keeps colours under its transparent parts, such as an erased person. They are replaced by one colour: the one
    that most of them already have, so that a drawing on transparent black becomes a drawing on black, or else white.
    Raises PhotoError, which names the file `name`, for a photo that is transparent all over.
    """
    if not mask.any():
        return image
    if mask.min() == 1:
        raise PhotoError(f"{name} is transparent all over, so nothing of it can be seen; save it without transparency.")
    return torch.lerp(image, _ground(image[mask == 1]).expand_as(image), mask.unsqueeze(-1))


def _ground(hidden: Tensor) -> Tensor:
    """Returns the colour [3] that most of the hidden pixels [N,3] nearly have, or white."""
    some = hidden[:: max(1, len(hidden) // 100_000)]
    if len(some) == 0:
        return torch.ones(3)
    middle = some.median(0).values
    alike = ((some - middle).abs().amax(-1) <= ALIKE).float().mean()
    return middle if alike >= 0.5 else torch.ones(3)


def to_picture(image: Tensor) -> Image.Image:
    """Converts [H,W,3 or 4] in 0..1 to an 8-bit RGB picture on white."""
    return Image.fromarray((on_white(image).clamp(0, 1) * 255).round().byte().cpu().numpy())


def _check_bytes(size: int, name: str, most: int) -> None:
    if size == 0:
        raise PhotoError(f"{name} is empty (0 bytes); upload the picture again.")
    if size > most:
        raise PhotoError(
            f"{name} has {size / 1e6:.1f} MB, and at most {most // 1_000_000} MB are read; "
            f"save it smaller or with stronger compression."
        )


def _check_size(width: int, height: int, name: str) -> None:
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"{name} is {width}x{height} pixels, too small to show anything; use a picture of at least "
            f"{MIN_SIDE}x{MIN_SIDE} pixels."
        )
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise PhotoError(_too_many_pixels(name, f"is {width}x{height} pixels"))


def _too_many_pixels(name: str, found: str) -> str:
    return (
        f"{name} {found}, and at most {MAX_PIXELS // 1_000_000} million pixels with sides up to {MAX_SIDE} are read; "
        f"reduce the picture."
    )


def _upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(ORIENTATION)
    except DAMAGED:  # only its EXIF data are damaged: keep the stored orientation
        orientation = None
    return picture.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else picture.copy()


def _tensors(picture: Image.Image, name: str) -> tuple[Tensor, Tensor]:
    if picture.mode.startswith("I;16"):
        grey = torch.from_numpy(np.asarray(picture).astype(np.float32) / 65535)
        return grey[None, ..., None].expand(-1, -1, -1, 3).clone(), torch.zeros(1, *grey.shape)
    if picture.mode in ("I", "F"):
        raise PhotoError(f"{name} has 32 bits per pixel and channel; save it with 8 or 16 bits.")
    if picture.has_transparency_data:
        rgba = _floats(picture.convert("RGBA"))
        return rgba[..., :3].clone(), 1 - rgba[..., 3]
    rgb = _floats(picture.convert("RGB"))
    return rgb, torch.zeros(rgb.shape[:3])


def _floats(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture).astype(np.float32) / 255)[None]

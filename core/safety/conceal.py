"""Makes pictures unrecognizable for good: blurred, pixelated, black, or replaced by a card that says why."""

from collections.abc import Callable
from enum import Enum

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from ..image import on_white

WORDS = "Sensitive\ncontent"
GROUND = 96
INK = 245
LONG_SIDE_CELLS = 16
SMALLEST_CELL = 8  # so that also a small picture keeps at most one value in 64


class Concealment(Enum):
    blur = "blur"
    sensitive_content_text = "sensitive_content_text"
    pixelate = "pixelate"
    black = "black"


def conceal(image: Tensor, how: Concealment) -> Tensor:
    """Returns an opaque picture of the size of [H,W,3 or 4] from which the original cannot be recovered.

    Blur and pixelate keep the mean colours of at most 16x16 cells, each of at least 64 pixels; others keep nothing.
    """
    colours = METHODS[how](on_white(image)).clamp(0, 1).to(image)
    return torch.cat([colours, torch.ones_like(image[..., 3:])], dim=-1)


def _cells(image: Tensor) -> Tensor:
    """Returns the mean colours of a grid over [H,W,3], in 8 bits: [1,3,rows,columns]."""
    height, width = image.shape[:2]
    cell = max(SMALLEST_CELL, max(height, width) / LONG_SIDE_CELLS)
    grid = max(1, int(height / cell)), max(1, int(width / cell))
    means = interpolate(image.movedim(-1, 0)[None], size=grid, mode="area")
    return (means * 255).round() / 255


def _blur(image: Tensor) -> Tensor:
    return interpolate(_cells(image), size=image.shape[:2], mode="bicubic")[0].movedim(0, -1)


def _pixelate(image: Tensor) -> Tensor:
    return interpolate(_cells(image), size=image.shape[:2], mode="nearest-exact")[0].movedim(0, -1)


def _black(image: Tensor) -> Tensor:
    return torch.zeros_like(image)


def _card(image: Tensor) -> Tensor:
    height, width = image.shape[:2]
    card = Image.new("L", (width, height), GROUND)
    draw = ImageDraw.Draw(card)
    font = _font(draw, width, height)
    draw.multiline_text((width / 2, height / 2), WORDS, fill=INK, font=font, anchor="mm", align="center")
    grey = torch.from_numpy(np.array(card).astype(np.float32) / 255)
    return grey[..., None].expand(-1, -1, 3)


def _font(draw: ImageDraw.ImageDraw, width: int, height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Returns Pillow's own font, sized so that the words fill four fifths of the width or two fifths of the height."""
    measured = 100
    left, top, right, bottom = draw.multiline_textbbox((0, 0), WORDS, font=ImageFont.load_default(measured))
    scale = min(0.8 * width / (right - left), 0.4 * height / (bottom - top))
    return ImageFont.load_default(max(1, measured * scale))


METHODS: dict[Concealment, Callable[[Tensor], Tensor]] = {
    Concealment.blur: _blur,
    Concealment.sensitive_content_text: _card,
    Concealment.pixelate: _pixelate,
    Concealment.black: _black,
}

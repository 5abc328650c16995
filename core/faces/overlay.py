"""Draws the analyzed faces on their pictures: boxes, numbers and scores, with the chosen faces marked."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..image import to_picture
from .detection import PhotoFaces

MIN_SIDE = 512  # smaller pictures are enlarged, because labels are unreadable on them
CHOSEN = (46, 204, 113)
OTHER = (235, 235, 235)
INK = (20, 20, 20)


def draw_overlay(images: Tensor, photos: Sequence[PhotoFaces]) -> Tensor:
    """Draws each picture's faces on [B,H,W,3]; enlarges pictures whose longer side is below 512.

    Without a picture it draws one with a message, because ComfyUI's Preview Image fails on an empty batch.
    """
    drawn = [_draw(image, photo) for image, photo in zip(images, photos, strict=True)] or [_no_photo()]
    return torch.stack([torch.from_numpy(np.array(picture).astype(np.float32) / 255) for picture in drawn])


def _draw(image: Tensor, photo: PhotoFaces) -> Image.Image:
    picture = to_picture(image)
    scale = max(1, MIN_SIDE / max(picture.size))
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    unit = max(picture.size) / 512
    draw = ImageDraw.Draw(picture)
    order = sorted(range(len(photo.faces)), key=lambda position: position in photo.chosen)  # the chosen ones on top
    for position in order:
        box = [side * scale for side in photo.faces[position].box]
        _mark(draw, box, (f"{position + 1}", f"  {photo.faces[position].score:.2f}"), unit, position in photo.chosen)
    return picture


def _no_photo() -> Image.Image:
    picture = Image.new("RGB", (MIN_SIDE, MIN_SIDE // 4), INK)
    centre = picture.width / 2, picture.height / 2
    ImageDraw.Draw(picture).text(centre, "No photo", fill=OTHER, font=ImageFont.load_default(size=32), anchor="mm")
    return picture


def _mark(draw: ImageDraw.ImageDraw, box: Sequence[float], words: tuple[str, str], unit: float, chosen: bool) -> None:
    left, top, right, bottom = box
    colour = CHOSEN if chosen else OTHER
    width = max(1, round(min(unit * (3 if chosen else 1.5), (right - left) / 16)))  # a small face stays visible
    draw.rectangle((left, top, right, bottom), outline=INK, width=width + 2)
    draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=width)
    font = ImageFont.load_default(size=max(10, min(unit * 16, (right - left) / 3)))
    number, score = words
    crowded = draw.textlength(number + score, font=font) > 1.8 * (right - left)  # the labels of a group would overlap
    label = number if crowded else number + score
    text = draw.textbbox((0, 0), label, font=font)
    high, long = text[3] + 4, text[2] + 8
    x, y = max(0, min(left, draw.im.size[0] - long)), top - high if top >= high else top
    draw.rectangle((x, y, x + long, y + high), fill=colour)
    draw.text((x + 4, y + 1), label, fill=INK, font=font)

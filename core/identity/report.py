"""Draws an identity's report: each face, kept or dropped, and why."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .build import CROP, Finding

COLUMNS = 6
GAP = 16
WORDS = 68  # height of the words below a face
KEPT, DROPPED = (46, 204, 113), (231, 76, 60)
PAPER, INK, FAINT = (24, 26, 30), (240, 240, 240), (160, 164, 170)


def draw_report(findings: Sequence[Finding]) -> Tensor:
    """Draws one card per face on one picture [1,H,W,3]; without a face it draws a message."""
    columns, rows = min(max(len(findings), 1), COLUMNS), max(1, -(-len(findings) // COLUMNS))
    size = GAP + columns * (CROP + GAP), GAP + rows * (CROP + WORDS + GAP)
    picture = Image.new("RGB", size if findings else (size[0], 96), PAPER)
    for place, finding in enumerate(findings):
        corner = GAP + place % COLUMNS * (CROP + GAP), GAP + place // COLUMNS * (CROP + WORDS + GAP)
        _card(picture, corner, place + 1, finding)
    if not findings:
        centre = picture.width / 2, picture.height / 2
        ImageDraw.Draw(picture).text(centre, "No face", fill=INK, font=_font(28), anchor="mm")
    return torch.from_numpy(np.array(picture).astype(np.float32) / 255)[None]


def _card(picture: Image.Image, corner: tuple[int, int], number: int, finding: Finding) -> None:
    left, top = corner
    colour = KEPT if finding.kept else DROPPED
    face = Image.fromarray((finding.face.crop * 255).round().byte().cpu().numpy())
    picture.paste(face if finding.kept else Image.blend(face.convert("L").convert("RGB"), _paper(), 0.45), corner)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left - 2, top - 2, left + CROP + 1, top + CROP + 1), outline=colour, width=4)
    if not finding.kept:
        draw.line((left, top + CROP - 1, left + CROP - 1, top), fill=DROPPED, width=4)
    verdict = f"{number}  kept, weight {finding.weight:.0%}" if finding.kept else f"{number}  dropped"
    draw.text((left, top + CROP + 8), verdict, fill=colour, font=_font(20))
    draw.text((left, top + CROP + 36), _reason(finding), fill=FAINT, font=_font(16))


def _reason(finding: Finding) -> str:
    if finding.similarity is None:
        return "the only face that is kept"
    told = f"similarity {finding.similarity:.2f}"
    return told if finding.kept else f"{told}, below {finding.limit:.2f}"


def _paper() -> Image.Image:
    return Image.new("RGB", (CROP, CROP), PAPER)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)

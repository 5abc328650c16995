"""Arranges figures side by side in rows, as large as an area allows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..boxes import Box

GUTTER = 0.06  # of a body height, between figures and around them: limbs of two figures never meet


@dataclass(frozen=True)
class Place:
    """Where a figure goes: its points times `scale`, plus `x`, `y`."""

    scale: float
    x: float
    y: float


def arrange(boxes: Sequence[Box], area: Box, per_row: int) -> list[Place]:
    """Returns places for figures with these boxes (in body heights), all at one scale, the feet of a row on one line.

    `per_row` 0 makes even rows, in the number that makes the figures largest.
    """
    even = {math.ceil(len(boxes) / rows) for rows in range(1, len(boxes) + 1)}
    choices = [_rows(boxes, count) for count in ([per_row] if per_row else sorted(even))]
    rows = max(choices, key=lambda rows: _scale(rows, area))
    scale = _scale(rows, area)
    heights = [_height(row) * scale for row in rows]
    gap = (area[3] - area[1] - sum(heights)) / (len(rows) + 1)
    places, bottom = [], area[1]
    for row, height in zip(rows, heights, strict=True):
        bottom += gap + height
        places += _in_row(row, area, bottom, scale)
    return places


def _rows(boxes: Sequence[Box], count: int) -> list[Sequence[Box]]:
    return [boxes[first : first + count] for first in range(0, len(boxes), count)]


def _scale(rows: Sequence[Sequence[Box]], area: Box) -> float:
    across = max(_breadth(row) + GUTTER * (len(row) + 1) for row in rows)
    down = sum(_height(row) + GUTTER for row in rows) + GUTTER
    return min((area[2] - area[0]) / across, (area[3] - area[1]) / down)


def _in_row(row: Sequence[Box], area: Box, bottom: float, scale: float) -> list[Place]:
    gap = (area[2] - area[0] - _breadth(row) * scale) / (len(row) + 1)
    places, left = [], area[0] + gap
    for box in row:
        places.append(Place(scale, left - box[0] * scale, bottom - box[3] * scale))
        left += (box[2] - box[0]) * scale + gap
    return places


def _breadth(row: Sequence[Box]) -> float:
    return sum(box[2] - box[0] for box in row)


def _height(row: Sequence[Box]) -> float:
    return max(box[3] - box[1] for box in row)

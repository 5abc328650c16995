"""Lays equal tiles over a picture, and gives their blend windows and the order in which they are redrawn."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..boxes import Region
from ..errors import ConsistentFaceError

MULTIPLE = 64  # of a tile's sides: every UNet can halve them without a remainder
FLAT = 8 / 255


class Mode(Enum):
    """How tiles are redrawn: one after another, in two turns like the colours of a chess board, or not at all."""

    linear = "Linear"
    chess = "Chess"
    none = "None"


@dataclass(frozen=True)
class Axis:
    """Equal tiles along one side of a picture, the first at 0; the last may reach beyond the end."""

    starts: tuple[int, ...]
    side: int

    @property
    def end(self) -> int:
        return self.starts[-1] + self.side

    @cached_property
    def ramps(self) -> list[Tensor]:
        """Returns the blend weights of each tile, [side] each: S-curves in the overlaps; the sum is 1 everywhere."""
        position = torch.arange(self.end) + 0.5
        rows = []
        for start in self.starts:
            before = position - start if start else torch.full_like(position, self.end)
            after = start + self.side - position if start + self.side < self.end else before.new_full((), self.end)
            rows.append(torch.minimum(before, after).clamp(min=0) ** 2)
        shares = torch.stack(rows)
        shares /= shares.sum(0)
        return [row[start : start + self.side] for row, start in zip(shares, self.starts, strict=True)]


@dataclass(frozen=True)
class Grid:
    """The tiles of one picture, row by row."""

    columns: Axis
    rows: Axis

    def __len__(self) -> int:
        return len(self.columns.starts) * len(self.rows.starts)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a tile."""
        return self.columns.side, self.rows.side

    def regions(self, picture: int) -> Iterator[Region]:
        for top in self.rows.starts:
            yield from (Region(picture, left, top, *self.size) for left in self.columns.starts)

    def window(self, position: int) -> Tensor:
        """Returns the blend weight of a tile, [height, width]; the weights of all tiles sum to 1 everywhere."""
        row, column = divmod(position, len(self.columns.starts))
        return torch.outer(self.rows.ramps[row], self.columns.ramps[column])

    def turns(self, mode: Mode) -> list[list[int]]:
        """Returns the positions of the tiles that are redrawn together, per turn."""
        if mode is Mode.none:
            return []
        if mode is Mode.linear:
            return [[position] for position in range(len(self))]
        width = len(self.columns.starts)
        colours: list[list[int]] = [[], []]
        for position in range(len(self)):
            colours[(position // width + position % width) % 2].append(position)
        return [colour for colour in colours if colour]


def lay(width: int, height: int, side: int, overlap: int, unit: int = 8) -> Grid:
    """Lays equal tiles of at most `side`, overlapping by about `overlap` or more; corners are multiples of `unit`."""
    return Grid(spread(width, side, overlap, unit), spread(height, side, overlap, unit))


def spread(length: int, side: int, overlap: int, unit: int = 8) -> Axis:
    """Covers the length with as few tiles as possible, each as small as that number allows."""
    if overlap > side // 2:
        raise ConsistentFaceError(
            f"Tiles of {side} pixels cannot overlap by {overlap}; make the overlap {side // 2} or less."
        )
    count = max(1, math.ceil((length - overlap) / (side - overlap)))
    needed = (length + (count - 1) * overlap) / count
    side = min(side, math.ceil(needed / MULTIPLE) * MULTIPLE)
    last = max(0, math.ceil((length - side) / unit))
    starts = [round(last * position / max(1, count - 1)) * unit for position in range(count)]
    return Axis(tuple(dict.fromkeys(starts)), side)


def is_flat(crop: Tensor) -> bool:
    """Returns whether a crop [h,w,3] shows only plain background, apart from noise."""
    blocks = avg_pool2d(crop.movedim(-1, 0), 8)
    return bool((blocks.amax((1, 2)) - blocks.amin((1, 2))).max() < FLAT)

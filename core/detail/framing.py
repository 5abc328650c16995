"""Computes the crop around a target, and the window: the part of the crop that is pasted back."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from ..boxes import Box, Region
from .targets import Target

MIN_SIDE = 8  # of a crop
MULTIPLE = 64  # of the size that crops are refined at


def refined_side(target_size: int, crop_factor: float) -> int:
    """Returns the side in pixels at which all crops are refined: a target's longer side is then about `target_size`."""
    return max(MULTIPLE, round(target_size * crop_factor / MULTIPLE) * MULTIPLE)


def clip(box: Box, width: int, height: int) -> Box | None:
    """Returns the part of a box inside a picture of this size, or None."""
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    return (left, top, right, bottom) if right - left >= 1 and bottom - top >= 1 else None


def frame(target: Target, crop_factor: float, width: int, height: int) -> Region:
    """Returns the square crop around a target, moved into a picture of this size as far as it fits.

    The crop shows a rotated face upright to within 45 degrees, because models draw upside-down faces badly.
    """
    left, top, right, bottom = target.box
    side = max(MIN_SIDE, round(min(crop_factor * target.size, max(width, height))))
    across, down = _inside((left + right - side) / 2, side, width), _inside((top + bottom - side) / 2, side, height)
    return Region(target.picture, across, down, side, side, target.quarters)


def window(target: Target, region: Region, feather: float, width: int, height: int) -> Tensor:
    """Returns the blend weight of a crop, [side,side]: 1 in the target's box, 0 beyond the soft edge.

    It is also 0 at the crop's edges, except where they are the picture's edges.
    """
    left, top, right, bottom = target.box
    x = torch.arange(region.left, region.right) + 0.5
    y = torch.arange(region.top, region.bottom) + 0.5
    away = torch.hypot(_outside(x, left, right).unsqueeze(0), _outside(y, top, bottom).unsqueeze(1))
    ramp = max(1.0, min([feather * target.size, *_room(target.box, region, width, height)]))
    near = (1 - away / ramp).clamp(0, 1)
    near = near * near * (3 - 2 * near)
    return near if target.mask is None else near * _softened(target, target.mask, region, ramp)


def _inside(start: float, side: int, length: int) -> int:
    if side > length:
        return (length - side) // 2
    return min(max(round(start), 0), length - side)


def _outside(position: Tensor, start: float, end: float) -> Tensor:
    return torch.maximum(start - position, position - end).clamp(min=0)


def _room(box: Box, region: Region, width: int, height: int) -> Sequence[float]:
    """Returns the distance between a box and those edges of its crop that are not the picture's edges."""
    return [
        room
        for room, is_inside in (
            (box[0] - region.left, region.left > 0),
            (box[1] - region.top, region.top > 0),
            (region.right - box[2], region.right < width),
            (region.bottom - box[3], region.bottom < height),
        )
        if is_inside
    ]


def _softened(target: Target, mask: Tensor, region: Region, ramp: float) -> Tensor:
    """Places the mask in the crop and blurs its edge over the ramp."""
    left, top = round(target.box[0]) - region.left, round(target.box[1]) - region.top
    height, width = mask.shape
    reach = round(ramp / 2)
    placed = pad(mask, (left, region.width - left - width, top, region.height - top - height))
    around = pad(placed[None, None], (reach,) * 4, mode="replicate")
    return avg_pool2d(around, 2 * reach + 1, stride=1)[0, 0]

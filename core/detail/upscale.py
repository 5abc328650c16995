"""Enlarges pictures in float: by Lanczos, or by a network tile by tile."""

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..boxes import MAX_PIXELS, check_size, cut, visible
from .tiles import Axis, Grid, lay

OVERLAP = 32

Network = Callable[[Tensor], Tensor]  # [1,3,h,w] -> [1,3,scale*h,scale*w]


def lanczos(image: Tensor, width: int, height: int) -> Tensor:
    """[H,W,C] to [height,width,C]; Pillow resizes float channels without rounding them."""
    if image.shape[:2] == (height, width):
        return image.float()
    channels = [Image.fromarray(channel.float().cpu().numpy()) for channel in image.unbind(-1)]
    resized = [np.array(each.resize((width, height), Image.Resampling.LANCZOS)) for each in channels]
    return torch.stack([torch.from_numpy(each) for each in resized], dim=-1).clamp_(0, 1)


def reduce_for(image: Tensor, scale: int) -> Tensor:
    """Reduces [H,W,C] so that the output of a network of this scale fits into memory; most pictures stay unchanged."""
    height, width = image.shape[:2]
    share = math.sqrt(MAX_PIXELS / (height * width)) / scale
    return image if share >= 1 else lanczos(image, math.floor(width * share), math.floor(height * share))


def by_network(image: Tensor, network: Network, scale: int, tile: int, step: Callable[[], None]) -> Tensor:
    """[H,W,3] to [scale*H,scale*W,3], holding only the result and one tile; calls `step` after each tile."""
    height, width = image.shape[0] * scale, image.shape[1] * scale
    check_size(1, width, height)
    grid = tiles(image, tile)
    large = Grid(
        *(Axis(tuple(start * scale for start in axis.starts), axis.side * scale) for axis in (grid.columns, grid.rows))
    )
    result = torch.zeros(height, width, 3)
    for position, (small, place) in enumerate(zip(grid.regions(0), large.regions(0), strict=True)):
        pixels = network(cut(image[None, ..., :3].float(), small).movedim(-1, 0).unsqueeze(0))
        where, shown = visible(place, width, height)
        drawn = pixels[0].movedim(0, -1)[shown].to(result)
        result[where] += drawn * large.window(position)[shown].unsqueeze(-1)
        step()
    return result.clamp_(0, 1)


def tiles(image: Tensor, tile: int) -> Grid:
    """Returns the tiles of [H,W,C] for a network."""
    return lay(image.shape[1], image.shape[0], tile, OVERLAP)

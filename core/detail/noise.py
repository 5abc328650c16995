"""Draws noise per region, which depends neither on the batching nor on the device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..boxes import Region

SEEDS = 2**63
STRIDE = 2_654_435_761  # odd, so that different regions have different seeds


def draw(seed: int, number: int, shape: Sequence[int]) -> Tensor:
    """Returns standard normal noise for a seed and a number."""
    generator = torch.Generator().manual_seed((seed + number * STRIDE) % SEEDS)
    return torch.randn(*shape, generator=generator)


class OwnNoise:
    """Gives each region its own noise."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, number: int, cycle: int, shape: Sequence[int]) -> Tensor:
        """Of the number-th region, [C,h,w]."""
        return draw(self.seed + cycle, number, shape)


class SharedNoise:
    """Draws one noise map per picture; each tile takes its part, so overlapping tiles see the same noise."""

    def __init__(self, seed: int, regions: Sequence[Region], unit: int) -> None:
        self.seed, self.regions, self.unit = seed, regions, unit
        self._pictures: dict[tuple[int, int], Tensor] = {}

    def __call__(self, number: int, cycle: int, shape: Sequence[int]) -> Tensor:
        region = self.regions[number]
        left, top = region.left // self.unit, region.top // self.unit
        return self._whole(region.picture, cycle, shape)[:, top : top + shape[1], left : left + shape[2]]

    def _whole(self, picture: int, cycle: int, shape: Sequence[int]) -> Tensor:
        key = (picture, cycle)
        if key not in self._pictures:
            mine = [region for region in self.regions if region.picture == picture]
            height, width = (max(ends) // self.unit for ends in zip(*((r.bottom, r.right) for r in mine), strict=True))
            self._pictures[key] = draw(self.seed + cycle, picture, (shape[0], height, width))
        return self._pictures[key]

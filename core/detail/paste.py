"""Pastes refined crops back: in float, with soft edges, in the colours of their surroundings."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..boxes import Region, as_in_picture, cut, resize, upright, visible


class Canvas:
    """Pictures [B,H,W,C] that are being refined; the source, including its alpha, stays unchanged.

    Crops are blended with the source by weight: where the windows of all crops sum to at most 1, the result does not
    depend on the order of pasting, and where they are 0 the result equals the source exactly.
    """

    def __init__(self, images: Tensor) -> None:
        self.source = images.float()
        self.result = self.source.clone()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.source.shape[2], self.source.shape[1]

    def cut(self, region: Region, size: tuple[int, int]) -> Tensor:
        """Cuts the current crop [height,width,3], upright and at this size (width, height)."""
        return resize(upright(cut(self.result, region)[..., :3], region), *size)

    def paste(self, region: Region, refined: Tensor, window: Tensor) -> None:
        """Pastes a refined crop of any size at the place where it was cut.

        `window` [region's height, width], in the orientation of the picture, is 1 where the crop replaces the picture.
        """
        where, shown = visible(region, *self.size)
        result, source = (images[region.picture][where][..., :3] for images in (self.result, self.source))
        weight = window[shown].unsqueeze(-1).to(result)
        new = as_in_picture(resize(refined.to(result), region.width, region.height), region)[shown]
        new = match(new, source, weight).clamp_(0, 1)
        result += new.sub_(source).mul_(weight)


def match(crop: Tensor, around: Tensor, weight: Tensor) -> Tensor:
    """Shifts the crop to the mean colour of the background [h,w,3], measured where its soft edge blends both.

    An autoencoder and a sampler shift colours a little; at the soft edge both pictures show the same content.
    """
    ring = weight * (1 - weight)
    total = ring.sum()
    if total == 0:  # no edge inside the picture
        return crop.clone()
    return crop + ((around - crop) * ring).sum(dim=(0, 1)) / total


def share(regions: Sequence[Region], windows: Sequence[Tensor], shape: Sequence[int]) -> list[Tensor]:
    """Scales the windows down where several overlap, so that their sum is 1 there; shape [B,H,W,...]."""
    sums = torch.zeros(shape[0], shape[1], shape[2], 1)
    for region, window in zip(regions, windows, strict=True):
        where, shown = visible(region, shape[2], shape[1])
        sums[region.picture][where] += window[shown].unsqueeze(-1)
    sums.clamp_(min=1)
    return [window / cut(sums, region)[..., 0] for region, window in zip(regions, windows, strict=True)]

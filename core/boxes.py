"""Cuts regions out of pictures, and cuts the matching parts out of maps of the whole picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from .errors import ConsistentFaceError

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels

MAX_PIXELS = 160_000_000  # of a whole batch: 1.9 GB per copy in float32, and refining holds two copies


@dataclass(frozen=True)
class Region:
    """A crop of one picture of a batch, in pixels. Outside the picture its border pixels are repeated.

    `quarters` is the clockwise rotation of the content in the picture, in steps of 90 degrees; it is 0 unless the
    region is square.
    """

    picture: int
    left: int
    top: int
    width: int
    height: int
    quarters: int = 0

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height


def upright(crop: Tensor, region: Region) -> Tensor:
    """Rotates a region's crop [h,w,...] so that its content is upright."""
    return torch.rot90(crop, region.quarters, (0, 1))


def as_in_picture(crop: Tensor, region: Region) -> Tensor:
    """Rotates an upright crop [h,w,...] back to its orientation in the picture."""
    return torch.rot90(crop, -region.quarters, (0, 1))


def check_size(pictures: int, width: int, height: int) -> None:
    """Raises an error for a size that would not fit into memory."""
    if pictures * width * height > MAX_PIXELS:
        raise ConsistentFaceError(
            f"{pictures} picture(s) of {width}x{height} pixels were asked for, and {MAX_PIXELS // 10**6} million "
            f"pixels at once are the most; enlarge less, or take fewer or smaller pictures."
        )


def cut(images: Tensor, region: Region) -> Tensor:
    """Cuts the crop [h,w,C] out of [B,H,W,C], in the orientation of the picture."""
    image = images[region.picture]
    height, width = image.shape[:2]
    if region.left >= 0 and region.top >= 0 and region.right <= width and region.bottom <= height:
        return image[region.top : region.bottom, region.left : region.right]
    rows = torch.arange(region.top, region.bottom, device=image.device).clamp(0, height - 1)
    columns = torch.arange(region.left, region.right, device=image.device).clamp(0, width - 1)
    return image[rows][:, columns]


Slices = tuple[slice, slice]  # rows, columns


def visible(region: Region, width: int, height: int) -> tuple[Slices, Slices]:
    """Returns the part of a region inside a picture of this size: its slices in the picture and in the crop."""
    rows = slice(max(region.top, 0), min(region.bottom, height))
    columns = slice(max(region.left, 0), min(region.right, width))
    in_crop = (
        slice(rows.start - region.top, rows.stop - region.top),
        slice(columns.start - region.left, columns.stop - region.left),
    )
    return (rows, columns), in_crop


def resize(crop: Tensor, width: int, height: int) -> Tensor:
    """[h,w,C] to [height,width,C] in float, antialiased."""
    if crop.shape[:2] == (height, width):
        return crop
    channels_first = crop.movedim(-1, 0).unsqueeze(0)
    resized = interpolate(channels_first, (height, width), mode="bicubic", antialias=True)
    return resized[0].movedim(0, -1).clamp(0, 1)


@dataclass(frozen=True)
class Crops:
    """Regions of pictures of one size (width, height), each upright and resized to the same size (width, height)."""

    regions: tuple[Region, ...]
    picture: tuple[int, int]
    size: tuple[int, int]

    def __getitem__(self, part: slice) -> "Crops":
        return Crops(self.regions[part], self.picture, self.size)

    def of_map(self, maps: Tensor) -> Tensor:
        """Cuts the crops [N,C,height,width] out of maps [M,C,h,w] of the whole pictures, at any resolution."""
        width, height = self.size
        crops = []
        for region in self.regions:
            grid = affine_grid(self._affine(region), [1, 1, height, width], align_corners=False)
            whole = maps[region.picture % len(maps)].unsqueeze(0)
            crop = grid_sample(whole, grid.to(maps), padding_mode="border", align_corners=False)
            crops.append(torch.rot90(crop, region.quarters, (-2, -1)))
        return torch.cat(crops)

    def of_box(self, box: Sequence[float]) -> Tensor:
        """Returns the masks [N,height,width], 0 or 1, of a box (left, top, right, bottom, as shares of the picture)."""
        left, top, right, bottom = box
        masks = []
        for region in self.regions:
            x = (region.left + (torch.arange(self.size[0]) + 0.5) * region.width / self.size[0]) / self.picture[0]
            y = (region.top + (torch.arange(self.size[1]) + 0.5) * region.height / self.size[1]) / self.picture[1]
            mask = torch.outer(((y >= top) & (y < bottom)).float(), ((x >= left) & (x < right)).float())
            masks.append(upright(mask, region))
        return torch.stack(masks)

    def _affine(self, region: Region) -> Tensor:
        width, height = self.picture
        x = (2 * region.left + region.width) / width - 1
        y = (2 * region.top + region.height) / height - 1
        return torch.tensor([[[region.width / width, 0, x], [0, region.height / height, y]]])

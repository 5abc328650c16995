"""Refines pictures by a plan of targets or by a grid of tiles: cuts, refines and pastes."""

import torch
from torch import Tensor

from ...core.boxes import Crops, Region, cut, resize, upright
from ...core.detail.noise import OwnNoise, SharedNoise
from ...core.detail.paste import Canvas
from ...core.detail.plan import Plan
from ...core.detail.tiles import Mode, is_flat, lay
from .sampling import Batch, Models, Refiner, Settings


def refine_targets(
    image: Tensor, plan: Plan, models: Models, settings: Settings, side: int, canvas_size: tuple[int, int]
) -> Tensor:
    """Refines all crops of the plan at side x side and pastes them into [B,H,W,C]."""
    if not plan.targets or settings.denoise == 0:
        return image
    canvas, size = Canvas(image), (side, side)
    refiner = Refiner(models, settings, len(plan.targets), canvas_size, "face")
    batch = Batch(
        Crops(plan.regions, canvas.size, size),
        OwnNoise(settings.seed),
        range(len(plan.regions)),
        torch.stack([_mask(window, region, size) for region, window in zip(plan.regions, plan.windows, strict=True)]),
        torch.tensor([target.frontal for target in plan.targets]),
    )
    refined = refiner.refine(batch, lambda place: canvas.cut(plan.regions[place], size))
    for region, crop, window in zip(plan.regions, refined, plan.windows, strict=True):
        canvas.paste(region, crop, window)
    return canvas.result


def _mask(window: Tensor, region: Region, size: tuple[int, int]) -> Tensor:
    """Returns the refinement mask of a crop, [height,width]: full strength where the window is at least a half."""
    return resize(upright(window, region).unsqueeze(-1), *size)[..., 0].mul(2).clamp(0, 1)


def refine_tiles(
    image: Tensor,
    models: Models,
    settings: Settings,
    mode: Mode,
    tiling: tuple[int, int],
    skip_flat: bool,
    canvas_size: tuple[int, int],
) -> tuple[Tensor, str]:
    """Redraws [B,H,W,C] in tiles; `tiling` is their largest side and overlap. Returns the picture and a report."""
    if mode is Mode.none or settings.denoise == 0:
        return image, "Nothing was redrawn."
    canvas, unit = Canvas(image), models.vae.spacial_compression_encode()
    grid = lay(*canvas.size, *tiling, unit)
    regions = [region for picture in range(len(image)) for region in grid.regions(picture)]
    refiner = Refiner(models, settings, len(regions), canvas_size, "tile")
    noise, skipped = SharedNoise(settings.seed, regions, unit), 0
    for turn in grid.turns(mode):
        numbers = [picture * len(grid) + position for picture in range(len(image)) for position in turn]
        drawn = [n for n in numbers if not (skip_flat and is_flat(cut(canvas.source, regions[n])[..., :3]))]
        refiner.skip(len(numbers) - len(drawn))
        skipped += len(numbers) - len(drawn)
        if drawn:
            batch = Batch(Crops(tuple(regions[n] for n in drawn), canvas.size, grid.size), noise, drawn)
            crops = refiner.refine(batch, lambda place, drawn=drawn: canvas.cut(regions[drawn[place]], grid.size))
            for number, crop in zip(drawn, crops, strict=True):
                canvas.paste(regions[number], crop, grid.window(number % len(grid)))
    told = f"{len(regions)} tiles of {grid.size[0]}x{grid.size[1]} pixels, {mode.value}"
    return canvas.result, told + (f"; {skipped} of them flat, left as they were." if skip_flat else ".")

"""Measures a tiled upscale: its overhead over sampling, VAE and upscale model, its seams, and its memory.

Upscale in Tiles as ComfyUI calls it, with the small offline models, from 1024x1024 to 2048x2048 (`--quick`: half).
Sampling, VAE and enlarging are timed where they are called; the rest is overhead, and does not depend on the models.

Figures: `seconds_per_tile` (all), `tile_overhead` (the rest, over sampling), `overhead_ms_per_tile`, `seam_ratio`
(gradient across tiles' edges over that inside tiles, over the same in the enlarged picture; of Linear and Chess, the
stronger), `peak_mb_4x_1536` (memory above what the process had, 1536x1536 enlarged to 6144x6144 and redrawn, with
stand-ins for VAE and sampler).

CONSISTENT_FACE_PEER names a folder with ComfyUI_UltimateSDUpscale: then `peer_seconds_per_tile` and `peer_ratio` (ours
to theirs) are measured too, on the same enlarged picture, with the same models and about the same tiles.
"""

import os
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ..core.detail.tiles import Grid, lay
from ..core.detail.upscale import lanczos
from ..core.image import load_photo
from ..tools import inprocess
from ..tools.paths import ROOT

BLOCK = 8  # pixels of a latent
PEER = os.environ.get("CONSISTENT_FACE_PEER")
STAGE = {
    "seed": 1,
    "steps": 4,
    "cfg": 7.0,
    "sampler_name": "dpmpp_2m",
    "scheduler": "karras",
    "denoise": 0.25,
    "upscale_by": 2.0,
    "tile_size": 512,
    "overlap": 64,
    "skip_flat": False,
    "controlnet": "drop",
    "regions_per_call": 0,
}


class PooledVAE:
    """Replaces a VAE: averages 8x8 pixels, and takes almost no memory."""

    def encode(self, pixels: Tensor) -> Tensor:
        return torch.cat(
            [avg_pool2d(pixels.movedim(-1, 1), BLOCK), torch.zeros(len(pixels), 1, *self._size(pixels))], 1
        )

    def decode(self, latents: Tensor) -> Tensor:
        return interpolate(latents[:, :3], scale_factor=BLOCK).movedim(1, -1)

    def spacial_compression_encode(self) -> int:
        return BLOCK

    def _size(self, pixels: Tensor) -> tuple[int, int]:
        return pixels.shape[1] // BLOCK, pixels.shape[2] // BLOCK


def run(quick: bool) -> dict[str, float]:
    inprocess.prepare()
    models = inprocess.load_small()
    models.pop("clip")
    side = 512 if quick else 1024
    photo = load_photo(str(ROOT / "tests/photos/astronaut.jpg"), "astronaut.jpg")[0]
    image = lanczos(photo[0], side, side).unsqueeze(0)
    stage = STAGE | {"steps": 2} if quick else STAGE
    with torch.inference_mode():
        large = lanczos(image[0], 2 * side, 2 * side).unsqueeze(0)
        grid = lay(2 * side, 2 * side, stage["tile_size"], stage["overlap"])
        figures, linear = timed(image, models, stage, len(grid))
        chess = upscaled(image, models, stage, "Chess")
        figures["seam_ratio"] = max(seam_ratio(each, large, grid) for each in (linear, chess))
        figures["peak_mb_4x_1536"] = peak(models)
        if PEER:
            figures |= peer(Path(PEER), large, models, stage, len(grid), figures["seconds_per_tile"])
    return figures


def upscaled(image: Tensor, models: dict[str, Any], stage: dict[str, Any], mode: str) -> Tensor:
    from ..nodes.upscale import UpscaleInTiles

    return UpscaleInTiles.execute(image, mode=mode, **stage, **models)[0]


def timed(image: Tensor, models: dict[str, Any], stage: dict[str, Any], tiles: int) -> tuple[dict[str, float], Tensor]:
    import comfy.sample

    from ..nodes import upscale

    upscaled(image, models, stage | {"steps": 1}, "Chess")  # loads, and warms up
    clock, vae = inprocess.Clock(), models["vae"]
    with (
        patch.object(comfy.sample, "sample_custom", clock.timed("sampling", comfy.sample.sample_custom)),
        patch.object(vae, "encode", clock.timed("vae", vae.encode)),
        patch.object(vae, "decode", clock.timed("vae", vae.decode)),
        patch.object(upscale, "_enlarge", clock.timed("enlarging", upscale._enlarge)),
    ):
        started = time.perf_counter()
        result = upscaled(image, models, stage, "Linear")
        total = time.perf_counter() - started
    rest = total - sum(clock.seconds.values())
    return {
        "seconds_per_tile": total / tiles,
        "tile_overhead": rest / clock.seconds["sampling"],
        "overhead_ms_per_tile": 1000 * rest / tiles,
    }, result


def peak(models: dict[str, Any]) -> float:
    import comfy.sample

    image = torch.rand(1, 1536, 1536, 3)
    stage = STAGE | {"upscale_by": 4.0, "tile_size": 1024}
    with (
        patch.object(comfy.sample, "sample_custom", lambda *args, **_: args[7]),
        inprocess.peak_memory() as memory,
    ):
        upscaled(image, models | {"vae": PooledVAE()}, stage, "Chess")
    return memory["mb"]


def peer(
    folder: Path, large: Tensor, models: dict[str, Any], stage: dict[str, Any], tiles: int, ours: float
) -> dict[str, float]:
    node = inprocess.load_pack(folder)["UltimateSDUpscaleNoUpscale"]
    names = ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    inner = stage["tile_size"] - stage["overlap"]
    same = {name: stage[name] for name in names} | {"tile_width": inner, "tile_height": inner}
    inputs = {**models, **same, "upscaled_image": large, "tile_padding": stage["overlap"] // 2, "seam_fix_mode": "None"}
    started = time.perf_counter()
    inprocess.call(node, **inputs)
    seconds = (time.perf_counter() - started) / (-(-large.shape[2] // inner) * -(-large.shape[1] // inner))
    return {"peer_seconds_per_tile": seconds, "peer_ratio": ours / seconds}


def plot(figures: dict[str, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, (cost, seams) = plt.subplots(1, 2, figsize=(8, 2.4))
    names = {"peer": "peer_seconds_per_tile", "Consistent Face": "seconds_per_tile"}
    names = {name: key for name, key in names.items() if key in figures}
    cost.barh(list(names), [figures[key] for key in names.values()])
    cost.set_xlabel("seconds a tile, sampling included")
    seams.barh(
        ["overhead, % of sampling", "seams, % above inside"],
        [
            100 * figures["tile_overhead"],
            100 * (figures["seam_ratio"] - 1),
        ],
    )
    seams.scatter([3, 10], [0, 1], marker="|", s=400, color="grey")
    seams.set_xlabel("the marks are the limits")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def seam_ratio(images: Tensor, reference: Tensor, grid: Grid) -> float:
    """For [B,H,W,C], the mean gradient across tiles' edges over that inside tiles, over the same in the reference.

    The reference is the picture before, or redrawn in one piece: so what the picture shows there does not count.
    """
    return max(ratio / own for ratio, own in zip(_at_edges(images, grid), _at_edges(reference, grid), strict=True))


def _at_edges(images: Tensor, grid: Grid) -> list[float]:
    """Across columns and rows; inside is where the autoencoder's blocks begin too, which show more than seams."""
    ratios = []
    for axis, picture in ((grid.columns, images), (grid.rows, images.transpose(1, 2))):
        steps = picture.diff(dim=2).abs().mean(dim=(0, 1, 3))
        end = len(steps) + 1
        edges = {edge for start in axis.starts for edge in (start, start + axis.side) if 0 < edge < end}
        inside = set(range(3 * BLOCK, end - 2 * BLOCK, BLOCK)) - edges
        across, within = (steps[[line - 1 for line in sorted(lines)]].mean() for lines in (edges, inside))
        ratios.append(float(across / within) if edges else 1.0)
    return ratios

"""Defines Upscale in Tiles."""

from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io
from torch import Tensor

from ..core.boxes import check_size
from ..core.detail.tiles import Mode
from ..core.detail.upscale import by_network, lanczos, reduce_for, tiles
from .comfy import stage
from .comfy.progress import say
from .comfy.refining import refine_tiles
from .comfy.sampling import Models

CATEGORY = "consistent face/refine"
TILE, SMALLEST_TILE = 512, 128  # of the upscale model, halved where memory is short
MEMORY = 384.0  # bytes that an upscale model takes for one of its own output pixels' channels, as ComfyUI estimates


class UpscaleInTiles(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_UpscaleInTiles",
            display_name="Upscale in Tiles",
            category=CATEGORY,
            description="Enlarges a picture and redraws it in equal, overlapping tiles with its own sampler.",
            search_aliases=["ultimate sd upscale", "tiled upscale", "hires fix", "tile refine", "highres", "enlarge"],
            inputs=[
                io.Image.Input("image"),
                *stage.model_inputs(),
                io.Float.Input("upscale_by", default=2.0, min=1.0, max=4.0, step=0.05),
                io.Combo.Input(
                    "mode",
                    options=Mode,
                    default=Mode.linear,
                    tooltip="Linear: tile by tile; each tile sees the tiles before it. Chess: in two turns, like the "
                    "two colours of a chess board, with many tiles per call, which is faster. None: enlarges only.",
                ),
                *stage.sampler_inputs(denoise=0.25),
                io.Int.Input(
                    "tile_size",
                    default=1024,
                    min=128,
                    max=4096,
                    step=64,
                    tooltip="The largest side of a tile; all tiles have the same size, and are no larger than needed. "
                    "512 to 768 suits SD1.5, 1024 suits SDXL.",
                ),
                io.Int.Input(
                    "overlap",
                    default=96,
                    min=16,
                    max=1024,
                    step=8,
                    tooltip="The least number of pixels by which neighbouring tiles overlap and blend; at most half a "
                    "tile.",
                ),
                io.Boolean.Input(
                    "skip_flat",
                    default=False,
                    tooltip="Skips tiles that show only plain background, which saves time.",
                ),
                *stage.call_inputs(),
                io.UpscaleModel.Input(
                    "upscale_model", optional=True, tooltip="Without one, the picture is enlarged by Lanczos."
                ),
            ],
            outputs=[io.Image.Output(display_name="image"), io.String.Output(display_name="report")],
        )

    @classmethod
    def execute(
        cls, image: Tensor, upscale_by: float, mode: str, upscale_model: Any = None, **inputs: Any
    ) -> io.NodeOutput:
        if not len(image):
            return io.NodeOutput(image, "No picture.")
        models = Models(*(inputs[name] for name in ("model", "vae", "positive", "negative")))
        size = image.shape[2], image.shape[1]
        large = _enlarge(image, upscale_by, upscale_model)
        tiling, skip_flat = (inputs["tile_size"], inputs["overlap"]), inputs["skip_flat"]
        done, told = refine_tiles(large, models, stage.settings(inputs), Mode(mode), tiling, skip_flat, size)
        return io.NodeOutput(done, f"{large.shape[2]}x{large.shape[1]} pixels from {size[0]}x{size[1]}. {told}")


def _enlarge(image: Tensor, by: float, upscale_model: Any) -> Tensor:
    """Enlarges [B,H,W,C] in float by the factor `by`."""
    width, height = round(image.shape[2] * by), round(image.shape[1] * by)
    check_size(len(image), width, height)
    if upscale_model is None or by == 1:
        pictures = [lanczos(picture, width, height) for picture in image]
    else:
        fitting = (reduce_for(picture, upscale_model.scale) for picture in image)
        pictures = [lanczos(_by_model(picture, upscale_model), width, height) for picture in fitting]
    return torch.stack(pictures) if len(pictures) > 1 else pictures[0].unsqueeze(0)


def _by_model(picture: Tensor, upscale_model: Any, tile: int = TILE) -> Tensor:
    """Enlarges [H,W,C] by the upscale model's own scale; drops any alpha."""
    say("Enlarging")
    device, scale = upscale_model.patcher.load_device, upscale_model.scale
    bar = comfy.utils.ProgressBar(len(tiles(picture, tile)))
    memory = tile * tile * 3 * 4 * max(scale, 1) * MEMORY
    comfy.model_management.load_models_gpu([upscale_model.patcher], memory_required=memory)

    def step() -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update(1)

    try:
        return by_network(picture, lambda pixels: upscale_model(pixels.to(device)), scale, tile, step)
    except comfy.model_management.OOM_EXCEPTION:
        if tile <= SMALLEST_TILE:
            raise
    comfy.model_management.soft_empty_cache()
    return _by_model(picture, upscale_model, tile // 2)


NODES = [UpscaleInTiles]

"""UNets of SD1.5's and SDXL's whole topology, a tenth as wide, as ComfyUI's own models."""

from typing import Any

import comfy.model_base
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

COMMON = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "use_spatial_transformer": True,
    "legacy": False,
    "dtype": torch.float32,
}
SD15 = {
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": (1, 2, 4, 4),
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "context_dim": 768,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
}
SDXL = {
    "num_res_blocks": [2, 2, 2],
    "channel_mult": (1, 2, 4),
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "context_dim": 2048,
    "use_linear_in_transformer": True,
    "num_classes": "sequential",
    "adm_in_channels": 16,
}
# Widths of the cross-attention layers, in the order of IP-Adapter files.
SD15_LAYERS = (32, 32, 64, 64, 128, 128, 128, 128, 128, 64, 64, 64, 32, 32, 32, 128)
SDXL_LAYERS = (64,) * 4 + (128,) * 50 + (64,) * 6 + (128,) * 10


def sd15() -> ModelPatcher:
    return _model(comfy.supported_models.SD15(COMMON | SD15), {"num_heads": 8})


def sdxl() -> ModelPatcher:
    return _model(comfy.supported_models.SDXL(COMMON | SDXL), {"num_heads": -1, "num_head_channels": 32})


def _model(config: Any, heads: dict[str, int]) -> ModelPatcher:
    config.unet_config |= heads
    model = comfy.model_base.BaseModel(config, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():  # ComfyUI leaves them as the memory was
        wide = parameter.ndim > 1
        values = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(values / parameter[0].numel() ** 0.5 if wide else 1 + 0.1 * values)
    return ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def predict(model: ModelPatcher, cond_or_uncond: tuple[int, ...] = (0, 1), pictures: int = 1) -> Tensor:
    """The noise that a model finds for each cond's pictures, all its patches in place, weights too."""
    rows, unet = pictures * len(cond_or_uncond), model.model.diffusion_model
    x, times, text = inputs(model, rows)
    y = torch.randn(rows, 16, generator=torch.Generator().manual_seed(2)) if unet.num_classes else None
    more = {"cond_or_uncond": list(cond_or_uncond), "sigmas": torch.tensor([5.0])}
    options = model.model_options["transformer_options"] | more
    model.patch_model(torch.device("cpu"))
    try:
        return unet(x, times, text, y, transformer_options=options)
    finally:
        model.unpatch_model()


def inputs(model: ModelPatcher, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, time steps and text for a number of rows."""
    generator = torch.Generator().manual_seed(1)
    x, text = (torch.randn(rows, *shape, generator=generator) for shape in ((4, 8, 8), (7, unet_context(model))))
    return x, torch.full((rows,), 500.0), text


def unet_context(model: ModelPatcher) -> int:
    return model.model.model_config.unet_config["context_dim"]

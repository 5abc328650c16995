"""Builds full-size UNets of SD1.5 and SDXL with random weights in ComfyUI, and identities of the published size."""

import sys
from typing import Any

import torch
from torch import Tensor

from ..tools.launcher import declare_missing_operators
from ..tools.paths import COMFYUI

COMMON = {"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "use_spatial_transformer": True}
COMMON |= {"legacy": False, "dtype": torch.float32}
SD15 = COMMON | {
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": (1, 2, 4, 4),
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "context_dim": 768,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "num_heads": 8,
}
SDXL = COMMON | {
    "num_res_blocks": [2, 2, 2],
    "channel_mult": (1, 2, 4),
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "context_dim": 2048,
    "use_linear_in_transformer": True,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
    "num_heads": -1,
    "num_head_channels": 64,
}


def import_comfyui() -> None:
    """ComfyUI's modules in this process, on the GPU where there is one."""
    if str(COMFYUI) not in sys.path:
        sys.path.insert(0, str(COMFYUI))
    declare_missing_operators()
    import comfy.cli_args

    comfy.cli_args.args.cpu = not torch.cuda.is_available()


def random_model(family: str, narrow: bool = False) -> Any:
    """A ModelPatcher of "sd15" or "sdxl" with random weights; `narrow` is a tenth as wide."""
    import comfy.model_base
    import comfy.model_management
    import comfy.supported_models
    from comfy.model_patcher import ModelPatcher

    config = dict(SD15 if family == "sd15" else SDXL)
    if narrow:
        config |= {"model_channels": 32, **({"num_head_channels": 32} if family == "sdxl" else {})}
    made = comfy.supported_models.SD15(config) if family == "sd15" else comfy.supported_models.SDXL(config)
    made.unet_config |= {name: config[name] for name in ("num_heads", "num_head_channels") if name in config}
    device = comfy.model_management.get_torch_device()
    model = comfy.model_base.BaseModel(made, device=device)
    torch.manual_seed(0)
    for parameter in model.parameters():  # ComfyUI leaves them as the memory was
        bound = (3 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 1
        parameter.data.uniform_(-bound, bound)
    return ModelPatcher(model, device, device)


def arguments(model: Any, side: int, rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Latents of a side, time steps, text, and SDXL's further conditions."""
    config, device = model.model.model_config.unet_config, model.load_device
    x, text = torch.randn(rows, 4, side, side), torch.randn(rows, 77, config["context_dim"])
    y = torch.randn(rows, config["adm_in_channels"]).to(device) if config.get("adm_in_channels") else None
    return x.to(device), torch.full((rows,), 500.0, device=device), text.to(device), y

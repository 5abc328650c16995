"""diffusers' own UNet and IP-Adapter, with the weights of ComfyUI's model and of an adapter's file."""

from typing import Any

import comfy.utils
from comfy.model_patcher import ModelPatcher
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

Parts = dict[str, dict[str, Tensor]]


def diffusers_unet(model: ModelPatcher, file: Parts, lora: float) -> UNet2DConditionModel:
    """SD1.5's UNet as diffusers builds it, as narrow as the model; the LoRA is added to its weights, separately."""
    config = model.model.model_config.unet_config
    widths = tuple(config["model_channels"] * each for each in config["channel_mult"])
    unet: Any = UNet2DConditionModel(
        block_out_channels=widths, cross_attention_dim=config["context_dim"], attention_head_dim=config["num_heads"]
    )
    ours = model.model.diffusion_model.state_dict()
    renamed = comfy.utils.unet_to_diffusers(config)
    weights = {theirs: ours[name].clone() for theirs, name in renamed.items() if name in ours}
    names = list(unet.attn_processors)  # in the order of the adapter's file
    for key, down in file["ip_adapter"].items():
        if key.endswith("_lora.down.weight"):
            number, place = key.removesuffix("_lora.down.weight").split(".")
            up = file["ip_adapter"][key.replace("down", "up")]
            place = place.replace("to_out", "to_out.0")
            weights[f"{names[int(number)].removesuffix('processor')}{place}.weight"] += lora * up @ down
    unet.load_state_dict(weights)
    layers = {key: x for key, x in file["ip_adapter"].items() if "_ip." in key}
    unet._load_ip_adapter_weights([{"image_proj": file["image_proj"], "ip_adapter": layers}], low_cpu_mem_usage=False)
    return unet.eval()


def predict(
    unet: Any, read: Tensor, scale: float, sight: Tensor | None, structure: float, inputs: tuple[Tensor, ...]
) -> Tensor:
    """The noise that diffusers finds; `read` is what its image projection reads, a row for each of the inputs."""
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    if sight is not None:
        projection.clip_embeds, projection.shortcut, projection.shortcut_scale = sight, True, structure
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [scale]
    x, times, text = inputs
    return unet(x, times, text, added_cond_kwargs={"image_embeds": [read]}).sample

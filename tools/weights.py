"""Generates values for the small models: random ones that keep signals finite, and some set by hand."""

import json
import math
from pathlib import Path

import torch

from .shapes import WIDTH, Shapes

State = dict[str, torch.Tensor]

HALVING = (4, 8, 12)  # layers of a ControlNet's hint block that halve the picture
PULL = 6.0  # of a hint's colours, where the latent's have a standard deviation near 1


def fill(layout: Shapes, seed: int) -> State:
    """Random values that keep a signal's size from layer to layer: norms are 1, biases 0."""
    generator = torch.Generator().manual_seed(seed)

    def value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if len(shape) == 1:
            return torch.full(shape, float(name.endswith("weight")))
        fan_in = 1 if "embedding.weight" in name else math.prod(shape[1:])
        return torch.randn(shape, generator=generator).div_(math.sqrt(fan_in))

    return {name: value(name, shape) for name, shape in layout.items()}


def denoise(unet: State) -> None:
    """Makes a random UNet answer with its own input plus some: sampling then ends near the data's size, not at noise's.

    The input runs along the last skip connection in pairs of channels of opposite sign, for SiLU(x) - SiLU(-x) = x.
    """
    channels = torch.arange(WIDTH)
    latent, sign = channels // 2 % 4, 1.0 - 2 * (channels % 2)
    unet["input_blocks.0.0.weight"].zero_()[channels, latent, 1, 1] = sign
    unet["output_blocks.1.0.skip_connection.weight"][:, WIDTH:, 0, 0] = 4 * torch.eye(WIDTH)
    unet["out.2.weight"] *= 0.2  # how much is up to the words and the identity
    unet["out.2.weight"][latent, channels, 1, 1] += sign / (WIDTH / 8)


def autoencode(vae: State) -> None:
    """Makes TAESD average 8x8 pixels into a latent's first three channels, and a smooth picture of them again."""
    colour = torch.arange(3)
    contrast = 4.0  # latents of photos have a standard deviation near 1
    for name, value in vae.items():
        value.zero_()
        if value.shape == (64, 64, 3, 3) and ".conv." not in name:  # a change of size; blocks pass their input on
            taps = torch.tensor([0.0, 0.5, 0.5] if "encoder" in name else [0.25, 0.5, 0.25])
            value[colour, colour] = torch.outer(taps, taps)
    vae["taesd_encoder.0.weight"][colour, colour, 1, 1] = 1
    vae["taesd_encoder.14.weight"][colour, colour, 1, 1] = contrast
    vae["taesd_encoder.14.bias"][colour] = -contrast / 2
    vae["taesd_decoder.1.weight"][colour, colour, 1, 1] = 1 / contrast
    vae["taesd_decoder.1.weight"][colour, 3, 1, 1] = 1 / (2 * contrast)
    vae["taesd_decoder.1.bias"][colour] = 0.5
    vae["taesd_decoder.19.weight"][colour, colour, 1, 1] = 1
    vae["vae_scale"] = torch.tensor(0.18215)
    vae["vae_shift"] = torch.tensor(0.0)


def trace(control: State) -> None:
    """Makes a random ControlNet draw its hint into the picture: the colours, averaged over 8x8 pixels, pull the latent.

    They reach it by the last skip connection, as `denoise` has it, in pairs of channels of opposite sign.
    """
    colour, channels = torch.arange(3), torch.arange(WIDTH)
    large = 10.0  # where SiLU(x) is x
    for index in range(0, 16, 2):
        taps = torch.tensor([0.25, 0.5, 0.25] if index in HALVING else [0.0, 1.0, 0.0])
        weight = control[f"control_model.input_hint_block.{index}.weight"].zero_()
        weight[colour, colour] = torch.outer(taps, taps) * (1.0 if index else large)
    control["control_model.input_blocks.0.0.weight"][colour] = 0  # what these three channels hold is the hint alone
    latent, sign = channels // 2 % 4, 1.0 - 2 * (channels % 2)
    drawn = channels[latent < 3]
    control["control_model.zero_convs.0.0.weight"].zero_()[drawn, latent[drawn], 0, 0] = -PULL / large * sign[drawn]
    for name in ("zero_convs.1.0", "middle_block_out.0"):
        control[f"control_model.{name}.weight"] *= 0.1


def save(state: State, path: Path, zeros: Shapes | None = None) -> None:
    """Writes safetensors in fp16; those of `zeros` come last, as a hole where files may have one."""
    header: dict[str, dict[str, object]] = {}
    end = 0
    for name, shape in {**{name: tuple(value.shape) for name, value in state.items()}, **(zeros or {})}.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in state.values():
            file.write(value.half().numpy().tobytes())
        file.truncate(8 + len(text) + end)

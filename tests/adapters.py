"""Adapter files with the published layouts and random values, of any family and size."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
SD15, SDXL = 768, 2048
RANK = 128
# Widths of the cross-attention layers, in the files' order.
SD15_LAYERS = (320, 320, 640, 640, 1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320, 1280)
SDXL_LAYERS = (640,) * 4 + (1280,) * 50 + (640,) * 6 + (1280,) * 10


def affine(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def face_shapes(context: int, tokens: int = 4, embedding: int = 512) -> Shapes:
    """`image_proj` of FaceID, and of Portrait with 16 tokens."""
    shapes = affine("proj.0", 1024, embedding) | affine("proj.2", tokens * context, 1024)
    return shapes | affine("norm", context)


def resampler_shapes(prefix: str, width: int, seen: int, context: int) -> Shapes:
    """Four rounds of attention and feed-forward."""
    shapes = affine(f"{prefix}proj_in", width, seen) | affine(f"{prefix}proj_out", context, width)
    shapes |= affine(f"{prefix}norm_out", context)
    for index in range(4):
        look, forward = f"{prefix}layers.{index}.0", f"{prefix}layers.{index}.1"
        shapes |= affine(f"{look}.norm1", width) | affine(f"{look}.norm2", width) | affine(f"{forward}.0", width)
        shapes |= {f"{look}.to_q.weight": (width, width), f"{look}.to_kv.weight": (2 * width, width)}
        shapes |= {f"{look}.to_out.weight": (width, width)}
        shapes |= {f"{forward}.1.weight": (4 * width, width), f"{forward}.3.weight": (width, 4 * width)}
    return shapes


def plus_shapes(context: int, width: int = 1280) -> Shapes:
    """`image_proj` of FaceID Plus and Plus v2."""
    return face_shapes(context) | resampler_shapes("perceiver_resampler.", context, width, context)


def latent_shapes(context: int, seen: int = 1280) -> Shapes:
    """`image_proj` of Plus Face, and of Portrait unnorm, which sees 512 numbers."""
    width = 768 if context == SD15 else 1280
    return {"latents": (1, 16, width)} | resampler_shapes("", width, seen, context)


def full_shapes(context: int, seen: int = 1280) -> Shapes:
    """`image_proj` of Full Face."""
    return affine("proj.0", seen, seen) | affine("proj.2", context, seen) | affine("proj.3", context)


def layer_shapes(layers: Sequence[int], context: int, lora: bool = True) -> Shapes:
    """`ip_adapter`: keys and values of every cross-attention, and the LoRA of every attention."""
    shapes: Shapes = {}
    for number in range(2 * len(layers)):
        hidden = layers[number // 2]
        text = context if number % 2 else hidden
        if number % 2:
            shapes |= {f"{number}.to_{part}_ip.weight": (hidden, context) for part in "kv"}
        for part, width in {"q": hidden, "k": text, "v": text, "out": hidden}.items() if lora else ():
            shapes[f"{number}.to_{part}_lora.down.weight"] = (RANK, width)
            shapes[f"{number}.to_{part}_lora.up.weight"] = (hidden, RANK)
    return shapes


def meta(shapes: Shapes) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def random(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Matrices that keep their input's size, and norms near one: a network that does not fade or grow."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        flat = len(shape) == 1
        tensors[name] = 0.1 * value + name.endswith("weight") if flat else value / shape[-1] ** 0.5
    return tensors


def flat(file: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The names of a .safetensors file."""
    return {f"{part}.{name}": tensor for part, tensors in file.items() for name, tensor in tensors.items()}

"""Finds the cross-attention layers of a UNet, in the order in which IP-Adapter files count them."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ..errors import WrongModelError
from .encoding import EncodedIdentity

FAMILIES = {768: "SD1.5", 2048: "SDXL"}  # by the width of the text that the layers attend to
PROJECTIONS = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"}


ORDER = ("input", "middle", "output")  # in which a picture passes through the UNet


@dataclass(frozen=True)
class CrossAttention:
    """One layer: its place as ComfyUI's attention patches name it, the path of its block, and its widths."""

    block: str
    number: int
    index: int
    path: str
    hidden: int
    context: int


def cross_attentions(unet: nn.Module) -> tuple[CrossAttention, ...]:
    """Returns all layers: input blocks, output blocks, and the middle block last, as diffusers counts them."""
    blocks = [("input", i, f"input_blocks.{i}", x) for i, x in enumerate(getattr(unet, "input_blocks", ()))]
    blocks += [("output", i, f"output_blocks.{i}", x) for i, x in enumerate(getattr(unet, "output_blocks", ()))]
    middle = getattr(unet, "middle_block", None)
    # The middle block is ("middle", 0) to the patches, whatever its transformer's place among its layers.
    blocks += [("middle", 0, "middle_block", middle)] if middle is not None else []
    return tuple(layer for block in blocks for layer in _layers(*block))


def _layers(block: str, number: int, path: str, modules: nn.Module) -> Iterator[CrossAttention]:
    for name, module in modules.named_children():
        for index, transformer in enumerate(getattr(module, "transformer_blocks", ())):
            if transformer.attn2 is not None:
                place = f"{path}.{name}.transformer_blocks.{index}"
                keys = transformer.attn2.to_k
                yield CrossAttention(block, number, index, place, keys.out_features, keys.in_features)


def lora_targets(layers: tuple[CrossAttention, ...]) -> dict[str, str]:
    """Maps the LoRA names of an adapter's file, `{n}.to_q`, to the weights of ComfyUI's model."""
    return {
        f"{2 * i + n}.{name}": f"diffusion_model.{layer.path}.attn{n + 1}.{place}.weight"
        for i, layer in enumerate(layers)
        for n in (0, 1)
        for name, place in PROJECTIONS.items()
    }


def check_fit(encoded: EncodedIdentity, layers: tuple[CrossAttention, ...], model: str) -> None:
    """Raises WrongModelError if the identity was encoded by an adapter for another UNet; `model` names the model."""
    if not layers:
        raise WrongModelError(
            f"The model ({model}) has no UNet with cross-attention, where an identity could act: "
            "use an SD1.5 or SDXL checkpoint."
        )
    wanted, found = encoded.context, layers[0].context
    if wanted != found:
        raise WrongModelError(
            f'"{encoded.source}" is an adapter for {_family(wanted)}, but the model is {_family(found)}: '
            f"choose an adapter for {_family(found)}, or a checkpoint of {_family(wanted)}."
        )
    if len(encoded.base) != len(layers):
        raise WrongModelError(
            f'"{encoded.source}" has {len(encoded.base)} cross-attention layers, but the model has {len(layers)}: '
            "choose an adapter made for this model."
        )
    for number, (tokens, layer) in enumerate(zip(encoded.base, layers, strict=True), 1):
        if tokens.keys.shape[-1] != layer.hidden:
            raise WrongModelError(
                f'Layer {number} of "{encoded.source}" is {tokens.keys.shape[-1]} wide, but the model\'s is '
                f"{layer.hidden}: choose an adapter made for this model."
            )


def _family(context: int) -> str:
    return FAMILIES.get(context, f"a model with text of width {context}")

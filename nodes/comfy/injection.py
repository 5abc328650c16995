"""Adds an encoded identity to a model: attention in every layer, and the adapter's LoRA in its weights."""

import uuid
from collections.abc import Sequence
from typing import Any

import comfy.lora
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from ...core.errors import IdentityError
from ...core.ip_adapter.attention import IdentityAttention
from ...core.ip_adapter.block_weights import Scaling, Strength
from ...core.ip_adapter.encoding import EncodedIdentity, Layers
from ...core.ip_adapter.schedule import AREAS, POSITIVE, SCHEDULE, Area, Scope
from ...core.ip_adapter.unet_layers import CrossAttention, check_fit, cross_attentions, lora_targets

KEY = "consistent_face"
LORAS = "consistent_face_loras"  # the adapters whose LoRA is in the model's weights already


def inject(model: ModelPatcher, encoded: EncodedIdentity, strength: Strength, scope: Scope) -> ModelPatcher:
    """Returns a clone of the model with the identity; the model itself stays unchanged."""
    layers = cross_attentions(model.model.diffusion_model)
    check_fit(encoded, layers, type(model.model).__name__)
    tokens = encoded.weighted(strength.of(layers), strength.structure, strength.scaling is Scaling.keys_and_values)
    patched = model.clone()
    _add_lora(patched, encoded, layers, strength.lora)
    scopes = scope.each(encoded.people) if encoded.together else [scope]
    schedule: Any = model.get_model_object("model_sampling")  # most often the one that will be in force
    for number, each in enumerate(scopes):
        each.sigmas(schedule)
        own = tuple(layer.person(number) for layer in tokens) if encoded.together else tokens
        _replace_attention(patched, layers, own, each)
    if not patched.get_wrappers(WrappersMP.SAMPLER_SAMPLE, KEY):
        patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, tell_patches)
    return patched


def scope(start_percent: float, end_percent: float, mask: Tensor | None) -> Scope:
    """Builds the scope; the whole of sampling needs no range, which saves its cost."""
    if not 0 <= start_percent <= end_percent <= 1:
        raise IdentityError(
            f"The face would act from {start_percent} to {end_percent} of sampling: set start_percent and end_percent "
            "between 0 and 1, the start not after the end."
        )
    return Scope(mask, None if (start_percent, end_percent) == (0, 1) else (start_percent, end_percent))


def _add_lora(
    model: ModelPatcher, encoded: EncodedIdentity, layers: tuple[CrossAttention, ...], strength: float
) -> None:
    """Adds the LoRA once per adapter, also with several people: the first strength above 0 is used."""
    present = model.get_attachment(LORAS) or frozenset()
    if not encoded.lora or strength == 0 or encoded.source in present:
        return
    model.add_patches(comfy.lora.load_lora(dict(encoded.lora), lora_targets(layers)), strength)
    model.set_attachments(LORAS, present | {encoded.source})


def _replace_attention(model: ModelPatcher, layers: tuple[CrossAttention, ...], tokens: Layers, scope: Scope) -> None:
    standing = dict(model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {}))
    for layer, own in zip(layers, tokens, strict=True):
        block = (layer.block, layer.number)
        # ComfyUI looks for a layer's replacement first, then for its block's; ours would hide the latter.
        previous = standing.get((*block, layer.index), standing.get(block))
        patch = IdentityAttention(own, scope, optimized_attention, previous)
        model.set_model_attn2_replace(patch, *block, layer.index)


def tell_patches(
    executor: WrapperExecutor, guider: Any, sigmas: Tensor, extra_args: dict, callback: Any, noise: Tensor, *rest: Any
) -> Any:
    """Passes sampling data to the patches once per sampling, with every guider.

    The data are the current schedule, the conds of the positive prompt, and the part of the picture of each cond. When
    ComfyUI copies a cond to another prompt for its area, both have the same id; so all others get new ids.
    """
    conds = guider.conds
    options = extra_args["model_options"].setdefault("transformer_options", {})
    options[SCHEDULE] = guider.model_patcher.get_model_object("model_sampling")
    if "positive" in conds:
        for name in conds.keys() - {"positive"}:
            conds[name] = [{**cond, "uuid": uuid.uuid4()} for cond in conds[name]]
        options[POSITIVE] = frozenset(cond["uuid"] for cond in conds["positive"])
    parts = (cond for each in conds.values() for cond in each if cond.get("area") is not None)
    options[AREAS] = {cond["uuid"]: _shares(cond["area"], *noise.shape[-2:]) for cond in parts}
    return executor(guider, sigmas, extra_args, callback, noise, *rest)


def _shares(area: Sequence[int], height: int, width: int) -> Area:
    """ComfyUI's area (height, width, top, left) of a latent of this size; it narrows what reaches beyond."""
    tall, wide, top, left = area
    return left / width, top / height, min(left + wide, width) / width, min(top + tall, height) / height

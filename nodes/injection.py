"""An encoded identity put into a model: attention in every layer, and the adapter's LoRA in its weights."""

import uuid
from typing import Any

import comfy.lora
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from ..core.attention import POSITIVE, IdentityAttention, Scope
from ..core.faceid import EncodedIdentity, LayerTokens
from ..core.unet import CrossAttention, check_fit, cross_attentions, lora_targets

KEY = "consistent_face"


def inject(
    model: ModelPatcher, encoded: EncodedIdentity, weight: float, structure: float, lora_strength: float, scope: Scope
) -> ModelPatcher:
    """A clone of the model with the identity in it; the model itself stays as it is."""
    layers = cross_attentions(model.model.diffusion_model)
    check_fit(encoded, layers, type(model.model).__name__)
    tokens = encoded.weighted(weight, structure)
    patched = model.clone()
    patched.add_patches(comfy.lora.load_lora(dict(encoded.lora), lora_targets(layers)), lora_strength)
    _replace_attention(patched, layers, tokens, scope)
    if not patched.get_wrappers(WrappersMP.SAMPLER_SAMPLE, KEY):
        patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, mark_positive)
    return patched


def scope(model: ModelPatcher, start_percent: float, end_percent: float, mask: Tensor | None) -> Scope:
    """The whole of sampling needs no range, and so costs nothing."""
    if start_percent <= 0 and end_percent >= 1:
        return Scope(mask)
    sampling: Any = model.get_model_object("model_sampling")
    return Scope(mask, (sampling.percent_to_sigma(start_percent), sampling.percent_to_sigma(end_percent)))


def _replace_attention(
    model: ModelPatcher, layers: tuple[CrossAttention, ...], tokens: tuple[LayerTokens, ...], scope: Scope
) -> None:
    standing = dict(model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {}))
    for layer, own in zip(layers, tokens, strict=True):
        block = (layer.block, layer.number)
        # ComfyUI looks for a layer's replacement first, then for its block's; ours would hide the latter.
        previous = standing.get((*block, layer.index), standing.get(block))
        patch = IdentityAttention(own, scope, optimized_attention, previous)
        model.set_model_attn2_replace(patch, *block, layer.index)


def mark_positive(executor: WrapperExecutor, guider: Any, sigmas: Tensor, extra_args: dict, *rest: Any) -> Any:
    """Tells the patches which conds follow the positive prompt: once per sampling, whatever the guider.

    ComfyUI gives a cond that it copies to another prompt for its area the same id; so all others get new ones.
    """
    conds = guider.conds
    if "positive" in conds:
        for name in conds.keys() - {"positive"}:
            conds[name] = [{**cond, "uuid": uuid.uuid4()} for cond in conds[name]]
        options = extra_args["model_options"].setdefault("transformer_options", {})
        options[POSITIVE] = frozenset(cond["uuid"] for cond in conds["positive"])
    return executor(guider, sigmas, extra_args, *rest)

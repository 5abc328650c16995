"""Reads adapter files and encodes identities, through ComfyUI's loaders and memory manager."""

import hashlib
import pickle
from functools import cache

import comfy.clip_model
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch
from comfy.clip_vision import ClipVisionModel
from safetensors import SafetensorError
from torch import Tensor

from ...core.errors import WrongModelError
from ...core.identity.build import Identity
from ...core.ip_adapter.checkpoint import Adapter, check_identity, check_sight, read_adapter
from ...core.ip_adapter.encoding import EncodedIdentity, encode
from ...core.ip_adapter.projection import Reading, Tokens, build_projection
from .folders import ADAPTERS, find

# The exceptions of torch and safetensors for other or truncated files.
UNREADABLE = (
    AttributeError,
    EOFError,
    KeyError,
    pickle.UnpicklingError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


def load_adapter(name: str, setting: str) -> Adapter:
    """Reads a file of the adapters' folder; pickles only as tensors."""
    path = find(ADAPTERS, name)
    try:
        tensors, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    except UNREADABLE as error:
        raise WrongModelError(
            f'"{name}" is not a file of tensors (.bin or .safetensors), or it is cut short: download it again.'
        ) from error
    return read_adapter(name, tensors, cache(lambda: _sha256(path)), setting, metadata)


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode_identity(adapter: Adapter, identity: Identity, clip_vision: ClipVisionModel | None) -> EncodedIdentity:
    """Encodes an identity into keys and values; the adapter's network is on the device only during this call."""
    if identity.is_empty:
        return EncodedIdentity()
    check_identity(adapter, identity, sees=clip_vision is not None)
    sight = blank = None
    if clip_vision is not None and adapter.sight is not None:
        sight, blank = _look(clip_vision, identity.crops)
        check_sight(adapter, sight.shape[-1])
    person = Reading(identity.embeddings, identity.unit, identity.weights, sight, blank)
    return encode(adapter, *_project(adapter, person))


def _look(clip_vision: ClipVisionModel, crops: Tensor) -> tuple[Tensor, Tensor]:
    """Returns CLIP's penultimate hidden states of crops [N, L, width], and of normalized zeros [1, L, width]."""
    # As its encode_image does, but with the zeros in the same batch: no picture becomes exactly zero by encode_image.
    comfy.model_management.load_model_gpu(clip_vision.patcher)
    pixels = comfy.clip_model.clip_preprocess(
        crops.to(clip_vision.load_device),
        size=clip_vision.image_size,
        mean=clip_vision.image_mean,
        std=clip_vision.image_std,
    ).float()
    seen = torch.cat([pixels, torch.zeros_like(pixels[:1])])
    states = clip_vision.model(pixel_values=seen, intermediate_output=-2)[1]
    states = states.to(comfy.model_management.intermediate_device()).float()
    return states[:-1], states[-1:]


def _project(adapter: Adapter, person: Reading) -> Tokens:
    device, home = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    network = build_projection(adapter.kind, adapter.projection, comfy.ops.manual_cast)
    patcher = comfy.model_patcher.CoreModelPatcher(network, load_device=device, offload_device=home)
    comfy.model_management.load_models_gpu([patcher])
    tokens, structure = network.read(person.to(device))
    result = comfy.model_management.intermediate_device()
    return tokens.to(result), None if structure is None else structure.to(result)

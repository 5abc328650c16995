"""Adapters, people and models with an identity in them, for tests of the FaceID nodes."""

from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from consistent_face.core.faces.detection import Recognizer
from consistent_face.core.identity.build import Identity
from consistent_face.core.ip_adapter.checkpoint import Adapter
from consistent_face.core.ip_adapter.encoding import EncodedIdentity
from consistent_face.nodes.apply import ApplyIdentity
from consistent_face.nodes.faceid import EncodeIdentity
from consistent_face.tests import adapters

WIDTH = 64  # of a CLIP vision that is small enough to run here
APPLY: dict[str, Any] = {
    "weight": 1.0,
    "structure": 1.0,
    "lora_strength": 1.0,
    "start_percent": 0.0,
    "end_percent": 1.0,
}


def file_of(layers: tuple[int, ...], context: int, plus: bool = False) -> dict[str, dict[str, Tensor]]:
    shapes = adapters.plus_shapes(context, WIDTH) if plus else adapters.face_shapes(context)
    layout = adapters.layer_shapes(layers, context)
    return {"image_proj": adapters.random(shapes), "ip_adapter": adapters.random(layout, 3)}


def person(faces: int = 1, width: int = 512) -> Identity:
    generator = torch.Generator().manual_seed(faces)
    crops = torch.rand(faces, 224, 224, 3, generator=generator).mul(255).round() / 255
    embeddings = 20 * torch.randn(faces, width, generator=generator)
    return Identity(embeddings, crops, torch.full((faces,), 1 / faces), Recognizer("w600k_mbf", ""))


def encoded(adapter: Adapter, identity: Identity | None = None, clip: ClipVisionModel | None = None) -> EncodedIdentity:
    return EncodeIdentity.execute(adapter, identity or person(), clip)[0]


def applied(model: ModelPatcher, identity: EncodedIdentity, **changes: Any) -> ModelPatcher:
    return ApplyIdentity.execute(model, identity, **{**APPLY, **changes})[0]

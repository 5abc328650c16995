"""Defines the FaceID adapter for training: the published layout, and the pack's own projection."""

from typing import Any

import torch
from torch import Tensor, nn

from ..core.ip_adapter.projection import FaceProjection
from .unet import CONTEXT, WIDTH, Face

EMBEDDING = 512
TOKENS = 4  # of a face
HIDDEN = 1024  # of the projection, as published


class Adapter(nn.Module):
    """FaceID in the published layout: the pack's own projection, and keys and values for each transformer."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        outputs = TOKENS * CONTEXT
        sizes = {"proj.0.weight": (HIDDEN, EMBEDDING), "proj.2.weight": (outputs, HIDDEN), "norm.weight": (CONTEXT,)}
        self.image_proj = FaceProjection({name: torch.empty(size) for name, size in sizes.items()}, nn)
        parts = ("to_k_ip", "to_v_ip")
        self.ip_adapter = nn.ModuleDict(
            {
                str(2 * layer + 1): nn.ModuleDict({part: nn.Linear(CONTEXT, WIDTH, bias=False) for part in parts})
                for layer in range(layers)
            }
        )

    def forward(self, embedding: Tensor, strength: Tensor) -> list[Face]:
        """Unit embeddings [B, 512], zeros for nobody, and the weight of each [B]."""
        tokens = self.image_proj(embedding)
        scale = strength.to(tokens.dtype)[:, None, None]
        pairs: Any = self.ip_adapter.values()
        return [(pair["to_k_ip"](tokens), pair["to_v_ip"](tokens) * scale) for pair in pairs]

"""The networks that turn a face into tokens, named and shaped as in the published FaceID files.

Written from the IP-Adapter paper (arXiv:2308.06721) and the reference at github.com/tencent-ailab/IP-Adapter
(Apache-2.0). Every size is read from the tensors.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 64  # channels of one attention head, in every published file


class FaceProjection(nn.Module):
    """A unit embedding becomes T tokens: two linear layers and a norm."""

    def __init__(self, weights: Mapping[str, Tensor], ops: Any) -> None:
        super().__init__()
        hidden, embedding = weights["proj.0.weight"].shape
        outputs = weights["proj.2.weight"].shape[0]
        self.context = weights["norm.weight"].shape[0]
        self.proj = nn.Sequential(ops.Linear(embedding, hidden), nn.GELU(), ops.Linear(hidden, outputs))
        self.norm = ops.LayerNorm(self.context)

    def forward(self, embedding: Tensor) -> Tensor:
        """[N, embedding] -> [N, T, context]; zeros give the unconditional tokens, which are not zero."""
        return self.norm(self.proj(embedding).unflatten(-1, (-1, self.context)))


class FacePlusProjection(FaceProjection):
    """The same tokens, and what CLIP vision saw of the face, gathered by them."""

    def __init__(self, weights: Mapping[str, Tensor], ops: Any) -> None:
        super().__init__(weights, ops)
        self.perceiver_resampler = Resampler(weights, self.context, ops)

    def structure(self, tokens: Tensor, sight: Tensor) -> Tensor:
        """Tokens [N, T, context] and CLIP's penultimate hidden states [N, L, width] -> [N, T, context]."""
        return self.perceiver_resampler(tokens, sight)


class Resampler(nn.Module):
    """Tokens look at a picture's hidden states, in several rounds."""

    def __init__(self, weights: Mapping[str, Tensor], context: int, ops: Any) -> None:
        super().__init__()
        depth = sum(1 for name in weights if name.endswith(".0.to_q.weight"))
        width = weights["perceiver_resampler.proj_in.weight"].shape[1]
        self.proj_in = ops.Linear(width, context)
        self.layers = nn.ModuleList(
            nn.ModuleList([Look(context, ops), _feed_forward(context, ops)]) for _ in range(depth)
        )
        self.proj_out = ops.Linear(context, context)
        self.norm_out = ops.LayerNorm(context)

    def forward(self, tokens: Tensor, sight: Tensor) -> Tensor:
        sight = self.proj_in(sight)
        for layer in self.layers:
            look, feed_forward = layer.children()
            tokens = tokens + look(tokens, sight)
            tokens = tokens + feed_forward(tokens)
        return self.norm_out(self.proj_out(tokens))


class Look(nn.Module):
    """Attention of the tokens over the picture and themselves."""

    def __init__(self, context: int, ops: Any) -> None:
        super().__init__()
        self.norm1 = ops.LayerNorm(context)
        self.norm2 = ops.LayerNorm(context)
        self.to_q = ops.Linear(context, context, bias=False)
        self.to_kv = ops.Linear(context, 2 * context, bias=False)
        self.to_out = ops.Linear(context, context, bias=False)

    def forward(self, tokens: Tensor, sight: Tensor) -> Tensor:
        sight, tokens = self.norm1(sight), self.norm2(tokens)
        keys, values = self.to_kv(torch.cat([sight, tokens], dim=1)).chunk(2, dim=-1)
        seen = F.scaled_dot_product_attention(_heads(self.to_q(tokens)), _heads(keys), _heads(values))
        return self.to_out(seen.transpose(1, 2).flatten(2))


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, HEAD)).transpose(1, 2)


def _feed_forward(width: int, ops: Any) -> nn.Sequential:
    expand, reduce = ops.Linear(width, 4 * width, bias=False), ops.Linear(4 * width, width, bias=False)
    return nn.Sequential(ops.LayerNorm(width), expand, nn.GELU(), reduce)


def build_projection(weights: Mapping[str, Tensor], ops: Any = nn) -> FaceProjection:
    """The network of a file's `image_proj` tensors, which it shares and does not copy.

    `ops` makes the layers: torch.nn, or ComfyUI's operations, which keep weights where its memory manager wants them.
    Raises LookupError, ValueError or RuntimeError when the tensors are not those of such a network.
    """
    kind = FacePlusProjection if "perceiver_resampler.proj_in.weight" in weights else FaceProjection
    with torch.device("meta"):
        projection = kind(weights, ops)
    projection.load_state_dict(dict(weights), assign=True)
    return projection.eval().requires_grad_(False)

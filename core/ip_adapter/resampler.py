"""Gathers a sequence's content into a few tokens by attention: the perceiver of the IP-Adapter files.

Written from the IP-Adapter paper (arXiv:2308.06721) and the reference at github.com/tencent-ailab/IP-Adapter
(Apache-2.0). Every size is read from the tensors.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 64  # channels of one attention head, in every published file


class Resampler(nn.Module):
    """Tokens attend to a sequence, in several rounds."""

    def __init__(self, weights: Mapping[str, Tensor], ops: Any) -> None:
        super().__init__()
        depth = sum(1 for name in weights if name.endswith(".0.to_q.weight"))
        width, seen = weights["proj_in.weight"].shape
        context = weights["proj_out.weight"].shape[0]
        self.proj_in = ops.Linear(seen, width)
        self.layers = nn.ModuleList(nn.ModuleList([Look(width, ops), _feed_forward(width, ops)]) for _ in range(depth))
        self.proj_out = ops.Linear(width, context)
        self.norm_out = ops.LayerNorm(context)

    def forward(self, tokens: Tensor, sequence: Tensor) -> Tensor:
        """Tokens [N, T, width] and a sequence [N, L, seen] -> [N, T, context]."""
        sequence = self.proj_in(sequence)
        for layer in self.layers:
            look, feed_forward = layer.children()
            tokens = tokens + look(tokens, sequence)
            tokens = tokens + feed_forward(tokens)
        return self.norm_out(self.proj_out(tokens))


class Look(nn.Module):
    """Attention of the tokens over the sequence and themselves."""

    def __init__(self, width: int, ops: Any) -> None:
        super().__init__()
        self.norm1 = ops.LayerNorm(width)
        self.norm2 = ops.LayerNorm(width)
        self.to_q = ops.Linear(width, width, bias=False)
        self.to_kv = ops.Linear(width, 2 * width, bias=False)
        self.to_out = ops.Linear(width, width, bias=False)

    def forward(self, tokens: Tensor, sequence: Tensor) -> Tensor:
        sequence, tokens = self.norm1(sequence), self.norm2(tokens)
        keys, values = self.to_kv(torch.cat([sequence, tokens], dim=1)).chunk(2, dim=-1)
        seen = F.scaled_dot_product_attention(_heads(self.to_q(tokens)), _heads(keys), _heads(values))
        return self.to_out(seen.transpose(1, 2).flatten(2))


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, HEAD)).transpose(1, 2)


def _feed_forward(width: int, ops: Any) -> nn.Sequential:
    expand, reduce = ops.Linear(width, 4 * width, bias=False), ops.Linear(4 * width, width, bias=False)
    return nn.Sequential(ops.LayerNorm(width), expand, nn.GELU(), reduce)

"""Encodes text as ComfyUI does, by CLIP-L's text model with the random values that replace it everywhere offline.

They come from a fixed seed, so they need no shipping: training and ComfyUI make the same ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tools import shapes, weights
from ..tools.offline import TEXT_SEED

LAYERS, HEADS, LENGTH = 12, 12, 77


class TextEncoder:
    """Token ids [B, 77] to what the UNet reads [B, 77, 768]."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        state = weights.fill(shapes.clip_text(), TEXT_SEED)
        self.state = {name: value.half().float().to(device) for name, value in state.items()}  # the file is in fp16

    @torch.no_grad()
    def __call__(self, ids: Tensor) -> Tensor:
        s = self.state
        x = s["embeddings.token_embedding.weight"][ids] + s["embeddings.position_embedding.weight"]
        for index in range(LAYERS):
            name = f"encoder.layers.{index}"
            x = x + self.attend(f"{name}.self_attn", self.norm(f"{name}.layer_norm1", x))
            h = self.linear(f"{name}.mlp.fc1", self.norm(f"{name}.layer_norm2", x))
            x = x + self.linear(f"{name}.mlp.fc2", h * torch.sigmoid(1.702 * h))
        return self.norm("final_layer_norm", x)

    def attend(self, name: str, x: Tensor) -> Tensor:
        q, k, v = (
            self.linear(f"{name}.{part}_proj", x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in ("q", "k", "v")
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.linear(f"{name}.out_proj", seen.transpose(1, 2).flatten(2))

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])

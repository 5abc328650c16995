"""Defines the small UNet for training: LDM's names and sums, so that ComfyUI loads the state as it is.

Two levels of one block, 320 channels each, and three transformers where the bytes do most: 29.6 million parameters.
A single level would know the place of a pixel only near the borders, for nothing but padding tells a convolution where
it is; half the side halves that distance. There is no middle block: it would cost 7 million more.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, CONTEXT = 320, 768
HEADS = 8
Face = tuple[Tensor, Tensor]  # keys and values of one layer [B, T, width]


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, WIDTH, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * WIDTH, WIDTH))
        last = zeroed(nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
        self.out_layers = nn.Sequential(nn.GroupNorm(32, WIDTH), nn.SiLU(), nn.Identity(), last)
        self.skip_connection = nn.Identity() if channels == WIDTH else nn.Conv2d(channels, WIDTH, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(time)[..., None, None]
        return self.skip_connection(x) + self.out_layers(h)


class Attention(nn.Module):
    def __init__(self, context: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(WIDTH, WIDTH, bias=False)
        self.to_k = nn.Linear(context, WIDTH, bias=False)
        self.to_v = nn.Linear(context, WIDTH, bias=False)
        self.to_out = nn.Sequential(nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor, context: Tensor, face: Face | None = None) -> Tensor:
        q = heads(self.to_q(x))
        seen = F.scaled_dot_product_attention(q, heads(self.to_k(context)), heads(self.to_v(context)))
        if face is not None:
            seen = seen + F.scaled_dot_product_attention(q, heads(face[0]), heads(face[1]))
        return self.to_out(seen.transpose(1, 2).flatten(2))


def heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(WIDTH, 8 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class Feed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(Gated(), nn.Identity(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.attn1, self.attn2, self.ff = Attention(WIDTH), Attention(CONTEXT), Feed()

    def forward(self, x: Tensor, text: Tensor, face: Face | None) -> Tensor:
        own = self.norm1(x)
        x = x + self.attn1(own, own)
        x = x + self.attn2(self.norm2(x), text, face)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, WIDTH, eps=1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(WIDTH, WIDTH, 1), zeroed(nn.Conv2d(WIDTH, WIDTH, 1))
        self.transformer_blocks = nn.ModuleList([Block()])

    def forward(self, x: Tensor, text: Tensor, face: Face | None) -> Tensor:
        h = self.proj_in(self.norm(x))
        tokens = h.flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            tokens = block(tokens, text, face)
        return x + self.proj_out(tokens.transpose(1, 2).unflatten(2, h.shape[2:]))


class Halve(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.op = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Double(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def zeroed(layer: Any) -> Any:
    """Returns a layer that starts at zero, so that its block passes its input on."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def rows(*layers: Sequence[nn.Module]) -> nn.ModuleList:
    return nn.ModuleList(nn.ModuleList(row) for row in layers)


class UNet(nn.Module):
    """Predicts the noise in latents [B, 4, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.time_embed = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.SiLU(), nn.Linear(4 * WIDTH, 4 * WIDTH))
        first = nn.Conv2d(4, WIDTH, 3, padding=1)
        self.input_blocks = rows([first], [Residual(WIDTH)], [Halve()], [Residual(WIDTH), Transformer()])
        small = [Residual(2 * WIDTH), Transformer()], [Residual(2 * WIDTH), Double()]
        large = [Residual(2 * WIDTH), Transformer()], [Residual(2 * WIDTH)]
        self.output_blocks = rows(*small, *large)
        self.out = nn.Sequential(nn.GroupNorm(32, WIDTH), nn.SiLU(), zeroed(nn.Conv2d(WIDTH, 4, 3, padding=1)))

    def forward(self, x: Tensor, time: Tensor, text: Tensor, face: Sequence[Face] | None = None) -> Tensor:
        """`time` [B] in 0..999, `text` [B, L, 768], `face` in the order of the adapter's layers."""
        embedded, faces = self.time_embed(sinusoids(time).to(x.dtype)), list(face or ())
        kept = []
        for row in self.input_blocks:
            x = passed(row, x, embedded, text, faces)
            kept.append(x)
        for row in self.output_blocks:
            x = passed(row, torch.cat([x, kept.pop()], dim=1), embedded, text, faces)
        return self.out(x)


def passed(row: Any, x: Tensor, time: Tensor, text: Tensor, faces: list[Face]) -> Tensor:
    """Through one block; its transformer takes the first of the faces that are left."""
    for layer in row:
        if isinstance(layer, Residual):
            x = layer(x, time)
        elif isinstance(layer, Transformer):
            x = layer(x, text, faces.pop(0) if faces else None)
        else:
            x = layer(x)
    return x


def sinusoids(time: Tensor) -> Tensor:
    """[B] -> [B, 320], as DDPM has them."""
    half = WIDTH // 2
    speeds = torch.exp(-math.log(10000) * torch.arange(half, device=time.device) / half)
    angles = time.float()[:, None] * speeds
    return torch.cat([angles.cos(), angles.sin()], dim=-1)

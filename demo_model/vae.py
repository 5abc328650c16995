"""Defines TAESD, the tiny autoencoder (github.com/madebyollin/taesd), for training; ComfyUI loads its layout."""

import torch
from torch import Tensor, nn

WIDTH, LATENT = 64, 4
SD15_SCALE = 0.18215  # by which ComfyUI multiplies what an SD1.5 encoder gives, and divides what it decodes


def conv(before: int, after: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, stride=stride, bias=bias)


class Bound(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        first, second, third = (conv(WIDTH, WIDTH) for _ in range(3))
        self.conv = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + x)


def blocks(count: int) -> list[nn.Module]:
    return [Block() for _ in range(count)]


def halved() -> nn.Module:
    return conv(WIDTH, WIDTH, stride=2, bias=False)


def doubled() -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), conv(WIDTH, WIDTH, bias=False)]


class Autoencoder(nn.Module):
    """Pictures [B, 3, H, W] in 0..1 and latents [B, 4, H/8, W/8] of a standard deviation near 1."""

    def __init__(self) -> None:
        super().__init__()
        down = [conv(3, WIDTH), *blocks(1), halved(), *blocks(3), halved(), *blocks(3), halved(), *blocks(3)]
        self.taesd_encoder = nn.Sequential(*down, conv(WIDTH, LATENT))
        up = [*blocks(3), *doubled(), *blocks(3), *doubled(), *blocks(3), *doubled(), *blocks(1)]
        self.taesd_decoder = nn.Sequential(Bound(), conv(LATENT, WIDTH), nn.ReLU(), *up, conv(WIDTH, 3))
        self.register_buffer("vae_scale", torch.tensor(SD15_SCALE))
        self.register_buffer("vae_shift", torch.tensor(0.0))
        self.vae_scale: Tensor
        self.vae_shift: Tensor

    def encode(self, pictures: Tensor) -> Tensor:
        """The latents as ComfyUI's UNet gets them: in ComfyUI's order of sums, with SD1.5's scale."""
        return (self.taesd_encoder(pictures) / self.vae_scale + self.vae_shift) * SD15_SCALE

    def decode(self, latents: Tensor) -> Tensor:
        return self.taesd_decoder((latents / SD15_SCALE - self.vae_shift) * self.vae_scale)

    def standardise(self, latents: Tensor) -> None:
        """From now on latents like these have mean 0 and standard deviation 1."""
        mean, deviation = latents.float().mean() / SD15_SCALE, latents.float().std()
        self.vae_shift = self.vae_shift / deviation - mean / deviation
        self.vae_scale = self.vae_scale * deviation

"""Defines SD1.5's noise schedule, and DDIM to draw samples."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

STEPS = 1000
GAMMA = 5.0


def shares(device: torch.device) -> Tensor:
    """Returns the remaining share of a picture's variance at each of the 1000 times, from nearly 1 to nearly 0."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float().to(device)


def noised(latents: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    share = share[:, None, None, None]
    return share.sqrt() * latents + (1 - share).sqrt() * noise


def cleaned(noisy: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """Returns the latents, given the noise."""
    share = share[:, None, None, None]
    return (noisy - (1 - share).sqrt() * noise) / share.sqrt()


def importance(share: Tensor) -> Tensor:
    """Min-SNR-gamma (arXiv:2303.09556): without it the clean end of the schedule dominates the loss."""
    ratio = share / (1 - share)
    return ratio.clamp(max=GAMMA) / ratio


@torch.no_grad()
def sample(predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int = 20) -> Tensor:
    """DDIM without added noise; `predict` gives the noise in [B, 4, H, W] at times [B]."""
    share, x = shares(noise.device), noise
    times = torch.linspace(STEPS - 1, 0, steps + 1).round().long().tolist()
    for now, after in pairwise(times):
        time = torch.full((len(x),), now, device=x.device)
        found = predict(x, time)
        clean = cleaned(x, found, share[time]).clamp(-4, 4)
        x = noised(clean, found, share[torch.full_like(time, after)])
    return x

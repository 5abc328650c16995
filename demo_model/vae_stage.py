"""Trains the autoencoder (the first stage) to keep the look of a face in 32x32 latents."""

import time

import torch
import torch.nn.functional as F
from torch import Tensor

from . import styles
from .networks import Network
from .recipe import Recipe, Spent
from .vae import Autoencoder

CROP = 112  # the recognizer's side; it also measures the similarity of two crops
LOOKS = (3, 14, 32)  # its steps whose outputs are compared
WIGGLE = 0.05  # noise on the latents, so that near ones decode alike


def crops(pictures: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random crops [count, 3, 112, 112] in 0..1 of [n, 3, 256, 256] in 8 bits, some of them restyled."""
    device, side = pictures.device, pictures.shape[-1]
    chosen = torch.randint(len(pictures), (count,), device=device, generator=generator)
    top, left = torch.randint(side - CROP + 1, (2, count, 1, 1), device=device, generator=generator)
    steps = torch.arange(CROP, device=device)
    rows, columns = top + steps[:, None], left + steps
    found = pictures[chosen[:, None, None], :, rows, columns].permute(0, 3, 1, 2).float() / 255
    eighth = count // 8
    flat = torch.rand(eighth, 3, 1, 1, device=device, generator=generator)
    share = torch.rand(eighth, 1, 1, 1, device=device, generator=generator)
    tinted = found[2 * eighth : 3 * eighth] * share + flat * (1 - share)
    parts = styles.cartoon(found[:eighth]), styles.pencil(found[eighth : 2 * eighth]), tinted, found[3 * eighth :]
    return torch.cat(parts)


def difference(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean distance of the pixels, at three sizes."""
    total = F.l1_loss(found, wanted)
    for _ in range(2):
        found, wanted = F.avg_pool2d(found, 2), F.avg_pool2d(wanted, 2)
        total = total + F.l1_loss(found, wanted)
    return total


def unlike(found: Tensor, wanted: Tensor, recogniser: Network) -> Tensor:
    """Returns the perceptual distance, by the recognizer's early layers."""
    pairs = zip(*(recogniser.features(x * 2 - 1, LOOKS) for x in (found, wanted)), strict=True)
    losses = [(a - b).square().sum(1).mean() for a, b in pairs]
    return torch.stack(losses).mean()


def loss_of(vae: Autoencoder, wanted: Tensor, recogniser: Network, generator: torch.Generator) -> Tensor:
    latents = vae.encode(wanted)
    noise = torch.randn(latents.shape, device=latents.device, generator=generator)
    found = vae.decode(latents + WIGGLE * noise.to(latents.dtype)).float()
    spread = (latents.float().square().mean() - 1).square() + latents.float().mean().square()
    return difference(found, wanted) + 0.3 * unlike(found, wanted, recogniser) + 0.02 * spread


def train_vae(
    vae: Autoencoder,
    optimizer: torch.optim.Optimizer,
    pictures: Tensor,
    recogniser: Network,
    recipe: Recipe,
    spent: Spent,
    until: float,
) -> list[float]:
    """Goes on until the recipe's time is spent or the clock reaches `until`; returns the losses."""
    device, losses = pictures.device, []
    while spent.vae < recipe.vae_seconds and spent.vae_steps < recipe.vae_steps and time.monotonic() < until:
        started = time.monotonic()
        generator = torch.Generator(device).manual_seed(recipe.seed + spent.vae_steps)
        share = max(spent.vae / recipe.vae_seconds, spent.vae_steps / recipe.vae_steps)
        for group in optimizer.param_groups:
            group["lr"] = recipe.vae_rate * recipe.rate(spent.vae_steps, share)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = loss_of(vae, crops(pictures, recipe.vae_batch, generator), recogniser, generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        spent.vae_steps += 1
        spent.vae += time.monotonic() - started
    return losses

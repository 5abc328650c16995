"""Trains UNet and adapter together (the second stage): what a caption and an embedding look like."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from . import views
from .adapter import Adapter
from .bank import Bank, Texts
from .diffusion import STEPS, cleaned, importance, noised, shares
from .faces import Recogniser
from .recipe import Recipe, Spent
from .unet import UNet
from .vae import Autoencoder

WIGGLE = 0.15  # length of the noise on an embedding, whose own is 1
CLEAN = 500  # times below this show enough of a face to judge it
# Of all pictures, the share that has no identity beside a negative prompt (as CFG asks for), none beside a caption,
# and an adapter that is off (weight 0), beside either; and that has an identity but a negative prompt's words.
NOBODY, UNNAMED, OFF, WORDLESS = 0.1, 0.18, 0.3, 0.36


@dataclass(frozen=True)
class Batch:
    """The inputs and targets of the network; `wanted` [K, 512] and `points` are of the judged rows alone."""

    latents: Tensor
    text: Tensor
    embedding: Tensor
    strength: Tensor
    time: Tensor
    noise: Tensor
    wanted: Tensor
    points: Tensor


class Model(nn.Module):
    """UNet and adapter as one, for one optimiser and one average."""

    def __init__(self) -> None:
        super().__init__()
        self.unet, self.adapter = UNet(), Adapter()

    def forward(self, x: Tensor, time: Tensor, text: Tensor, embedding: Tensor, strength: Tensor) -> Tensor:
        return self.unet(x, time, text, self.adapter(embedding, strength))


def draw(bank: Bank, texts: Texts, recipe: Recipe, step: int) -> Batch:
    """A batch that depends on the seed and the step alone; its first rows are photos to be judged by similarity."""
    device, count, judged = bank.latents.device, recipe.batch, recipe.likeness_rows
    g = torch.Generator(device).manual_seed(recipe.seed * 1_000_003 + step)

    def whole(high: int, size: int = count) -> Tensor:
        return torch.randint(high, (size,), device=device, generator=g)

    chance = torch.tensor([weight for _, weight in views.CHANGES for _ in range(2)], device=device, dtype=torch.float32)
    person, view = whole(len(bank)), torch.multinomial(chance, count, replacement=True, generator=g)
    view[:judged] = whole(2 * views.PHOTOS, judged)
    fate = torch.rand(count, device=device, generator=g)
    fate[:judged] = 1.0
    seen = bank.embeddings[whole(len(bank.embeddings)), person].float()
    wiggle = torch.randn(seen.shape, device=device, generator=g) / seen.shape[1] ** 0.5
    embedding = normalize(seen + WIGGLE * wiggle, dim=1) * (fate >= UNNAMED)[:, None]
    strength = ((fate < UNNAMED) | (fate >= OFF)).float()
    # Off: two thirds with a caption.
    negative = (fate < NOBODY) | ((fate >= OFF - (OFF - UNNAMED) / 3) & (fate < WORDLESS))
    known = texts.of(bank.facts[view, person], g)
    text = torch.where(negative[:, None, None], texts.negative[whole(len(texts.negative))], known)
    times = whole(STEPS)
    times[:judged] %= CLEAN
    latents = bank.latents[view, person].float()
    noise = torch.randn(latents.shape, device=device, generator=g)
    wanted = normalize(bank.embeddings[:, person[:judged]].float().mean(0), dim=1)
    points = bank.points[view[:judged], person[:judged]]
    return Batch(latents, text, embedding, strength, times, noise, wanted, points)


@dataclass
class Trainer:
    """Everything that a step needs besides its batch."""

    model: Model
    average: Model
    optimizer: torch.optim.Optimizer
    vae: Autoencoder
    recogniser: Recogniser
    recipe: Recipe
    predict: Callable[..., Tensor]  # the model, compiled where that pays

    def look(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The noisy latents, the noise that the model finds in them, and what is left of the pictures."""
        device = batch.latents.device
        left = shares(device)[batch.time]
        noisy = noised(batch.latents, batch.noise, left)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            found = self.predict(noisy, batch.time, batch.text.to(noisy.dtype), batch.embedding, batch.strength)
        return noisy, found.float(), left

    def warm(self, batch: Batch) -> None:
        """Compiles what is to be compiled, which takes a minute, and changes nothing."""
        self.look(batch)[1].sum().backward()
        self.optimizer.zero_grad()

    def step(self, batch: Batch, number: int, share: float) -> tuple[float, float]:
        """Returns the weighted error of the noise, and the mean similarity of the judged rows (NaN before its time)."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at_best * self.recipe.rate(number, share)
        noisy, found, left = self.look(batch)
        error = (importance(left) * (found - batch.noise).square().mean((1, 2, 3))).mean()
        alike = torch.full((), float("nan"))
        total = error
        if share >= self.recipe.likeness_from and self.recipe.likeness_rows:
            alike = self.likeness(batch, noisy, found, left)
            total = error + self.recipe.likeness_weight * (1 - alike)
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.follow(number)
        return error.item(), alike.item()

    def likeness(self, batch: Batch, noisy: Tensor, found: Tensor, left: Tensor) -> Tensor:
        """Mean cosine of what the judged rows would show and the people that they should show."""
        rows = len(batch.wanted)
        clean = cleaned(noisy[:rows], found[:rows], left[:rows]).clamp(-4, 4)
        device = clean.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            shown = self.vae.decode(clean)
        return (self.recogniser(shown.float().clamp(0, 1), batch.points) * batch.wanted).sum(1).mean()

    @torch.no_grad()
    def follow(self, number: int) -> None:
        """The average of the weights moves towards them, faster in the beginning."""
        keep = min(self.recipe.ema, (1 + number) / (10 + number))
        for slow, fast in zip(self.average.parameters(), self.model.parameters(), strict=True):
            slow.lerp_(fast, 1 - keep)


def train_unet(trainer: Trainer, bank: Bank, texts: Texts, spent: Spent, until: float) -> list[tuple[float, float]]:
    """Goes on until the recipe's time is spent or the clock reaches `until`; returns each step's figures."""
    figures, recipe = [], trainer.recipe
    while spent.unet < recipe.unet_seconds and spent.unet_steps < recipe.unet_steps and time.monotonic() < until:
        started = time.monotonic()
        share = max(spent.unet / recipe.unet_seconds, spent.unet_steps / recipe.unet_steps)
        figures.append(trainer.step(draw(bank, texts, recipe, spent.unet_steps), spent.unet_steps, share))
        spent.unet_steps += 1
        spent.unet += time.monotonic() - started
    return figures

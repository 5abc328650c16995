"""Makes several views of each person, since there is one picture of each: an identity needs several.

Sideways, recoloured, cut closer, on plain backgrounds, as a cartoon, in pencil. The identity that goes with a view is
that of another view of the same person, so that the adapter learns the person, and not the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from . import captions, styles
from .faces import Remover, warp
from .people import SIDE

SMILE = 0.9  # width of the mouth to the distance of the eyes, from which on people smile, by eye
TURNED = 0.16  # how far the nose is off the middle of the eyes, in their distances


@dataclass(frozen=True)
class Batch:
    """Some people as they are: pictures [B, 3, 256, 256] in 0..1, points [B, 5, 2], coverage [B, 1, 256, 256]."""

    pictures: Tensor
    points: Tensor
    coverage: Tensor

    def flipped(self) -> "Batch":
        order = torch.tensor([1, 0, 2, 4, 3], device=self.points.device)
        points = torch.stack([SIDE - 1 - self.points[..., 0], self.points[..., 1]], -1)[:, order]
        return Batch(self.pictures.flip(3), points, self.coverage.flip(3))

    def moved(self, matrices: Tensor) -> "Batch":
        """Through [B, 2, 3] from a pixel of the result to one of the picture, which goes on mirrored."""
        linear, shift = matrices[..., :2], matrices[..., 2]
        points = (self.points - shift[:, None]) @ linear.inverse().mT
        pictures = warp(self.pictures, matrices, SIDE, "reflection")
        return Batch(pictures, points, warp(self.coverage, matrices, SIDE, "border"))


@dataclass(frozen=True)
class View:
    """Pictures with the numbers of their facts (captions.Known) and their key points."""

    pictures: Tensor
    facts: Tensor
    points: Tensor


Change = Callable[[Batch, torch.Generator], View]


def facts(points: Tensor, style: int, ground: Tensor | int = 0) -> Tensor:
    """What the key points tell, with what was done to the pictures."""
    left, right, nose, mouth_left, mouth_right = points.unbind(1)
    eyes = (right - left).norm(dim=1)
    turned = (nose - (left + right) / 2)[:, 0] / eyes
    turn = 1 + (turned > TURNED).long() - (turned < -TURNED).long()
    mood = ((mouth_right - mouth_left).norm(dim=1) / eyes > SMILE).long()
    grounds, turns, moods = len(captions.GROUNDS), len(captions.TURNS), len(captions.MOODS)
    return ((style * grounds + ground) * turns + turn) * moods + mood


def uniform(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, device=generator.device, generator=generator)


def near(batch: Batch, low: float, high: float, generator: torch.Generator) -> Batch:
    """Cut `low` to `high` times as wide, a little turned and shifted, the lower border kept in sight."""
    count = len(batch.pictures)
    scale, angle = uniform(low, high, count, generator), uniform(-0.12, 0.12, count, generator)
    a, b = scale * angle.cos(), scale * angle.sin()
    linear = torch.stack([torch.stack([a, -b], -1), torch.stack([b, a], -1)], dim=1)
    middle = batch.points.new_tensor([SIDE / 2, SIDE / 2]).expand(count, 2)
    shift = torch.stack([uniform(-12, 12, count, generator), (1 - scale) * SIDE * 0.15], dim=-1)
    return batch.moved(torch.cat([linear, (middle + shift - (linear @ middle[..., None])[..., 0])[..., None]], dim=-1))


def recoloured(pictures: Tensor, generator: torch.Generator) -> Tensor:
    count = len(pictures)
    gamma, gain = (uniform(low, high, count, generator)[:, None, None, None] for low, high in ((0.75, 1.3), (0.9, 1.1)))
    tint = uniform(0.92, 1.08, 3 * count, generator).view(count, 3, 1, 1)
    return (pictures.clamp(1e-4, 1) ** gamma * gain * tint).clamp(0, 1)


def on_plain(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The pictures on a colour each, and which."""
    ground = torch.randint(
        1, len(captions.GROUNDS), (len(batch.pictures),), device=generator.device, generator=generator
    )
    colours = batch.pictures.new_tensor(list(captions.GROUNDS.values()))[ground][..., None, None]
    cover = ((batch.coverage - 0.1) / 0.8).clamp(0, 1)
    return batch.pictures * cover + colours * (1 - cover), ground


def as_is(batch: Batch, generator: torch.Generator) -> View:
    return View(batch.pictures, facts(batch.points, 0), batch.points)


def varied(batch: Batch, generator: torch.Generator) -> View:
    moved = near(batch, 0.8, 1.1, generator)
    return View(recoloured(moved.pictures, generator), facts(moved.points, 0), moved.points)


def plain(batch: Batch, generator: torch.Generator) -> View:
    pictures, ground = on_plain(batch, generator)
    return View(pictures, facts(batch.points, 0, ground), batch.points)


def drawn(style: int) -> Change:
    def change(batch: Batch, generator: torch.Generator) -> View:
        pictures, ground = on_plain(batch, generator)
        keep = torch.rand(len(ground), device=ground.device, generator=generator) < 0.5
        pictures = torch.where(keep[:, None, None, None], batch.pictures, pictures)
        ground = torch.where(keep, 0, ground)
        if style == captions.STYLES.index("pencil"):
            return View(styles.pencil(batch.pictures), facts(batch.points, style), batch.points)
        return View(styles.cartoon(pictures), facts(batch.points, style, ground), batch.points)

    return change


# Each is made twice, of the picture and of its mirror image; how often training looks at it beside the others.
CHANGES: tuple[tuple[Change, float], ...] = ((as_is, 4), (varied, 3), (plain, 3), (drawn(1), 1), (drawn(2), 1))
PHOTOS = 3  # the first of them are photos: an identity can be read from each


def batch_of(pictures: Tensor, points: Tensor, remover: Remover) -> Batch:
    pictures = pictures.float() / 255
    return Batch(pictures, points, remover(pictures))


def all_views(batch: Batch, generator: torch.Generator) -> list[View]:
    """Two for each of CHANGES, in their order: of the pictures, and of their mirror images."""
    sides = (batch, batch.flipped())
    return [change(side, generator) for change, _ in CHANGES for side in sides]

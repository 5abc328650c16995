"""Runs the recognizer and the background remover in torch: in batches on the device of the training."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import normalize

from ..core.faces.alignment import ARCFACE_POINTS
from .networks import Network

CROP = 112  # the recognizer's side
REMOVER_SIDE = 320
REMOVER_MEAN, REMOVER_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as rembg has them


def warp(pictures: Tensor, matrices: Tensor, side: int, padding: str = "zeros") -> Tensor:
    """Pictures [B, C, H, W] seen through [B, 2, 3], which takes a pixel of the result to one of the picture."""
    height, width = pictures.shape[2:]
    size = torch.tensor([width, height], device=pictures.device)
    steps = torch.arange(side, device=pictures.device, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ matrices.mT[:, None]
    grid = (2 * places + 1) / size - 1
    return F.grid_sample(pictures, grid.to(pictures.dtype), padding_mode=padding, align_corners=False)


def similarity(points: Tensor, targets: Tensor) -> Tensor:
    """[B, 2, 3] from targets to points: the inverse of the turn, scaling and shift that takes the points nearest to
    them by least squares, as faces are aligned for ArcFace.
    """
    (source, centre), (aim, middle) = ((x - x.mean(1, keepdim=True), x.mean(1)) for x in (targets, points))
    source, aim = torch.view_as_complex(source.contiguous()), torch.view_as_complex(aim.contiguous())
    turn = (aim.abs() ** 2).sum(1) / (aim.conj() * source).sum(1)
    a, b = turn.real, turn.imag
    linear = torch.stack([torch.stack([a, -b], -1), torch.stack([b, a], -1)], dim=1)
    return torch.cat([linear, (middle - (linear @ centre[..., None])[..., 0])[..., None]], dim=-1)


class Recogniser:
    """Pictures [B, 3, H, W] in 0..1 RGB and their key points [B, 5, 2] to unit embeddings [B, 512]."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.network = Network(path).to(device)
        self.points = torch.tensor(ARCFACE_POINTS, dtype=torch.float32, device=device)

    def __call__(self, pictures: Tensor, points: Tensor) -> Tensor:
        matrices = similarity(points.float(), self.points.expand(len(points), -1, -1))
        crops = warp(pictures.float(), matrices, CROP)
        return normalize(self.network(crops * 2 - 1), dim=-1)


class Remover:
    """Pictures [B, 3, H, W] in 0..1 to the coverage of the person [B, 1, H, W]."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.network = Network(path).to(device)
        self.mean, self.deviation = (
            torch.tensor(x, device=device)[:, None, None] for x in (REMOVER_MEAN, REMOVER_DEVIATION)
        )

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        side = (REMOVER_SIDE, REMOVER_SIDE)
        seen = F.interpolate(pictures.float(), size=side, mode="bicubic", antialias=True)
        answer = self.network((seen - self.mean) / self.deviation)
        low, high = answer.amin((1, 2, 3), keepdim=True), answer.amax((1, 2, 3), keepdim=True)
        sized = F.interpolate((answer - low) / (high - low), size=pictures.shape[2:], mode="bilinear")
        return sized.clamp(0, 1)

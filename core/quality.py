"""How much a face tells of a person."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from .faces import Face


class Quality(NamedTuple):
    """Each is between 0 and 1."""

    size: float  # 1/2 at 112 pixels, the recogniser's input
    score: float
    sharpness: float
    frontal: float

    @property
    def product(self) -> float:
        return self.size * self.score * self.sharpness * self.frontal


def quality(face: Face) -> Quality:
    return Quality(
        size=face.size / (face.size + 112),
        score=face.score,
        sharpness=_sharpness(face.crop),
        frontal=_frontal(face.points),
    )


def _sharpness(crop: Tensor) -> float:
    """Variance of the Laplacian, which is about 30 in the crops of slightly soft photos: they get 1/2."""
    laplacian = torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]])
    edges = conv2d(crop.mean(-1)[None, None] * 255, laplacian)
    return float(edges.var() / (edges.var() + 30))


def _frontal(points: np.ndarray) -> float:
    """1 where the nose stands midway between the eyes, falling to 0.1 where it stands above one of them."""
    left, right, nose = points[:3]
    eyes = right - left
    turn = 2 * (nose - (left + right) / 2) @ eyes / (eyes @ eyes)
    return float(np.clip(1 - abs(turn), 0.1, 1))

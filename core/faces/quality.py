"""Rates how well a face identifies a person."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d

from .detection import Face


class Quality(NamedTuple):
    """The factors of a face's quality, each between 0 and 1."""

    size: float  # 1/2 at 112 pixels, the recognizer's input
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
    """Rates the sharpness by the variance of the Laplacian; crops of slightly soft photos have about 30 and get 1/2.

    A crop that reaches beyond its photo is black there; that edge does not count.
    """
    laplacian = torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]])
    edges = conv2d(crop.mean(-1)[None, None] * 255, laplacian)
    beyond = max_pool2d((crop == 0).all(-1).float()[None, None], 5, 1, 2)[..., 1:-1, 1:-1]
    seen = edges[beyond == 0]
    spread = float(seen.var()) if len(seen) > 1 else 0.0
    return spread / (spread + 30)


def _frontal(points: np.ndarray) -> float:
    """Returns 1 if the nose is midway between the eyes, falling to 0.1 if it is below one of them."""
    return float(np.clip(1 - _turn(points), 0.1, 1))


def yaw(points: np.ndarray) -> float:
    """Estimates the yaw of a head in degrees."""
    return float(np.degrees(np.arctan(1.35 * _turn(points))))  # between what two models of a head give, 1.2 and 1.5


def _turn(points: np.ndarray) -> float:
    """Returns the distance of the nose from the middle of the eyes, in halves of the eye distance."""
    left, right, nose = points[:3]
    eyes = right - left
    return abs(float(2 * (nose - (left + right) / 2) @ eyes / (eyes @ eyes)))

"""What makes a face tell more of a person."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from consistent_face.core.faces import Face
from consistent_face.core.quality import quality

FRONTAL = np.array([[38.0, 52], [74, 52], [56, 72], [42, 92], [70, 92]])


def face(seed: int, size: float = 112, score: float = 0.8, points: np.ndarray = FRONTAL) -> Face:
    random = torch.Generator().manual_seed(seed)
    crop = torch.rand(224, 224, 3, generator=random)
    return Face((0, 0, size, size), points, score, torch.randn(512, generator=random) * 5, crop)


def test_quality_of_each_kind() -> None:
    good = face(0, size=336, score=0.9)
    assert quality(good).size > quality(replace(good, box=(0, 0, 60, 80))).size
    assert quality(good).score == 0.9
    assert quality(good).sharpness > quality(replace(good, crop=good.crop.mean((0, 1)).expand(224, 224, 3))).sharpness
    turned = FRONTAL.copy()
    turned[2, 0] = 70  # the nose most of the way to one eye
    assert quality(good).frontal == 1
    assert quality(replace(good, points=turned)).frontal == pytest.approx(1 - 14 / 18)


def test_a_tilted_head_is_still_frontal() -> None:
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert quality(face(0, points=FRONTAL @ turn.T)).frontal == pytest.approx(1)

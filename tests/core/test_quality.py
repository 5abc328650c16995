"""The quality score of a face."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from consistent_face.core.faces.detection import Face
from consistent_face.core.faces.quality import quality, yaw

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


def test_the_edge_of_the_photo_is_no_sharpness() -> None:
    """A crop that reaches beyond its photo is black there."""
    cut = replace(face(0), crop=torch.full((224, 224, 3), 150 / 255))
    assert quality(cut).sharpness == 0
    cut.crop[:20] = 0
    assert quality(cut).sharpness == 0
    sharp = face(0)
    whole = quality(sharp).sharpness
    sharp.crop[:20] = 0
    assert quality(sharp).sharpness == pytest.approx(whole, abs=0.01)
    assert quality(replace(cut, crop=torch.zeros(224, 224, 3))).sharpness == 0


@pytest.mark.parametrize(("angle", "low", "high"), [(0, 0, 1), (30, 27, 45), (45, 40, 60), (70, 60, 80)])
def test_a_heads_turn_is_about_its_angle(angle: float, low: float, high: float) -> None:
    """Eyes one apart, the nose 0.35 of that before them."""
    turn = np.radians(angle)
    eye, nose = 0.5 * np.cos(turn), 0.35 * np.sin(turn)
    points = np.array([[-eye, 0], [eye, 0], [nose, 0.5], [-eye, 1], [eye, 1]])
    assert low <= yaw(points) <= high
    assert yaw(points * [-1, 1]) == pytest.approx(yaw(points))


def test_a_tilted_head_is_still_frontal() -> None:
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert quality(face(0, points=FRONTAL @ turn.T)).frontal == pytest.approx(1)

"""Photos turned in the picture plane: the same person at every angle, alone and in groups, and no cost upright."""

from collections.abc import Callable
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from consistent_face.core.faces.alignment import ARCFACE_POINTS, turn_of
from consistent_face.core.faces.analysis import FaceAnalyzer
from consistent_face.core.faces.detection import Choice, Face, WithoutFace, choose_faces
from consistent_face.core.identity.build import Identity
from consistent_face.core.identity.similarity import describe, score

Photo = Callable[[str], Tensor]
ALONE = ["astronaut", "grace_hopper", "person3_v0", "person6_v0"]
TOGETHER = {"person1_v0": 0, "person5_v0": 180, "person3_v0": 105, "person4_v0": 240, "person6_v0": 315}
SAME = 0.9


def turned(image: Tensor, degrees: float) -> Tensor:
    """Clockwise, on grey ground that is large enough."""
    height, width = image.shape[1:3]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    cos, sin = abs(matrix[0, :2])
    size = round(width * cos + height * sin), round(width * sin + height * cos)
    matrix[:, 2] += (np.array(size) - (width, height)) / 2
    return torch.from_numpy(cv2.warpAffine(image[0].numpy(), matrix, size, borderValue=(0.5, 0.5, 0.5)))[None]


def cosine(one: Face, other: Face) -> float:
    return float(one.unit @ other.unit)


@pytest.fixture(scope="module")
def upright(analyzer: FaceAnalyzer, photo: Photo) -> dict[str, Face]:
    return {stem: analyzer.analyze(photo(stem))[0].faces[0] for stem in {*ALONE, *TOGETHER}}


@pytest.mark.parametrize("degrees", [30, 45, 60, 90, 120, 135, 165, 180, 210, 255, 270, 300])
def test_the_person_is_the_same_at_every_angle(
    analyzer: FaceAnalyzer, photo: Photo, upright: dict[str, Face], degrees: int
) -> None:
    for stem in ALONE:
        (face,) = analyzer.analyze(turned(photo(stem), degrees))[0].faces
        assert cosine(face, upright[stem]) > SAME, stem
        assert abs((face.turn - upright[stem].turn - degrees + 180) % 360 - 180) < 10, stem


def test_the_crop_stands_upright(analyzer: FaceAnalyzer, photo: Photo, upright: dict[str, Face]) -> None:
    (face,) = analyzer.analyze(photo("astronaut").flip(1, 2))[0].faces
    right, wrong = (
        (face.crop - crop).abs().mean() for crop in (upright["astronaut"].crop, upright["astronaut"].crop.flip(0))
    )
    assert right < wrong / 3
    left, top, right, bottom = upright["astronaut"].box
    assert face.box == pytest.approx((512 - right, 512 - bottom, 512 - left, 512 - top), abs=12)


@pytest.mark.parametrize("size", [192, 448])
def test_a_group_whose_people_are_turned_differently(
    analyzer: FaceAnalyzer, photo: Photo, upright: dict[str, Face], size: int
) -> None:
    side = round(1.5 * size)
    canvas = torch.full((1, side, side * len(TOGETHER), 3), 0.4)
    for place, (stem, degrees) in enumerate(TOGETHER.items()):
        picture = photo(stem).movedim(-1, 1)
        small = torch.nn.functional.interpolate(picture, (size, size), mode="area").movedim(1, -1)
        tile = turned(small, degrees)[:, :side, :side]
        canvas[:, : tile.shape[1], place * side : place * side + tile.shape[2]] = tile
    found = analyzer.analyze(canvas)[0].faces
    assert len(found) == len(TOGETHER)
    for stem, face in zip(TOGETHER, found, strict=True):
        assert cosine(face, upright[stem]) > SAME, stem


def beside(image: Tensor, other: Tensor) -> Tensor:
    """Side by side from the top, on grey ground."""
    width = image.shape[2] + 40
    canvas = torch.full((1, max(image.shape[1], other.shape[1]), width + other.shape[2], 3), 0.45)
    canvas[:, : image.shape[1], : image.shape[2]] = image
    canvas[:, : other.shape[1], width:] = other
    return canvas


def sized(image: Tensor, size: int) -> Tensor:
    mode = "area" if size < image.shape[2] else "bicubic"
    return torch.nn.functional.interpolate(image.movedim(-1, 1), (size, size), mode=mode).clamp(0, 1).movedim(1, -1)


@pytest.mark.parametrize("degrees", [172, 180, 188])
def test_a_larger_turned_face_beside_an_upright_one_is_not_missed(
    analyzer: FaceAnalyzer, photo: Photo, upright: dict[str, Face], degrees: int
) -> None:
    large, small = turned(sized(photo("astronaut"), 700), degrees), sized(photo("person4_v0"), 180)
    marked, _ = choose_faces(analyzer.analyze(beside(small, large)), Choice(), WithoutFace.error)
    (chosen,) = marked[0].chosen
    assert cosine(marked[0].faces[chosen], upright["astronaut"]) > SAME


def test_a_face_that_scores_well_upside_down_is_read_upright(
    analyzer: FaceAnalyzer, photo: Photo, upright: dict[str, Face]
) -> None:
    large, small = turned(sized(photo("person1_v1"), 600), 180), sized(photo("person0_v0"), 250)
    faces = analyzer.analyze(beside(large, small))[0].faces
    assert cosine(max(faces, key=lambda face: face.size), upright["person1_v0"]) > 0.8  # another photo of the person


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_crowd_is_found_whole(analyzer: FaceAnalyzer, photo: Photo, quarters: int) -> None:
    crowd = torch.rot90(photo("group_solvay_1927"), quarters, (1, 2))
    found = analyzer.analyze(crowd)[0].faces
    assert len(found) == 29
    assert all(abs((face.turn + 90 * quarters + 180) % 360 - 180) < 30 for face in found)


@pytest.mark.parametrize("quarters", range(4))
def test_a_turned_cat_is_nobody(analyzer: FaceAnalyzer, photo: Photo, quarters: int) -> None:
    assert analyzer.analyze(torch.rot90(photo("cat"), quarters, (1, 2)))[0].faces == ()


@pytest.mark.parametrize("stem", ["astronaut", "person0_v0", "person2_v1"])
def test_an_upright_photo_is_looked_at_once(
    analyzer: FaceAnalyzer, photo: Photo, monkeypatch: pytest.MonkeyPatch, stem: str
) -> None:
    detector = Mock(wraps=analyzer._detector)
    monkeypatch.setattr(analyzer, "_detector", detector)
    assert len(analyzer.analyze(photo(stem))[0].faces) == 1
    assert detector.detect.call_count == 1


def test_the_threshold_holds_for_turned_faces(analyzer: FaceAnalyzer, photo: Photo) -> None:
    assert analyzer.analyze(photo("astronaut").flip(1, 2), threshold=0.93)[0].faces == ()


def test_the_report_tells_of_a_turned_face(analyzer: FaceAnalyzer, photo: Photo, upright: dict[str, Face]) -> None:
    found = analyzer.analyze(torch.rot90(photo("astronaut"), 1, (1, 2)))
    _, report = choose_faces(found, Choice(), WithoutFace.error)
    first, second = report.splitlines()
    assert first.startswith("Picture 1 of 1: 1 found, using face 1 (")
    assert second.startswith("Picture 1 of 1: face 1 is turned by ")
    assert second.endswith(" degrees counterclockwise in the photo, and was read upright.")
    face = upright["astronaut"]
    person = Identity(face.embedding[None], face.crop[None], torch.ones(1), analyzer.recognizer)
    line = describe(score(found, person, analyzer.recognizer), person, analyzer.recognizer).splitlines()[0]
    assert line.startswith("Picture 1: the same person, similarity 0.9") and "turned by" in line


@pytest.mark.parametrize("degrees", [-170, -90, -20, 0, 45, 90, 135])
def test_the_turn_of_landmarks(degrees: float) -> None:
    angle = np.radians(degrees)  # clockwise, since y points down
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert turn_of(ARCFACE_POINTS @ rotation.T * 3 + [40, -7]) == pytest.approx(degrees)

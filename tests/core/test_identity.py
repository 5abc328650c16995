"""One person from several faces."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from consistent_face.core.errors import IdentityError
from consistent_face.core.faces import Choice, Face, Faces, PhotoFaces, Recogniser, Select, WithoutFace, choose_faces
from consistent_face.core.identity import Identity, build_identity, quality
from consistent_face.core.insight import FaceAnalyzer

FRONTAL = np.array([[38.0, 52], [74, 52], [56, 72], [42, 92], [70, 92]])
MODEL = Recogniser("w600k_mbf", "9cc6")


def face(seed: int, size: float = 112, score: float = 0.8, points: np.ndarray = FRONTAL) -> Face:
    random = torch.Generator().manual_seed(seed)
    crop = torch.rand(224, 224, 3, generator=random)
    return Face((0, 0, size, size), points, score, torch.randn(512, generator=random) * 5, crop)


def group(*faces: Face, recogniser: Recogniser = MODEL) -> Faces:
    return Faces(tuple(PhotoFaces(500, 500, (each,), (0,)) for each in faces), recogniser)


def test_one_face_is_its_own_identity() -> None:
    only = face(0)
    identity, report = build_identity([group(only)])
    assert torch.equal(identity.embeddings, only.embedding[None]) and torch.equal(identity.crops, only.crop[None])
    assert identity.weights.tolist() == [1] and identity.recogniser == MODEL and not identity.is_empty
    assert torch.allclose(identity.unit, only.unit)
    assert report.splitlines()[0] == "1 face(s) read by w600k_mbf." and "weight 1.00" in report


def test_unit_is_the_weighted_mean_brought_back_to_length_one() -> None:
    one, other = face(0, size=112), face(1, size=336)  # the sizes count 1/2 and 3/4
    other = replace(other, crop=one.crop)
    identity, _ = build_identity([group(one), group(other)])
    assert identity.weights.tolist() == pytest.approx([0.4, 0.6])
    assert torch.allclose(identity.unit, normalize(0.4 * one.unit + 0.6 * other.unit, dim=0))
    assert identity.unit.norm() == pytest.approx(1)


def test_loud_embeddings_do_not_count_more() -> None:
    one, other = face(0), face(1)
    loud = replace(other, embedding=other.embedding * 100)
    assert torch.allclose(build_identity([group(one, loud)])[0].unit, build_identity([group(one, other)])[0].unit)


def test_order_is_kept_and_groups_are_joined() -> None:
    faces = [face(seed) for seed in range(4)]
    identity, _ = build_identity([group(*faces[:1]), group(), group(*faces[1:])])
    assert torch.equal(identity.embeddings, torch.stack([each.embedding for each in faces]))
    assert identity.weights.sum() == pytest.approx(1)


def test_only_chosen_faces_count() -> None:
    photo = PhotoFaces(500, 500, (face(0), face(1)), (1,))
    identity, _ = build_identity([Faces((photo,), MODEL)])
    assert torch.equal(identity.embeddings[0], photo.faces[1].embedding) and len(identity.embeddings) == 1


@pytest.mark.parametrize("groups", [[], [group()], [group(), group(recogniser=Recogniser("other", "1"))]])
def test_no_face_gives_the_empty_identity(groups: list[Faces]) -> None:
    identity, report = build_identity(groups)
    assert identity.is_empty and identity.recogniser is None and "empty" in report
    assert identity.embeddings.shape == (0, 512) and identity.crops.shape == (0, 224, 224, 3)
    assert identity.unit.tolist() == [0] * 512
    assert Identity.empty().is_empty


def test_different_recognisers_cannot_be_mixed() -> None:
    with pytest.raises(IdentityError, match=r"\(glintr100 and w600k_mbf\).*the same Load Face Analysis"):
        build_identity([group(face(0)), group(face(1), recogniser=Recogniser("glintr100", "4ab1"))])


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


def test_flat_faces_do_not_divide_by_zero() -> None:
    flat = replace(face(0), crop=torch.zeros(224, 224, 3))
    assert build_identity([group(flat, flat)])[0].weights.tolist() == pytest.approx([0.5, 0.5])


def test_photos_of_one_person(analyzer: FaceAnalyzer, photo: Callable[[str], Tensor]) -> None:
    batch = torch.cat([photo(f"person0_v{variant}") for variant in range(3)])
    marked, _ = choose_faces(analyzer.analyze(batch), Choice(Select.all), WithoutFace.error)
    identity, report = build_identity([Faces(tuple(marked), analyzer.recogniser)])
    assert len(report.splitlines()) == 4 and identity.weights.tolist() == pytest.approx([1 / 3] * 3, abs=0.05)
    assert (normalize(identity.embeddings, dim=1) @ identity.unit).min() > 0.9


def test_a_blurred_photo_counts_less(analyzer: FaceAnalyzer, photo: Callable[[str], Tensor]) -> None:
    sharp = photo("grace_hopper")
    small = torch.nn.functional.interpolate(sharp.movedim(-1, 1), scale_factor=0.2, mode="area")
    blurred = torch.nn.functional.interpolate(small, sharp.shape[1:3], mode="bicubic").clamp(0, 1).movedim(1, -1)
    marked, _ = choose_faces(analyzer.analyze(torch.cat([sharp, blurred])), Choice(), WithoutFace.error)
    identity, _ = build_identity([Faces(tuple(marked), analyzer.recogniser)])
    assert identity.weights[0] > 1.5 * identity.weights[1]

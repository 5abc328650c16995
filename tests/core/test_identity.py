"""One person from several faces."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from consistent_face.core.errors import IdentityError
from consistent_face.core.faces.analysis import FaceAnalyzer
from consistent_face.core.faces.detection import (
    Choice,
    Face,
    Faces,
    PhotoFaces,
    Recognizer,
    Select,
    WithoutFace,
    choose_faces,
)
from consistent_face.core.identity.build import Finding, Identity, Strangers, build_identity, describe, from_crops
from consistent_face.core.identity.report import DROPPED, KEPT, draw_report

KEEP = Strangers.keep  # random embeddings are strangers
FRONTAL = np.array([[38.0, 52], [74, 52], [56, 72], [42, 92], [70, 92]])
MODEL = Recognizer("w600k_mbf", "9cc6")


def face(seed: int, size: float = 112, score: float = 0.8, points: np.ndarray = FRONTAL) -> Face:
    random = torch.Generator().manual_seed(seed)
    crop = torch.rand(224, 224, 3, generator=random)
    return Face((0, 0, size, size), points, score, torch.randn(512, generator=random) * 5, crop)


def group(*faces: Face, recognizer: Recognizer = MODEL) -> Faces:
    return Faces(tuple(PhotoFaces(500, 500, (each,), (0,)) for each in faces), recognizer)


def test_one_face_is_its_own_identity() -> None:
    only = face(0)
    identity, (finding,) = build_identity([group(only)])
    assert torch.equal(identity.embeddings, only.embedding[None]) and torch.equal(identity.crops, only.crop[None])
    assert identity.weights.tolist() == [1] and identity.recognizer == MODEL and not identity.is_empty
    assert torch.allclose(identity.unit, only.unit)
    assert finding.kept and finding.weight == 1 and finding.similarity is None


def test_unit_is_the_weighted_mean_brought_back_to_length_one() -> None:
    one, other = face(0, size=112), face(1, size=336)  # the sizes count 1/2 and 3/4
    other = replace(other, crop=one.crop)
    identity, _ = build_identity([group(one), group(other)], KEEP)
    assert identity.weights.tolist() == pytest.approx([0.4, 0.6])
    assert torch.allclose(identity.unit, normalize(0.4 * one.unit + 0.6 * other.unit, dim=0))
    assert identity.unit.norm() == pytest.approx(1)


def test_loud_embeddings_do_not_count_more() -> None:
    one, other = face(0), face(1)
    loud = replace(other, embedding=other.embedding * 100)
    assert torch.allclose(
        build_identity([group(one, loud)], KEEP)[0].unit, build_identity([group(one, other)], KEEP)[0].unit
    )


def test_order_is_kept_and_groups_are_joined() -> None:
    faces = [face(seed) for seed in range(4)]
    identity, _ = build_identity([group(*faces[:1]), group(), group(*faces[1:])], KEEP)
    assert torch.equal(identity.embeddings, torch.stack([each.embedding for each in faces]))
    assert identity.weights.sum() == pytest.approx(1)


def test_only_chosen_faces_count() -> None:
    photo = PhotoFaces(500, 500, (face(0), face(1)), (1,))
    identity, _ = build_identity([Faces((photo,), MODEL)])
    assert torch.equal(identity.embeddings[0], photo.faces[1].embedding) and len(identity.embeddings) == 1


@pytest.mark.parametrize("groups", [[], [group()], [group(), group(recognizer=Recognizer("other", "1"))]])
def test_no_face_gives_the_empty_identity(groups: list[Faces]) -> None:
    identity, findings = build_identity(groups)
    assert identity.is_empty and identity.recognizer is None and findings == ()
    assert "the identity is empty" in describe(identity, findings)
    assert identity.embeddings.shape == (0, 512) and identity.crops.shape == (0, 224, 224, 3)
    assert identity.unit.tolist() == [0] * 512
    assert Identity.empty().is_empty


def test_different_recognizers_cannot_be_mixed() -> None:
    with pytest.raises(IdentityError, match=r"\(glintr100 and w600k_mbf\).*the same Load Face Analysis"):
        build_identity([group(face(0)), group(face(1), recognizer=Recognizer("glintr100", "4ab1"))])


def test_flat_faces_do_not_divide_by_zero() -> None:
    flat = replace(face(0), crop=torch.zeros(224, 224, 3))
    assert build_identity([group(flat, flat)])[0].weights.tolist() == pytest.approx([0.5, 0.5])


def test_photos_of_one_person(analyzer: FaceAnalyzer, photo: Callable[[str], Tensor]) -> None:
    batch = torch.cat([photo(f"person0_v{variant}") for variant in range(3)])
    marked, _ = choose_faces(analyzer.analyze(batch), Choice(Select.all), WithoutFace.error)
    identity, findings = build_identity([Faces(tuple(marked), analyzer.recognizer)])
    assert all(each.kept for each in findings) and identity.weights.tolist() == pytest.approx([1 / 3] * 3, abs=0.05)
    assert (normalize(identity.embeddings, dim=1) @ identity.unit).min() > 0.9


def test_a_blurred_photo_counts_less(analyzer: FaceAnalyzer, photo: Callable[[str], Tensor]) -> None:
    sharp = photo("grace_hopper")
    small = torch.nn.functional.interpolate(sharp.movedim(-1, 1), scale_factor=0.2, mode="area")
    blurred = torch.nn.functional.interpolate(small, sharp.shape[1:3], mode="bicubic").clamp(0, 1).movedim(1, -1)
    marked, _ = choose_faces(analyzer.analyze(torch.cat([sharp, blurred])), Choice(), WithoutFace.error)
    identity, _ = build_identity([Faces(tuple(marked), analyzer.recognizer)])
    assert identity.weights[0] > 1.5 * identity.weights[1]


# Strangers


def like(unit: Tensor, similarity: float, seed: int) -> Face:
    """A face whose embedding has this cosine with a unit vector."""
    other = torch.randn(512, generator=torch.Generator().manual_seed(seed))
    other = normalize(other - (other @ unit) * unit, dim=0)
    return replace(face(seed), embedding=20 * (similarity * unit + (1 - similarity**2) ** 0.5 * other))


def findings_of(*faces: Face, same_person: float = 0.4) -> tuple[Identity, tuple[Finding, ...]]:
    return build_identity([group(*faces)], same_person=same_person)


def kept(*faces: Face, same_person: float = 0.4) -> list[bool]:
    return [finding.kept for finding in findings_of(*faces, same_person=same_person)[1]]


PERSON = normalize(torch.randn(512, generator=torch.Generator().manual_seed(99)), dim=0)


def test_a_stranger_among_three_photos_is_dropped_wherever_it_stands() -> None:
    own = [like(PERSON, 0.9, seed) for seed in range(3)]
    stranger = like(PERSON, 0.05, 7)
    for place in range(4):
        faces = [*own[:place], stranger, *own[place:]]
        assert kept(*faces) == [number != place for number in range(4)]
    identity, findings = findings_of(stranger, *own)
    assert len(identity.embeddings) == len(identity.crops) == 3 and identity.weights.sum() == pytest.approx(1)
    assert findings[0].weight == 0 and not any(torch.equal(x, stranger.embedding) for x in identity.embeddings)
    assert torch.allclose(identity.unit, build_identity([group(*own)])[0].unit)
    similarity = findings[0].similarity
    assert similarity is not None and similarity == pytest.approx(float(stranger.unit @ identity.unit), abs=1e-6)


def test_two_strangers_do_not_outvote_three_photos_however_good() -> None:
    own = [replace(like(PERSON, 0.9, seed), score=0.6) for seed in range(3)]
    strangers = [replace(face(10), score=0.9), replace(face(11), score=0.9)]
    assert kept(*strangers, *own) == [False, False, True, True, True]


def test_of_two_strangers_the_better_face_stays() -> None:
    small, large = face(1, size=60), face(2, size=300)
    assert kept(small, large) == [False, True]
    assert kept(large, small) == [True, False]


def test_photos_that_vary_stay_and_one_much_unlike_the_rest_goes() -> None:
    varied = [like(PERSON, 0.75, seed) for seed in range(4)]  # 0.56 alike
    assert kept(*varied) == [True] * 4
    alike = [like(PERSON, 0.97, seed) for seed in range(3)]  # 0.94 alike
    assert kept(*alike, like(PERSON, 0.47, 9)) == [True, True, True, False]
    assert kept(*alike[:1], like(PERSON, 0.47, 9)) == [True, True], "two cannot tell"


def test_the_threshold_and_the_choice_are_free() -> None:
    pair = like(PERSON, 1, 1), like(PERSON, 0.5, 2)
    assert kept(*pair, same_person=0.45) == [True, True]
    assert kept(*pair, same_person=0.55).count(False) == 1
    _, findings = build_identity([group(*pair, face(3))], KEEP)
    assert [finding.kept for finding in findings] == [True] * 3


def test_the_report_says_of_each_face_what_became_of_it_and_why() -> None:
    identity, findings = findings_of(*(like(PERSON, 0.9, seed) for seed in range(3)), face(7))
    lines = describe(identity, findings).splitlines()
    assert lines[0] == "4 face(s) analyzed by w600k_mbf, 1 dropped."
    assert lines[1].startswith("Face 1: kept, weight 0.33 (similarity 0.") and "sharpness" in lines[1]
    assert lines[4].startswith("Face 4: dropped, similarity ") and lines[4].endswith("for this person.")


def test_a_real_stranger_is_dropped(analyzer: FaceAnalyzer, photo: Callable[[str], Tensor]) -> None:
    groups = []
    for stem in ("person0_v0", "person0_v1", "astronaut", "person0_v2"):
        marked, _ = choose_faces(analyzer.analyze(photo(stem)), Choice(), WithoutFace.error)
        groups.append(Faces(tuple(marked), analyzer.recognizer))
    _, findings = build_identity(groups)
    assert [finding.kept for finding in findings] == [True, True, False, True]
    picture = draw_report(findings)
    assert picture.shape[0] == 1 and picture.shape[1:3] == (324, 976)
    green, red = (torch.tensor(colour) / 255 for colour in (KEPT, DROPPED))
    frames = [picture[0, 100, 15 + place * 240] for place in range(4)]
    assert all(torch.allclose(frame, red if place == 2 else green) for place, frame in enumerate(frames))


def test_a_report_on_many_faces_breaks_its_rows_and_on_none_says_so() -> None:
    _, findings = build_identity([group(*(like(PERSON, 0.9, seed) for seed in range(7)))])
    many, none = draw_report(findings), draw_report(())
    assert many.shape[1] > 2 * 224 and many.shape[2] == 16 + 6 * 240
    assert none.std() > 0.05


def test_crops_alone_make_an_identity_without_embeddings() -> None:
    wide = torch.zeros(2, 100, 300, 3)
    wide[:, :, 100:200] = torch.rand(2, 1, 1, 3)
    identity = from_crops(wide)
    assert identity.crops.shape == (2, 224, 224, 3) and identity.weights.tolist() == [0.5, 0.5]
    assert not identity.is_empty and identity.recognizer is None and identity.embeddings.shape == (2, 0)
    assert (identity.crops - wide[:, :1, 150:151]).abs().max() < 0.003, "the square in the middle"
    assert torch.equal((identity.crops * 255).round() / 255, identity.crops)
    assert from_crops(torch.zeros(0, 1, 1, 3)).is_empty

"""Scores of pictures against an identity: the best face counts, and the verdict follows the threshold."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from consistent_face.core.errors import IdentityError
from consistent_face.core.faces.detection import Face, PhotoFaces, Recognizer
from consistent_face.core.identity.build import Identity, from_crops
from consistent_face.core.identity.similarity import Score, describe, ranking, score

MODEL = Recognizer("w600k_mbf", "9cc6")
PERSON = normalize(torch.randn(512, generator=torch.Generator().manual_seed(1)), dim=0)
OTHER = torch.randn(512, generator=torch.Generator().manual_seed(2))
OTHER = normalize(OTHER - (OTHER @ PERSON) * PERSON, dim=0)
IDENTITY = Identity(20 * PERSON[None], torch.zeros(1, 224, 224, 3), torch.ones(1), MODEL)


def like(similarity: float, left: float = 0) -> Face:
    embedding: Tensor = 15 * (similarity * PERSON + (1 - similarity**2) ** 0.5 * OTHER)
    return Face((left, 0, left + 100, 100), np.zeros((5, 2)), 0.8, embedding, torch.zeros(224, 224, 3))


def picture(*similarities: float) -> PhotoFaces:
    return PhotoFaces(900, 100, tuple(like(x, 100 * place) for place, x in enumerate(similarities)))


def test_the_face_most_like_the_identity_counts() -> None:
    scores = score([picture(0.1, 0.7, 0.3), picture(), picture(-0.2)], IDENTITY, MODEL)
    assert [each.face for each in scores] == [2, None, 1]
    assert [each.value for each in scores] == pytest.approx([0.7, 0, -0.2], abs=1e-6)
    assert [each.same(0.4) for each in scores] == [True, False, False]
    assert not Score().same(0), "no face is nobody, at any threshold"


def test_the_best_come_first_and_pictures_without_a_face_last() -> None:
    scores = [Score(), Score(0.2, 1), Score(0.9, 1), Score(-0.1, 1), Score(0.2, 2), Score()]
    assert ranking(scores) == [2, 1, 4, 3, 0, 5]
    assert ranking([]) == []


def test_the_verdict_names_threshold_and_recognizer() -> None:
    scores = score([picture(0.7), picture(0.3), picture()], IDENTITY, MODEL)
    assert describe(scores, IDENTITY, MODEL, 0.4).splitlines() == [
        "Picture 1: the same person, similarity 0.70 (face 1).",
        "Picture 2: someone else, similarity 0.30 (face 1).",
        "Picture 3: no face.",
        "Threshold for the same person: 0.40 (recognizer w600k_mbf).",
    ]


def test_nobody_is_like_nobody() -> None:
    (empty,) = score([picture(0.9)], Identity.empty(), MODEL)
    assert empty == Score() and "nobody to compare" in describe([empty], Identity.empty(), MODEL)


@pytest.mark.parametrize(
    ("identity", "source"),
    [(Identity(PERSON[None], IDENTITY.crops, torch.ones(1), Recognizer("glintr100", "4ab1")), "glintr100"),
     (from_crops(torch.zeros(1, 8, 8, 3)), "crops alone")],
)  # fmt: skip
def test_another_recognizer_is_refused_naming_both(identity: Identity, source: str) -> None:
    with pytest.raises(IdentityError, match=f"made with {source}, but the pictures are analyzed by w600k_mbf"):
        score([picture(0.9)], identity, MODEL)

"""Measures the similarity of the faces in pictures to an identity."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import IdentityError
from ..faces.detection import PhotoFaces, Recognizer, turned_by
from .build import Identity
from .recognizers import SAME_PERSON


@dataclass(frozen=True)
class Score:
    """The similarity (cosine) of a picture's most similar face, and the number of that face; None without a face."""

    similarity: float | None = None
    face: int | None = None
    turn: float = 0.0  # of that face's head in the picture plane, in degrees clockwise; 0 of one that is about upright

    @property
    def value(self) -> float:
        """The similarity as a number; 0, as for strangers, if there is no face."""
        return 0.0 if self.similarity is None else self.similarity

    def same(self, same_person: float) -> bool:
        return self.similarity is not None and self.similarity >= same_person


def score(photos: Sequence[PhotoFaces], identity: Identity, recognizer: Recognizer) -> list[Score]:
    """Returns one score per picture; raises IdentityError if its faces cannot be compared with the identity."""
    if identity.is_empty:
        return [Score() for _ in photos]
    if identity.recognizer is None or identity.recognizer.sha256 != recognizer.sha256:
        source = "crops alone" if identity.recognizer is None else identity.recognizer.name
        raise IdentityError(
            f"The identity was made with {source}, but the pictures are analyzed by {recognizer.name}, and their "
            "embeddings cannot be compared: choose the pack of the identity in Load Face Analysis."
        )
    return [_best(photo, identity) for photo in photos]


def _best(photo: PhotoFaces, identity: Identity) -> Score:
    similarities = [float(face.unit @ identity.unit) for face in photo.faces]
    if not similarities:
        return Score()
    best = max(range(len(similarities)), key=similarities.__getitem__)
    face = photo.faces[best]
    return Score(similarities[best], best + 1, face.turn if face.is_turned else 0.0)


def ranking(scores: Sequence[Score]) -> list[int]:
    """Returns the pictures' positions, the most similar first, pictures without a face last, ties in their order."""
    return sorted(range(len(scores)), key=lambda i: 2.0 if (found := scores[i].similarity) is None else -found)


def describe(
    scores: Sequence[Score], identity: Identity, recognizer: Recognizer, same_person: float = SAME_PERSON
) -> str:
    """Returns one line per picture with its verdict, and one with the threshold and the recognizer."""
    if identity.is_empty:
        return "The identity is empty: there is nobody to compare with."
    lines = [_sentence(number, each, same_person) for number, each in enumerate(scores, 1)]
    return "\n".join([*lines, f"Threshold for the same person: {same_person:.2f} (recognizer {recognizer.name})."])


def _sentence(number: int, each: Score, same_person: float) -> str:
    if each.similarity is None:
        return f"Picture {number}: no face."
    verdict = "the same person" if each.same(same_person) else "someone else"
    turned = f", {turned_by(each.turn)}" if each.turn else ""
    return f"Picture {number}: {verdict}, similarity {each.similarity:.2f} (face {each.face}{turned})."

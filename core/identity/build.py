"""Builds a person's identity from one or more faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ..errors import IdentityError
from ..faces.detection import Face, Faces, Recognizer
from ..faces.quality import Quality, quality
from ..image import on_white
from .recognizers import SAME_PERSON

CROP = 224  # pixels of a crop's side
UNLIKE = 0.6  # of the others' similarity: a face below this share is an outlier


@dataclass(frozen=True, eq=False)
class Identity:
    """The identity of one person; without any face (`is_empty`) it represents nobody."""

    embeddings: Tensor  # [N,512] float32, as the recognizer gives them; [N,0] of crops that none has read
    crops: Tensor  # [N,224,224,3] float32 0..1 RGB in steps of 1/255, aligned
    weights: Tensor  # [N], summing to 1
    recognizer: Recognizer | None

    @classmethod
    def empty(cls) -> "Identity":
        return cls(torch.zeros(0, 512), torch.zeros(0, CROP, CROP, 3), torch.zeros(0), None)

    @property
    def is_empty(self) -> bool:
        return len(self.embeddings) == 0

    @property
    def unit(self) -> Tensor:
        """[512]: the weighted mean of the unit embeddings, brought back to length 1."""
        return normalize(self.weights @ normalize(self.embeddings, dim=1), dim=0)


class Strangers(Enum):
    drop = "drop"
    keep = "keep"


@dataclass(frozen=True, eq=False)
class Finding:
    """The result for one face: kept or dropped, and why.

    `similarity` is the similarity to the other kept faces, None without others; `limit` is the limit of this person.
    """

    face: Face
    quality: Quality
    kept: bool
    weight: float
    similarity: float | None
    limit: float

    def sentence(self, number: int) -> str:
        similarity = "" if self.similarity is None else f"similarity {self.similarity:.2f} to the others, "
        if not self.kept:
            return f"Face {number}: dropped, {similarity}below the limit of {self.limit:.2f} for this person."
        parts = ", ".join(f"{name} {value:.2f}" for name, value in self.quality._asdict().items())
        return f"Face {number}: kept, weight {self.weight:.2f} ({similarity}{parts})."


def build_identity(
    groups: Sequence[Faces], strangers: Strangers = Strangers.drop, same_person: float = SAME_PERSON
) -> tuple[Identity, tuple[Finding, ...]]:
    """Joins the chosen faces into one identity, weighted by quality; leaves out the faces of other people.

    Raises IdentityError when the faces were analyzed by different recognizers. Without a face the identity is empty.
    """
    groups = [group for group in groups if group.chosen]
    if not groups:
        return Identity.empty(), ()
    _check_recognizer(groups)
    faces = [face for group in groups for face in group.chosen]
    qualities = [quality(face) for face in faces]
    units = torch.stack([face.unit for face in faces])
    shares = torch.tensor([each.product for each in qualities]).clamp(min=1e-4)  # a flat grey face has none
    kept, limit = torch.ones(len(faces), dtype=torch.bool), same_person
    if strangers is Strangers.drop:
        kept, limit = _one_person(units, shares, same_person)
    weights = torch.where(kept, shares, 0) / shares[kept].sum()
    similarities = [_similarity(units, weights, number) for number in range(len(faces))]
    rows = zip(faces, qualities, kept.tolist(), weights.tolist(), similarities, strict=True)
    embeddings, crops = (torch.stack([getattr(face, name) for face in faces])[kept] for name in ("embedding", "crop"))
    identity = Identity(embeddings, crops, weights[kept], groups[0].recognizer)
    return identity, tuple(Finding(*row, limit) for row in rows)


def from_crops(images: Tensor) -> Identity:
    """Makes an identity from pictures [N,H,W,3 or 4] of one face each, for adapters that read no embeddings.

    It uses the middle square. Without a picture it returns the empty identity.
    """
    if len(images) == 0:
        return Identity.empty()
    side = min(images.shape[1:3])
    top, left = ((length - side) // 2 for length in images.shape[1:3])
    square = on_white(images[:, top : top + side, left : left + side]).movedim(-1, 1)
    crops = interpolate(square, (CROP, CROP), mode="bicubic", antialias=True).movedim(1, -1)
    crops = crops.clamp(0, 1).mul(255).round() / 255
    return Identity(torch.zeros(len(crops), 0), crops, torch.full((len(crops),), 1 / len(crops)), None)


def describe(identity: Identity, findings: Sequence[Finding]) -> str:
    """Returns one line about all faces, and one per face."""
    if identity.recognizer is None:
        return "No face: the identity is empty and changes nothing."
    dropped = sum(not finding.kept for finding in findings)
    first = f"{len(findings)} face(s) analyzed by {identity.recognizer.name}, {dropped} dropped."
    return "\n".join([first, *(finding.sentence(n) for n, finding in enumerate(findings, 1))])


def _check_recognizer(groups: Sequence[Faces]) -> None:
    names = {group.recognizer.sha256: group.recognizer.name for group in groups}
    if len(names) > 1:
        raise IdentityError(
            f"The faces were analyzed by different recognizers ({' and '.join(sorted(names.values()))}), whose "
            f"embeddings cannot be mixed; analyze all photos with the same Load Face Analysis."
        )


def _one_person(units: Tensor, shares: Tensor, same_person: float) -> tuple[Tensor, float]:
    """Returns which faces belong to the person with the most quality in sum, and the limit of similarity for them.

    Of two different people the face with the higher quality stays. Among three or more faces, one with a much lower
    similarity than the rest is dropped even above `same_person`: a sister, or a bad photo.
    """
    alike = units @ units.T >= same_person
    alike.fill_diagonal_(True)
    centre = int((alike.float() @ shares).argmax())
    weights = torch.where(alike[centre], shares, 0)
    found = [_similarity(units, weights, number) for number in range(len(units))]
    similarities = torch.tensor([1.0 if similarity is None else similarity for similarity in found])
    limit = same_person
    if alike[centre].sum() >= 3:
        limit = max(limit, UNLIKE * float(similarities[alike[centre]].median()))
    kept = similarities >= limit
    kept[centre] = True
    return kept, limit


def _similarity(units: Tensor, weights: Tensor, number: int) -> float | None:
    others = weights.clone()
    others[number] = 0
    return float(units[number] @ normalize(others @ units, dim=0)) if others.any() else None

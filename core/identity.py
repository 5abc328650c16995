"""A person's identity from one or more faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, normalize

from .errors import IdentityError
from .faces import Face, Faces, Recogniser


@dataclass(frozen=True, eq=False)
class Identity:
    """What is known of one person; with no face (`is_empty`) it stands for nobody."""

    embeddings: Tensor  # [N,512] float32, as the recogniser gives them
    crops: Tensor  # [N,224,224,3] float32 0..1 RGB, aligned
    weights: Tensor  # [N], summing to 1
    recogniser: Recogniser | None

    @classmethod
    def empty(cls) -> "Identity":
        return cls(torch.zeros(0, 512), torch.zeros(0, 224, 224, 3), torch.zeros(0), None)

    @property
    def is_empty(self) -> bool:
        return len(self.embeddings) == 0

    @property
    def unit(self) -> Tensor:
        """[512]: the weighted mean of the unit embeddings, brought back to length 1."""
        return normalize(self.weights @ normalize(self.embeddings, dim=1), dim=0)


class Quality(NamedTuple):
    """How much a face tells of a person; each is between 0 and 1."""

    size: float  # 1/2 at 112 pixels, the recogniser's input
    score: float
    sharpness: float
    frontal: float

    @property
    def product(self) -> float:
        return self.size * self.score * self.sharpness * self.frontal


def build_identity(groups: Sequence[Faces]) -> tuple[Identity, str]:
    """Joins the chosen faces into one identity, weighted by quality, and reports on every face in one line.

    Raises IdentityError when the faces were read by different recognisers. No face at all gives the empty identity.
    """
    groups = [group for group in groups if group.chosen]
    if not groups:
        return Identity.empty(), "No face: the identity is empty and changes nothing."
    _check_recogniser(groups)
    faces = [face for group in groups for face in group.chosen]
    qualities = [quality(face) for face in faces]
    products = torch.tensor([each.product for each in qualities]).clamp(min=1e-4)  # a flat grey face has none
    weights = products / products.sum()
    identity = Identity(
        torch.stack([face.embedding for face in faces]),
        torch.stack([face.crop for face in faces]),
        weights,
        groups[0].recogniser,
    )
    return identity, _report(identity, qualities)


def quality(face: Face) -> Quality:
    return Quality(
        size=face.size / (face.size + 112),
        score=face.score,
        sharpness=_sharpness(face.crop),
        frontal=_frontal(face.points),
    )


def _check_recogniser(groups: Sequence[Faces]) -> None:
    names = {group.recogniser.sha256: group.recogniser.name for group in groups}
    if len(names) > 1:
        raise IdentityError(
            f"The faces were read by different recognisers ({' and '.join(sorted(names.values()))}), whose embeddings "
            f"cannot be mixed; analyse all photos with the same Load Face Analysis."
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


def _report(identity: Identity, qualities: Sequence[Quality]) -> str:
    lines = [
        f"Face {number}: weight {weight:.2f} (size {each.size:.2f}, score {each.score:.2f}, "
        f"sharpness {each.sharpness:.2f}, frontal {each.frontal:.2f})"
        for number, (weight, each) in enumerate(zip(identity.weights.tolist(), qualities, strict=True), 1)
    ]
    recogniser = identity.recogniser.name if identity.recogniser else ""
    return "\n".join([f"{len(lines)} face(s) read by {recogniser}.", *lines])

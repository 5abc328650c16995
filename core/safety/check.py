"""Judges whether pictures are safe for work, and conceals the unsafe ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..errors import ModelMissingError, WrongModelError
from ..image import on_white
from .conceal import Concealment, conceal


class Classifier(Protocol):
    """A model that gives each picture of [B,H,W,3] in 0..1 RGB the probability that it is unsafe."""

    def scores(self, images: Tensor) -> list[float]: ...


@dataclass(frozen=True)
class Verdict:
    """`score` is the probability that a picture is unsafe."""

    score: float
    unsafe: bool


def judge(images: Tensor, classifier: Classifier | None, threshold: float) -> tuple[Verdict, ...]:
    """Returns one verdict per picture of [B,H,W,3 or 4], composited on white; unsafe at a score of `threshold` or more.

    Raises ModelMissingError without a classifier, and WrongModelError if a score is no probability, so that no picture
    passes unchecked.
    """
    if len(images) == 0:
        return ()
    if classifier is None:
        raise ModelMissingError("The pictures cannot be checked without a classifier; connect Load Safety Classifier.")
    scores = classifier.scores(on_white(images))
    if len(scores) != len(images) or not all(-1e-3 <= score <= 1 + 1e-3 for score in scores):
        raise WrongModelError(
            f"The safety classifier gave {scores} for {len(images)} pictures instead of a probability each, so none "
            f"is passed on; check the description of the model, or choose another."
        )
    return tuple(Verdict(score, score >= threshold) for score in scores)


def guard(images: Tensor, verdicts: Sequence[Verdict], how: Concealment | None) -> Tensor:
    """Returns the batch with its unsafe pictures concealed; unchanged if `how` is None."""
    if how is None or not any(verdict.unsafe for verdict in verdicts):
        return images
    pairs = zip(images, verdicts, strict=True)
    return torch.stack([conceal(image, how) if verdict.unsafe else image for image, verdict in pairs])


def describe(verdicts: Sequence[Verdict]) -> str:
    """One line for each picture."""
    words = [f"{'unsafe' if verdict.unsafe else 'safe'} ({verdict.score:.3f})" for verdict in verdicts]
    return "\n".join(f"picture {number} of {len(words)}: {each}" for number, each in enumerate(words, 1))

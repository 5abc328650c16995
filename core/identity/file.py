"""Converts an identity to and from the tensors and the metadata of a .safetensors file."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import IdentityError
from ..faces.detection import Recognizer
from .build import CROP, Identity
from .recognizers import KNOWN

FORMAT = "consistent face identity 1"
TENSORS = {"embeddings", "crops", "weights"}


def to_file(identity: Identity) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns tensors (the crops as bytes) and metadata: the recognizer, its sha256, and its licence."""
    if identity.is_empty:
        raise IdentityError("The identity is empty, so there is nothing to save: connect one with a face.")
    metadata = {"format": FORMAT}
    if identity.recognizer is not None:
        name, sha256 = identity.recognizer.name, identity.recognizer.sha256
        licence = KNOWN[sha256].licence if sha256 in KNOWN else "unknown: that of the recognizer"
        metadata |= {"recogniser": name, "recogniser_sha256": sha256, "licence": licence}
    tensors = {
        "embeddings": identity.embeddings.float().contiguous(),
        "crops": (identity.crops * 255).round().byte().contiguous(),
        "weights": identity.weights.float().contiguous(),
    }
    return tensors, metadata


def from_file(name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Identity:
    """Returns the saved identity, bit for bit; raises IdentityError for any other content."""
    if metadata.get("format") != FORMAT or tensors.keys() != TENSORS:
        found = ", ".join(sorted(tensors)[:4]) or "no tensor"
        raise IdentityError(
            f'"{name}" is no identity (it holds {found}; format {metadata.get("format", "unknown")!r}): choose a file '
            "that Save Identity wrote."
        )
    embeddings, crops, weights = (tensors[key] for key in ("embeddings", "crops", "weights"))
    faces = len(embeddings)
    fits = (
        embeddings.ndim == 2
        and faces > 0
        and (embeddings.dtype, crops.dtype, weights.dtype) == (torch.float32, torch.uint8, torch.float32)
        and crops.shape == (faces, CROP, CROP, 3)
        and weights.shape == (faces,)
        and bool(embeddings.isfinite().all() and (weights >= 0).all() and abs(weights.sum() - 1) < 1e-3)
    )
    if not fits or ("recogniser" in metadata) != ("recogniser_sha256" in metadata):
        raise IdentityError(
            f'"{name}" is an identity whose numbers do not fit each other ({faces} faces): save it again with '
            "Save Identity."
        )
    recognizer = None
    if "recogniser" in metadata:
        recognizer = Recognizer(metadata["recogniser"], metadata["recogniser_sha256"])
    return Identity(embeddings, crops.float() / 255, weights, recognizer)

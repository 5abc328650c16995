"""Recognizes an adapter's kind: by its tensors, and where two kinds share all shapes, by hash, name or setting."""

import re
from collections.abc import Callable, Mapping
from enum import Enum

from torch import Tensor

from ..errors import WrongModelError


class Kind(Enum):
    FACEID = "FaceID"
    PLUS = "FaceID Plus"
    PLUS_V2 = "FaceID Plus v2"
    PORTRAIT = "FaceID Portrait"
    PORTRAIT_UNNORM = "FaceID Portrait unnorm"
    PLUS_FACE = "Plus Face"
    FULL_FACE = "Full Face"


AUTO = "auto"
SETTINGS = {AUTO: None, "plus": Kind.PLUS, "plus v2": Kind.PLUS_V2}
# FaceID Plus and Plus v2 for SD1.5 have the same tensors; these are the published files.
PUBLISHED = {
    "252fb53e0d018489d9e7f9b9e2001a52ff700e491894011ada7cfb471e0fadf2": Kind.PLUS,
    "26d0d86a1d60d6cc811d3b8862178b461e1eeb651e6fe2b72ba17aa95411e313": Kind.PLUS_V2,
}
# The input of each kind, by the tensor whose second dimension has its width.
EMBEDDING = {
    Kind.FACEID: "proj.0.weight",
    Kind.PLUS: "proj.0.weight",
    Kind.PLUS_V2: "proj.0.weight",
    Kind.PORTRAIT: "proj.0.weight",
    Kind.PORTRAIT_UNNORM: "proj_in.weight",
}
SIGHT = {
    Kind.PLUS: "perceiver_resampler.proj_in.weight",
    Kind.PLUS_V2: "perceiver_resampler.proj_in.weight",
    Kind.PLUS_FACE: "proj_in.weight",
    Kind.FULL_FACE: "proj.0.weight",
}
BLIND_WITHOUT_SIGHT = {Kind.PLUS, Kind.PLUS_FACE, Kind.FULL_FACE}  # Plus v2 alone can do without CLIP vision
SDXL_CONTEXT = 2048  # Plus v2 is the only Plus that was published for SDXL
EMBEDDING_WIDTH = 512  # of the recognizer; CLIP vision's states are wider
TOKENS = {4: Kind.FACEID, 16: Kind.PORTRAIT}  # of one face; all else is alike in these two


def recognize(name: str, projection: Mapping[str, Tensor], digest: Callable[[], str], setting: str = AUTO) -> Kind:
    """Returns the kind of the `image_proj` tensors; calls `digest` for the file's sha256 only in doubt."""
    if "perceiver_resampler.proj_in.weight" in projection:
        return SETTINGS[setting] or _plus(name, projection["perceiver_resampler.proj_in.weight"].shape[0], digest)
    if {"latents", "proj_in.weight"} <= projection.keys():
        embeds = projection["proj_in.weight"].shape[-1] == EMBEDDING_WIDTH
        return Kind.PORTRAIT_UNNORM if embeds else Kind.PLUS_FACE
    if {"proj.0.weight", "proj.3.weight"} <= projection.keys():
        return Kind.FULL_FACE
    if {"proj.0.weight", "proj.2.weight", "norm.weight"} <= projection.keys():
        tokens = projection["proj.2.weight"].shape[0] // projection["norm.weight"].shape[0]
        if tokens in TOKENS:
            return TOKENS[tokens]
    raise WrongModelError(
        f'"{name}" is an adapter of another kind than FaceID, Portrait, Plus Face or Full Face: '
        "choose one of these, such as ip-adapter-faceid-plusv2_sdxl.bin."
    )


def _plus(name: str, context: int, digest: Callable[[], str]) -> Kind:
    if context == SDXL_CONTEXT:
        return Kind.PLUS_V2
    return PUBLISHED.get(digest()) or _named(name)


def _named(name: str) -> Kind:
    if re.search(r"plus[-_ ]?v2", name, re.IGNORECASE):
        return Kind.PLUS_V2
    if "plus" in name.lower():
        return Kind.PLUS
    raise WrongModelError(
        f'"{name}" can be FaceID Plus or FaceID Plus v2, which have the same tensors, and neither its sha256 nor its '
        "name shows which one it is: set 'variant' to 'plus' or 'plus v2'."
    )

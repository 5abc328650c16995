"""Which FaceID adapter a file holds: by its tensors, and where two share all shapes, by hash, name or setting."""

import re
from collections.abc import Callable, Mapping
from enum import Enum

from torch import Tensor

from .errors import WrongModelError


class Kind(Enum):
    FACEID = "FaceID"
    PLUS = "FaceID Plus"
    PLUS_V2 = "FaceID Plus v2"


AUTO = "auto"
SETTINGS = {AUTO: None, "plus": Kind.PLUS, "plus v2": Kind.PLUS_V2}
# FaceID Plus and Plus v2 for SD1.5 have the same tensors; these are the published files.
PUBLISHED = {
    "252fb53e0d018489d9e7f9b9e2001a52ff700e491894011ada7cfb471e0fadf2": Kind.PLUS,
    "26d0d86a1d60d6cc811d3b8862178b461e1eeb651e6fe2b72ba17aa95411e313": Kind.PLUS_V2,
}
SDXL_CONTEXT = 2048  # Plus v2 is the only Plus that was published for SDXL
TOKENS = 4  # Portrait has the tensors of plain FaceID, and 16


def recognise(name: str, projection: Mapping[str, Tensor], digest: Callable[[], str], setting: str = AUTO) -> Kind:
    """The kind of the `image_proj` tensors; `digest` gives the file's sha256, and is asked only in doubt."""
    if "perceiver_resampler.proj_in.weight" in projection:
        return SETTINGS[setting] or _plus(name, projection["perceiver_resampler.proj_in.weight"].shape[0], digest)
    if {"proj.0.weight", "proj.2.weight", "norm.weight"} <= projection.keys():
        tokens = projection["proj.2.weight"].shape[0] // projection["norm.weight"].shape[0]
        if tokens == TOKENS:
            return Kind.FACEID
    raise WrongModelError(
        f'"{name}" is an adapter of another kind than FaceID, FaceID Plus or FaceID Plus v2: '
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
        "name tells which: set 'variant' to 'plus' or 'plus v2'."
    )

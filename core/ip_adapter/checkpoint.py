"""Reads an adapter's file, and checks whether it fits an identity."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..errors import IdentityError, WrongModelError
from ..faces.detection import Recognizer
from ..identity.build import Identity
from ..identity.recognizers import BUFFALO_L, GLINTR100, KNOWN, TRAINED_WITH
from .projection import build_projection
from .variants import AUTO, BLIND_WITHOUT_SIGHT, EMBEDDING, SIGHT, Kind, recognize

KOLORS_CONTEXT = 4096  # of its text encoder, ChatGLM3
LAYER_KEY = re.compile(r"(\d+)\.to_k_ip\.weight")


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter's file. `keys` and `values` [hidden, context]: one matrix per cross-attention, the middle block last.

    `lora` keeps the names of the file, `{n}.to_q_lora.down.weight`: n counts self- and cross-attentions alternately.
    `digest` gives the file's sha256, which takes seconds; `metadata` is that of a .safetensors file.
    """

    name: str
    kind: Kind
    projection: Mapping[str, Tensor]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    lora: Mapping[str, Tensor]
    digest: Callable[[], str]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def context(self) -> int:
        return self.keys[0].shape[1]

    @property
    def embedding(self) -> int | None:
        """Width of the face embeddings that the adapter reads; None if it reads none."""
        return self._width(EMBEDDING)

    @property
    def sight(self) -> int | None:
        """Width of the CLIP vision states that the adapter reads; None if it reads none."""
        return self._width(SIGHT)

    def _width(self, readers: Mapping[Kind, str]) -> int | None:
        return self.projection[readers[self.kind]].shape[1] if self.kind in readers else None


def read_adapter(
    name: str,
    tensors: object,
    digest: Callable[[], str],
    setting: str = AUTO,
    metadata: Mapping[str, str] | None = None,
) -> Adapter:
    """Makes an adapter from a file's content: two dictionaries, or flat names with prefixes (.safetensors)."""
    projection = _part(tensors, "image_proj")
    layers = _part(tensors, "ip_adapter") or _part(tensors, "adapter_modules")
    if not projection or not layers:
        raise WrongModelError(
            f'"{name}" is no IP-Adapter: it has no image_proj and ip_adapter tensors; '
            "choose a file such as ip-adapter-faceid-plusv2_sdxl.bin."
        )
    kind = recognize(name, projection, digest, setting)
    numbers = sorted(int(match[1]) for match in map(LAYER_KEY.fullmatch, layers) if match)
    lora = {key: tensor for key, tensor in layers.items() if "_lora." in key}
    try:
        _check(kind, projection, layers, numbers)
    except (LookupError, ValueError, RuntimeError) as error:
        raise WrongModelError(
            f'"{name}" looks like {kind.value}, but some of its tensors are missing or of a wrong shape: '
            "download the file again."
        ) from error
    keys, values = (tuple(layers[f"{n}.to_{x}_ip.weight"] for n in numbers) for x in "kv")
    return Adapter(name, kind, projection, keys, values, lora, digest, metadata or {})


def _part(tensors: object, name: str) -> dict[str, Tensor]:
    if not isinstance(tensors, Mapping):
        return {}
    nested = tensors.get(name)
    if not isinstance(nested, Mapping):
        prefix = f"{name}."
        nested = {key.removeprefix(prefix): x for key, x in tensors.items() if str(key).startswith(prefix)}
    return {key: x for key, x in nested.items() if isinstance(x, Tensor) and x.ndim and x.numel()}


def _check(kind: Kind, projection: Mapping[str, Tensor], layers: Mapping[str, Tensor], numbers: list[int]) -> None:
    context = build_projection(kind, projection).context
    if not numbers or numbers != list(range(1, 2 * len(numbers), 2)):
        raise ValueError("layers are missing")
    for n in numbers:
        keys, values = layers[f"{n}.to_k_ip.weight"], layers[f"{n}.to_v_ip.weight"]
        if keys.shape != values.shape or keys.shape[1] != context:
            raise ValueError(f"layer {n} does not fit the projection")


def check_identity(adapter: Adapter, identity: Identity, sees: bool) -> None:
    """Raises IdentityError if the adapter cannot encode the identity; `sees`: CLIP vision is connected."""
    if adapter.embedding is not None:
        _check_embeddings(adapter.name, adapter.embedding, identity)
        if identity.recognizer is not None:
            _check_recognizer(adapter, identity.recognizer)
    if adapter.kind in BLIND_WITHOUT_SIGHT and not sees:
        raise IdentityError(
            f'"{adapter.name}" is {adapter.kind.value}, which cannot encode a face without CLIP vision: '
            "connect Load CLIP Vision with CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors."
        )


def _check_embeddings(name: str, wanted: int, identity: Identity) -> None:
    found = identity.embeddings.shape[-1]
    if found == 0:
        raise IdentityError(
            f'"{name}" reads face embeddings, but the identity was made from crops and has none: build it with '
            "Analyze Faces, or use a Plus Face or Full Face adapter."
        )
    if found != wanted:
        recognizer = identity.recognizer.name if identity.recognizer else "an unknown recognizer"
        raise IdentityError(
            f'"{name}" reads face embeddings of {wanted} numbers, but the identity has {found} '
            f"(from {recognizer}): analyze the photos with buffalo_l."
        )


def trained_with(adapter: Adapter) -> str | None:
    """Returns the recognizer with which an adapter was trained, or None if it is unknown.

    A .safetensors file may name it in its metadata (name or sha256). A published file is known by its sha256, Kolors'
    adapters by their shape; for these the recognizer's sha256 is returned.
    """
    if named := adapter.metadata.get("recogniser"):
        return named
    if (known := TRAINED_WITH.get(adapter.digest())) is not None:
        return known
    return GLINTR100 if adapter.context == KOLORS_CONTEXT else None


def describe_recognizer(adapter: Adapter) -> str:
    """Describes the recognizer of an adapter in one sentence; empty if the adapter reads no embeddings."""
    if adapter.embedding is None:
        return ""
    wanted = trained_with(adapter)
    if wanted is None:
        return (
            f'"{adapter.name}" is no published file, so the recognizer that it was trained with is not known: with an '
            "identity of another one the pictures show somebody else."
        )
    name = KNOWN[wanted].name if wanted in KNOWN else wanted
    return f'"{adapter.name}" was trained with the recognizer {name}.'


def _check_recognizer(adapter: Adapter, found: Recognizer) -> None:
    """Refuses embeddings of another recognizer: they have the same shape but cannot be compared.

    An unknown recognizer may be a converted copy of a known one, so it is accepted.
    """
    if "recogniser" not in adapter.metadata and not _can_differ(adapter, found):
        return
    wanted = trained_with(adapter)
    found_name = KNOWN[found.sha256].name if found.sha256 in KNOWN else found.name  # AuraFace's file is glintr100.onnx
    if wanted in (None, found_name, found.sha256):
        return
    name, pack = (KNOWN[wanted].name, KNOWN[wanted].pack) if wanted in KNOWN else (wanted, wanted)
    raise IdentityError(
        f'"{adapter.name}" was trained with the recognizer {name}, but the identity was made with {found_name}: put '
        f"the InsightFace pack {pack} into models/insightface/models, and choose it in Load Face Analysis."
    )


def _can_differ(adapter: Adapter, found: Recognizer) -> bool:
    """Returns whether the file must be hashed: published adapters of other shapes were all trained with buffalo_l."""
    of_others = adapter.kind is Kind.PORTRAIT_UNNORM or adapter.context == KOLORS_CONTEXT
    return found.sha256 in KNOWN and (found.sha256 != BUFFALO_L or of_others)


def check_sight(adapter: Adapter, width: int) -> None:
    """Raises WrongModelError if the adapter does not read CLIP vision states of this width."""
    if width != adapter.sight:
        raise WrongModelError(
            f'"{adapter.name}" reads CLIP vision states of width {adapter.sight}, but the connected CLIP vision gives '
            f"{width}: load CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors."
        )

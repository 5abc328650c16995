"""An adapter's file: what is in it, and whether it fits an identity."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from .errors import IdentityError, WrongModelError
from .faces import Recogniser
from .identity import Identity
from .projection import build_projection
from .recognisers import BUFFALO_L, KNOWN, TRAINED_WITH_BUFFALO_L
from .variants import AUTO, BLIND_WITHOUT_SIGHT, EMBEDDING, SIGHT, Kind, recognise

LAYER_KEY = re.compile(r"(\d+)\.to_k_ip\.weight")


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter's file. `keys` and `values` [hidden, context]: one matrix a cross-attention, the middle block last.

    `lora` keeps the names of the file, `{n}.to_q_lora.down.weight`: n counts the self- and cross-attentions in turn.
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
        """Width of the face embeddings that it reads; None when it reads none."""
        return self._width(EMBEDDING)

    @property
    def sight(self) -> int | None:
        """Width of the CLIP vision states that it reads; None when it reads none."""
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
    """An adapter from a file's content: two dictionaries, or flat names with prefixes (.safetensors)."""
    projection = _part(tensors, "image_proj")
    layers = _part(tensors, "ip_adapter") or _part(tensors, "adapter_modules")
    if not projection or not layers:
        raise WrongModelError(
            f'"{name}" is no IP-Adapter: it has no image_proj and ip_adapter tensors; '
            "choose a file such as ip-adapter-faceid-plusv2_sdxl.bin."
        )
    kind = recognise(name, projection, digest, setting)
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
    """Raises IdentityError when the adapter cannot encode the identity; `sees`: CLIP vision is at hand."""
    if adapter.embedding is not None:
        _check_embeddings(adapter.name, adapter.embedding, identity)
        if identity.recogniser is not None:
            _check_recogniser(adapter, identity.recogniser)
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
        recogniser = identity.recogniser.name if identity.recogniser else "an unknown recogniser"
        raise IdentityError(
            f'"{name}" reads face embeddings of {wanted} numbers, but the identity has {found} '
            f"(from {recogniser}): analyse the photos with buffalo_l."
        )


def _check_recogniser(adapter: Adapter, found: Recogniser) -> None:
    """Embeddings of two recognisers look alike, but mean nothing to each other.

    A .safetensors file may name its recogniser. Of other files only the published ones are known; and a recogniser
    that nobody knows may be a known one converted, so it may pass.
    """
    wanted = adapter.metadata.get("recogniser", "")
    pack = wanted
    if not wanted and found.sha256 in KNOWN.keys() - {BUFFALO_L} and adapter.digest() in TRAINED_WITH_BUFFALO_L:
        wanted, pack, _ = KNOWN[BUFFALO_L]
    if wanted not in ("", found.name, found.sha256):
        raise IdentityError(
            f'"{adapter.name}" was trained with the recogniser {wanted}, but the identity was made with {found.name}: '
            f"analyse the photos with {pack}."
        )


def check_sight(adapter: Adapter, width: int) -> None:
    """Raises WrongModelError when CLIP vision states of this width are not what the adapter reads."""
    if width != adapter.sight:
        raise WrongModelError(
            f'"{adapter.name}" reads CLIP vision states of width {adapter.sight}, but the connected CLIP vision gives '
            f"{width}: load CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors."
        )

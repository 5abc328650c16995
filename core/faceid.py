"""IP-Adapter FaceID: an adapter's file, and an identity encoded by it into keys and values for every layer.

Source: the IP-Adapter paper (arXiv:2308.06721), github.com/tencent-ailab/IP-Adapter (Apache-2.0), and the files of
huggingface.co/h94/IP-Adapter-FaceID.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import IdentityError, WrongModelError
from .identity import Identity
from .projection import FacePlusProjection, FaceProjection, build_projection
from .variants import AUTO, Kind, recognise

LAYER_KEY = re.compile(r"(\d+)\.to_k_ip\.weight")


@dataclass(frozen=True, eq=False)
class Adapter:
    """A FaceID file. `keys` and `values` [hidden, context]: one matrix a cross-attention layer, the middle block last.

    `lora` keeps the names of the file, `{n}.to_q_lora.down.weight`: n counts the self- and cross-attentions in turn.
    """

    name: str
    kind: Kind
    projection: Mapping[str, Tensor]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    lora: Mapping[str, Tensor]

    @property
    def context(self) -> int:
        return self.keys[0].shape[1]

    @property
    def embedding(self) -> int:
        return self.projection["proj.0.weight"].shape[1]

    @property
    def sight(self) -> int | None:
        """Width of the CLIP vision states that it reads; None when it reads none."""
        reader = self.projection.get("perceiver_resampler.proj_in.weight")
        return None if reader is None else reader.shape[1]


@dataclass(frozen=True, eq=False)
class LayerTokens:
    """An identity's part of one layer: keys and values [2, T, hidden], row 0 for the positive prompt, row 1 without."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True, eq=False)
class EncodedIdentity:
    """What sampling needs of an identity: `base` as it is, and `structure` scaled by the structure weight.

    Keys and values are linear in the tokens, since their matrices have no bias; so both parts are encoded once and
    the weights stay free to change. `structure` is None in kinds that have none, and where CLIP vision was missing.
    """

    source: str = ""
    kind: Kind = Kind.FACEID
    context: int = 0
    base: tuple[LayerTokens, ...] = ()
    structure: tuple[LayerTokens, ...] | None = None
    lora: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.base

    def weighted(self, weight: float, structure: float) -> tuple[LayerTokens, ...]:
        """The layers' tokens at these weights; attention is linear in the values, so they carry the weight."""
        if self.structure is None and self.kind is Kind.PLUS_V2 and structure != 0:
            raise IdentityError(
                f'The identity was encoded with "{self.source}" but without CLIP vision, so a structure of {structure} '
                "has nothing to act on: connect CLIP vision to Encode Identity, or set structure to 0."
            )
        if self.structure is None:
            return tuple(LayerTokens(x.keys, x.values * weight) for x in self.base)
        return tuple(
            LayerTokens(x.keys + structure * r.keys, (x.values + structure * r.values) * weight)
            for x, r in zip(self.base, self.structure, strict=True)
        )


def read_adapter(name: str, tensors: object, digest: Callable[[], str], setting: str = AUTO) -> Adapter:
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
        _check(projection, layers, numbers)
    except (LookupError, ValueError, RuntimeError) as error:
        raise WrongModelError(
            f'"{name}" looks like {kind.value}, but some of its tensors are missing or of a wrong shape: '
            "download the file again."
        ) from error
    keys, values = (tuple(layers[f"{n}.to_{x}_ip.weight"] for n in numbers) for x in "kv")
    return Adapter(name, kind, projection, keys, values, lora)


def _part(tensors: object, name: str) -> dict[str, Tensor]:
    if not isinstance(tensors, Mapping):
        return {}
    nested = tensors.get(name)
    if not isinstance(nested, Mapping):
        prefix = f"{name}."
        nested = {key.removeprefix(prefix): x for key, x in tensors.items() if str(key).startswith(prefix)}
    return {key: x for key, x in nested.items() if isinstance(x, Tensor) and x.ndim and x.numel()}


def _check(projection: Mapping[str, Tensor], layers: Mapping[str, Tensor], numbers: list[int]) -> None:
    context = build_projection(projection).context
    if not numbers or numbers != list(range(1, 2 * len(numbers), 2)):
        raise ValueError("layers are missing")
    for n in numbers:
        keys, values = layers[f"{n}.to_k_ip.weight"], layers[f"{n}.to_v_ip.weight"]
        if keys.shape != values.shape or keys.shape[1] != context:
            raise ValueError(f"layer {n} does not fit the projection")


def check_identity(adapter: Adapter, identity: Identity, sees: bool) -> None:
    """Raises IdentityError when the adapter cannot encode the identity; `sees`: CLIP vision is at hand."""
    found = identity.embeddings.shape[-1]
    if found != adapter.embedding:
        recogniser = identity.recogniser.name if identity.recogniser else "an unknown recogniser"
        raise IdentityError(
            f'"{adapter.name}" reads face embeddings of {adapter.embedding} numbers, but the identity has {found} '
            f"(from {recogniser}): analyse the photos with buffalo_l."
        )
    if adapter.kind is Kind.PLUS and not sees:
        raise IdentityError(
            f'"{adapter.name}" is {adapter.kind.value}, which cannot encode a face without CLIP vision: '
            "connect Load CLIP Vision with CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors."
        )


def check_sight(adapter: Adapter, width: int) -> None:
    """Raises WrongModelError when CLIP vision states of this width are not what the adapter reads."""
    if width != adapter.sight:
        raise WrongModelError(
            f'"{adapter.name}" reads CLIP vision states of width {adapter.sight}, but the connected CLIP vision gives '
            f"{width}: load CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors."
        )


def project(
    projection: FaceProjection, unit: Tensor, shares: Tensor, sight: Tensor | None, blank: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Tokens of a unit embedding [E], and of its structure: each [2, T, context], rows as in LayerTokens.

    `sight` [N, L, width] are the states of N crops, whose structures are averaged by `shares` [N]; `blank`
    [1, L, width] those of a picture that is zero after CLIP's normalisation, which stands for no face.
    """
    tokens = projection(torch.stack([unit, torch.zeros_like(unit)]))
    if sight is None or blank is None or not isinstance(projection, FacePlusProjection):
        return tokens, None
    seen = projection.structure(tokens[:1].expand(len(sight), -1, -1), sight)
    unseen = projection.structure(tokens[1:], blank)
    return tokens, torch.cat([(seen * shares.view(-1, 1, 1)).sum(0, keepdim=True), unseen])


def encode(adapter: Adapter, tokens: Tensor, structure: Tensor | None) -> EncodedIdentity:
    """Runs tokens, and those of structure, through the matrices of all layers, in float32 where the adapter lies."""
    if adapter.kind is Kind.PLUS and structure is not None:
        tokens, structure = structure, None
    base = _through(adapter, tokens)
    scaled = None if structure is None else _through(adapter, structure)
    return EncodedIdentity(adapter.name, adapter.kind, adapter.context, base, scaled, adapter.lora)


def _through(adapter: Adapter, tokens: Tensor) -> tuple[LayerTokens, ...]:
    return tuple(
        LayerTokens(F.linear(tokens, keys.to(tokens)), F.linear(tokens, values.to(tokens)))
        for keys, values in zip(adapter.keys, adapter.values, strict=True)
    )

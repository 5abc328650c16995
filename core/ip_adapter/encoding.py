"""Encodes an identity by an IP-Adapter into keys and values for every layer of a model.

Source: the IP-Adapter paper (arXiv:2308.06721), github.com/tencent-ailab/IP-Adapter (Apache-2.0), and the files of
huggingface.co/h94/IP-Adapter-FaceID.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import IdentityError
from .checkpoint import Adapter
from .variants import Kind


@dataclass(frozen=True, eq=False)
class LayerTokens:
    """The identity tokens of one layer: keys and values [2, P, T, hidden] of P people.

    Row 0 belongs to the positive prompt, row 1 to all others. `counts` is each person's number of tokens if some have
    fewer than T; the rest is padding, which attention must ignore.
    """

    keys: Tensor
    values: Tensor
    counts: tuple[int, ...] = ()

    def person(self, number: int) -> "LayerTokens":
        one, own = slice(number, number + 1), slice(self.counts[number] if self.counts else None)
        return LayerTokens(self.keys[:, one, own], self.values[:, one, own])

    def mask(self) -> Tensor | None:
        """The mask [P, 1, T] that is added to the scores: minus infinity at the padding; None without padding."""
        if not self.counts:
            return None
        padding = torch.arange(self.keys.shape[2]) >= torch.tensor(self.counts).view(-1, 1, 1)
        return torch.zeros(padding.shape).masked_fill(padding, -torch.inf)


Layers = tuple[LayerTokens, ...]


@dataclass(frozen=True, eq=False)
class EncodedIdentity:
    """The encoded identity for sampling: `base` unscaled, and `structure` scaled by the structure weight.

    Keys and values are linear in the tokens, since their matrices have no bias; so both parts are encoded once and
    the weights can change later. `structure` is None for kinds without structure, and without CLIP vision. With several
    people, each picture of a batch shows one of them in turn or, with `together`, every picture shows all.
    """

    source: str = ""
    kind: Kind = Kind.FACEID
    context: int = 0
    base: Layers = ()
    structure: Layers | None = None
    lora: Mapping[str, Tensor] = field(default_factory=dict)
    together: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.base

    @property
    def people(self) -> int:
        return self.base[0].keys.shape[1] if self.base else 0

    def weighted(self, weights: Sequence[float], structure: float, keys_too: bool = False) -> Layers:
        """Returns the layers' tokens scaled by each layer's weight; attention is linear in the values.

        With `keys_too` the keys are scaled too: a low weight then also makes attention to the face less selective.
        """
        if self.structure is None and self.kind is Kind.PLUS_V2 and structure != 0:
            raise IdentityError(
                f'The identity was encoded with "{self.source}" but without CLIP vision, so a structure of {structure} '
                "has nothing to act on: connect CLIP vision to Encode Identity, or set structure to 0."
            )
        sums = self.base if self.structure is None else _added(self.base, self.structure, structure)
        return tuple(
            replace(x, keys=x.keys * weight if keys_too else x.keys, values=x.values * weight)
            for x, weight in zip(sums, weights, strict=True)
        )


def encode(adapter: Adapter, tokens: Tensor, structure: Tensor | None) -> EncodedIdentity:
    """Runs tokens [2, T, context], and those of structure, through the matrices of all layers, in float32."""
    base = _through(adapter, tokens)
    scaled = None if structure is None else _through(adapter, structure)
    return EncodedIdentity(adapter.name, adapter.kind, adapter.context, base, scaled, adapter.lora)


def combine(people: Sequence[EncodedIdentity], together: bool) -> EncodedIdentity:
    """Combines several people into one value, in their order; an empty one adds no face to its pictures.

    Raises IdentityError if they were encoded by different adapters, or only some with CLIP vision.
    """
    present = [person for person in people if not person.is_empty]
    if not present:
        return EncodedIdentity()
    first = present[0]
    for other in present:
        if other.source != first.source or other.kind is not first.kind:
            raise IdentityError(
                f'The identities were encoded by different adapters ("{first.source}" and "{other.source}"): encode '
                "all with one, or put one Apply Identity after another."
            )
        if (other.structure is None) != (first.structure is None):
            raise IdentityError(
                "Some of the identities were encoded with CLIP vision and some without: connect it to each "
                "Encode Identity, or to none."
            )
    base = _stacked([person.base for person in people])
    structure = None if first.structure is None else _stacked([person.structure or () for person in people])
    return replace(first, base=base, structure=structure, together=together)


def _through(adapter: Adapter, tokens: Tensor) -> Layers:
    tokens = tokens.unsqueeze(1)
    return tuple(
        LayerTokens(F.linear(tokens, keys.to(tokens)), F.linear(tokens, values.to(tokens)))
        for keys, values in zip(adapter.keys, adapter.values, strict=True)
    )


def _added(base: Layers, structure: Layers, scale: float) -> Layers:
    return tuple(
        replace(x, keys=x.keys + scale * r.keys, values=x.values + scale * r.values)
        for x, r in zip(base, structure, strict=True)
    )


def _stacked(people: Sequence[Layers]) -> Layers:
    """Stacks people side by side; pads people with fewer tokens (Portrait of fewer faces); an empty one is zeros."""
    present = [person for person in people if person]
    longest = max(person[0].keys.shape[2] for person in present)
    counts = tuple(count for person in people for count in (_counts(person[0]) if person else (longest,)))
    if set(counts) == {longest}:
        counts = ()
    layers = []
    for number, like in enumerate(present[0]):
        nobody = LayerTokens(torch.zeros_like(like.keys[:, :1]), torch.zeros_like(like.values[:, :1]))
        tokens = [person[number] if person else nobody for person in people]
        keys, values = (
            torch.cat([F.pad(x, (0, 0, 0, longest - x.shape[2])) for x in part], dim=1)
            for part in zip(*((each.keys, each.values) for each in tokens), strict=True)
        )
        layers.append(LayerTokens(keys, values, counts))
    return tuple(layers)


def _counts(tokens: LayerTokens) -> tuple[int, ...]:
    _, people, most, _ = tokens.keys.shape
    return tokens.counts or (most,) * people

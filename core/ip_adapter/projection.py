"""Projects a person into tokens: one network per adapter kind, named and shaped as in the published files.

Written from the IP-Adapter paper (arXiv:2308.06721) and the reference at github.com/tencent-ailab/IP-Adapter
(Apache-2.0). Every size is read from the tensors. Each network has `read`, which returns the tokens [2, T, context]
of a person (row 0) and of nobody (row 1), and the tokens of the structure if a setting scales it, or None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .resampler import Resampler
from .variants import Kind

Tokens = tuple[Tensor, Tensor | None]


@dataclass(frozen=True, eq=False)
class Reading:
    """The input of the networks for one person: N faces with embeddings of E numbers."""

    embeddings: Tensor  # [N, E], as the recognizer gives them
    unit: Tensor  # [E], of all faces together
    shares: Tensor  # [N], summing to 1
    sight: Tensor | None = None  # CLIP vision's penultimate hidden states of the crops [N, L, width]
    blank: Tensor | None = None  # the same of a crop of zeros after CLIP's normalisation [1, L, width]

    def to(self, device: torch.device) -> "Reading":
        moved: dict[str, Any] = {name: None if x is None else x.to(device) for name, x in vars(self).items()}
        return Reading(**moved)


class FaceProjection(nn.Module):
    """FaceID: a unit embedding becomes T tokens by two linear layers and a norm."""

    def __init__(self, weights: Mapping[str, Tensor], ops: Any) -> None:
        super().__init__()
        hidden, embedding = weights["proj.0.weight"].shape
        outputs = weights["proj.2.weight"].shape[0]
        self.context = weights["norm.weight"].shape[0]
        self.proj = nn.Sequential(ops.Linear(embedding, hidden), nn.GELU(), ops.Linear(hidden, outputs))
        self.norm = ops.LayerNorm(self.context)

    def forward(self, embedding: Tensor) -> Tensor:
        """[N, E] -> [N, T, context]; zeros give the unconditional tokens, which are not zero."""
        return self.norm(self.proj(embedding).unflatten(-1, (-1, self.context)))

    def read(self, person: Reading) -> Tokens:
        return self(torch.stack([person.unit, torch.zeros_like(person.unit)])), None


class PlusProjection(FaceProjection):
    """FaceID Plus and Plus v2: the same tokens also gather the CLIP vision states of the face."""

    def __init__(self, weights: Mapping[str, Tensor], ops: Any) -> None:
        super().__init__(weights, ops)
        prefix = "perceiver_resampler."
        part = {name.removeprefix(prefix): x for name, x in weights.items() if name.startswith(prefix)}
        self.perceiver_resampler = Resampler(part, ops)

    def read(self, person: Reading) -> Tokens:
        """Averages the structure of several crops by their shares; without CLIP vision there is no structure."""
        tokens, _ = super().read(person)
        if person.sight is None or person.blank is None:
            return tokens, None
        seen = self.perceiver_resampler(tokens[:1].expand(len(person.sight), -1, -1), person.sight)
        unseen = self.perceiver_resampler(tokens[1:], person.blank)
        return tokens, torch.cat([(seen * person.shares.view(-1, 1, 1)).sum(0, keepdim=True), unseen])


class PlusV1Projection(PlusProjection):
    """FaceID Plus has no shortcut past CLIP vision: all of its tokens are structure, unscaled."""

    def read(self, person: Reading) -> Tokens:
        tokens, structure = super().read(person)
        return tokens if structure is None else structure, None


class PortraitProjection(FaceProjection):
    """Portrait: tokens of each face, side by side."""

    def read(self, person: Reading) -> Tokens:
        units = normalize(person.embeddings, dim=1)
        return _side_by_side(self(units), self(torch.zeros_like(units[:1]))), None


class LatentProjection(Resampler):
    """Learned tokens that attend to a sequence."""

    def __init__(self, weights: Mapping[str, Tensor], ops: Any) -> None:
        super().__init__(weights, ops)
        self.latents = nn.Parameter(torch.empty(weights["latents"].shape))
        self.context = weights["proj_out.weight"].shape[0]

    def gather(self, sequences: Tensor) -> Tensor:
        """[N, L, seen] -> [N, T, context]."""
        return self(self.latents.to(sequences).expand(len(sequences), -1, -1), sequences)


class UnnormProjection(LatentProjection):
    """Portrait unnorm: the tokens attend to each face's embedding, which is not normalized."""

    def read(self, person: Reading) -> Tokens:
        faces = person.embeddings.unsqueeze(1)
        return _side_by_side(self.gather(faces), self.gather(torch.zeros_like(faces[:1]))), None


class PlusFaceProjection(LatentProjection):
    """Plus Face: the tokens attend to the CLIP vision states of each crop."""

    def read(self, person: Reading) -> Tokens:
        assert person.sight is not None and person.blank is not None
        return _side_by_side(self.gather(person.sight), self.gather(person.blank)), None


class FullFaceProjection(nn.Module):
    """Full Face: every hidden state of CLIP vision becomes a token."""

    def __init__(self, weights: Mapping[str, Tensor], ops: Any) -> None:
        super().__init__()
        hidden, seen = weights["proj.0.weight"].shape
        self.context = weights["proj.2.weight"].shape[0]
        layers = ops.Linear(seen, hidden), nn.GELU(), ops.Linear(hidden, self.context), ops.LayerNorm(self.context)
        self.proj = nn.Sequential(*layers)

    def read(self, person: Reading) -> Tokens:
        assert person.sight is not None and person.blank is not None
        return _side_by_side(self.proj(person.sight), self.proj(person.blank)), None


def _side_by_side(faces: Tensor, nobody: Tensor) -> Tensor:
    """Joins [N, T, context] and [1, T, context] to [2, N*T, context]; repeating nobody does not change attention."""
    return torch.stack([faces.flatten(0, 1), nobody.expand_as(faces).flatten(0, 1)])


Projection = FaceProjection | UnnormProjection | PlusFaceProjection | FullFaceProjection
NETWORKS: Mapping[Kind, type[Projection]] = {
    Kind.FACEID: FaceProjection,
    Kind.PLUS: PlusV1Projection,
    Kind.PLUS_V2: PlusProjection,
    Kind.PORTRAIT: PortraitProjection,
    Kind.PORTRAIT_UNNORM: UnnormProjection,
    Kind.PLUS_FACE: PlusFaceProjection,
    Kind.FULL_FACE: FullFaceProjection,
}


def build_projection(kind: Kind, weights: Mapping[str, Tensor], ops: Any = nn) -> Projection:
    """Builds the network of a file's `image_proj` tensors; it shares them without a copy.

    `ops` makes the layers: torch.nn, or ComfyUI's operations, which keep weights where its memory manager wants them.
    Raises LookupError, ValueError or RuntimeError if the tensors belong to no such network.
    """
    with torch.device("meta"):
        projection = NETWORKS[kind](weights, ops)
    projection.load_state_dict(dict(weights), assign=True)
    return projection.eval().requires_grad_(False)

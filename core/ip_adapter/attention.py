"""Adds an identity's attention to the result of one cross-attention layer."""

from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import IdentityError
from .encoding import LayerTokens
from .schedule import Options, Scope, conditional, pictures

Rows = tuple[Tensor, Tensor, Tensor | None]  # keys, values, and what is added to the scores


class Attention(Protocol):
    """ComfyUI's attention function: q, k, v [B, tokens, channels] -> [B, tokens of q, channels]."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, heads: int, /, **options: Any) -> Tensor: ...


class IdentityAttention:
    """Replaces the attention of one layer; ComfyUI calls it before the layer's output projection.

    `previous` is the earlier replacement of this layer, or None: a callable of the same form that may have the methods
    below; it still computes the layer's own result. Picture i of the batch shows person i, modulo the number of people.
    The tokens never change; a copy in the batch's order, on its device, is kept until the end of sampling.
    """

    def __init__(self, tokens: LayerTokens, scope: Scope, attention: Attention, previous: Any = None) -> None:
        self.tokens = tokens
        self.scope = scope
        self.attention = attention
        self.previous = previous
        self._rows: dict[object, Rows] = {}

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, options: Any) -> Tensor:
        own = self._attend(q, k, v, options) if self.previous is None else self.previous(q, k, v, options)
        positive = conditional(options)
        shown = tuple(pictures(options, q.shape[0] // len(positive)))
        keys, values, mask = self._expanded(q, positive, shown)
        face = self._attend(q, keys, values, options, mask)
        return own + self.scope.limit(face, options, len(positive))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, options: Options, mask: Tensor | None = None) -> Tensor:
        precision, heads = options.get("attn_precision"), options["n_heads"]
        return self.attention(q, k, v, heads, mask=mask, attn_precision=precision, transformer_options=options)

    def _expanded(self, q: Tensor, positive: tuple[bool, ...], shown: tuple[int, ...]) -> Rows:
        key = (positive, shown, q.device, q.dtype)
        if key not in self._rows:
            people = self.tokens.keys.shape[1]
            sides = [0 if follows else 1 for follows in positive for _ in shown]
            turns = [picture % people for _ in positive for picture in shown]
            mask = self.tokens.mask()
            mask = None if mask is None else mask[turns].to(q)
            self._rows[key] = (self.tokens.keys[sides, turns].to(q), self.tokens.values[sides, turns].to(q), mask)
        return self._rows[key]

    def to(self, target: torch.device | torch.dtype) -> "IdentityAttention":
        """Passes the device or dtype from ComfyUI to the previous replacement; this one follows the pictures."""
        moved = self.previous.to(target) if hasattr(self.previous, "to") else self.previous
        return self if moved is self.previous else IdentityAttention(self.tokens, self.scope, self.attention, moved)

    def add(self, *_: Any, **__: Any) -> None:
        """Refuses ComfyUI_IPAdapter_plus, which calls this to add itself and would change all models that share it."""
        raise IdentityError(
            "Another IP-Adapter comes after Apply Identity, and its pack would change the model that went in: put "
            "Apply Identity after it."
        )

    def models(self) -> list[Any]:
        return self.previous.models() if hasattr(self.previous, "models") else []

    def cleanup(self) -> None:
        """Frees the device memory; ComfyUI calls this at the end of sampling."""
        self._rows = {}
        self.scope.forget()
        if hasattr(self.previous, "cleanup"):
            self.previous.cleanup()

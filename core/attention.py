"""An identity in one cross-attention layer: the layer's own result, and the identity's attention added to it."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import IdentityError
from .faceid import LayerTokens

# Where sampling leaves the ids of the positive prompt's conds, among ComfyUI's transformer options.
POSITIVE = "consistent_face_positive"

Options = Mapping[str, Any]


class Attention(Protocol):
    """ComfyUI's attention function: q, k, v [B, tokens, channels] -> [B, tokens of q, channels]."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, heads: int, /, **options: Any) -> Tensor: ...


def conditional(options: Options) -> tuple[bool, ...]:
    """Which chunks of the batch follow the positive prompt.

    Guiders number their conds as they like (DualCFG counts the negative prompt first, PerpNeg the positive), so the
    ids decide; without them the number does, as in plain CFG.
    """
    positive = options.get(POSITIVE)
    if positive is None:
        return tuple(cond == 0 for cond in options.get("cond_or_uncond", (0,)))
    return tuple(uuid in positive for uuid in options["uuids"])


class Scope:
    """Where and when an identity acts: a mask [M, H, W] in 0..1, and a range of sigmas (first, last).

    Both act by tensor arithmetic, so nothing is read back from the device. What it remembers, it could find again:
    models that share it cannot tell.
    """

    def __init__(self, mask: Tensor | None = None, sigmas: tuple[float, float] | None = None) -> None:
        if mask is not None and mask.numel() == 0:
            raise IdentityError(
                f"The mask has no picture ({'x'.join(map(str, mask.shape))}), so the face would act nowhere: connect "
                "a mask of at least one pixel, or none for the whole picture."
            )
        self.mask = mask if mask is None or mask.ndim == 3 else mask.unsqueeze(0)
        self.sigmas = sigmas
        self._areas: dict[object, Tensor] = {}
        self._gate: tuple[object, Tensor | None] = (None, None)

    def each(self, people: int) -> list["Scope"]:
        """A scope for each of several people in one picture: to each their mask, in their order.

        Raises IdentityError when there are fewer masks than people.
        """
        masks = 0 if self.mask is None else len(self.mask)
        if self.mask is None or masks < people:
            raise IdentityError(
                f"{people} identities share the picture, but there are {masks} masks: connect one mask for each, as "
                "from Mask Faces, or remove identities."
            )
        return [Scope(mask, self.sigmas) for mask in self.mask[:people].split(1)]

    def limit(self, x: Tensor, options: Options, chunks: int) -> Tensor:
        """x [B, tokens, channels], zero outside the scope."""
        if self.sigmas is not None:
            x = x * self._open(options, self.sigmas).to(x.dtype)
        if self.mask is not None:
            x = x * self._area(self.mask, x, options, chunks)
        return x

    def forget(self) -> None:
        self._areas, self._gate = {}, (None, None)

    def _open(self, options: Options, sigmas: tuple[float, float]) -> Tensor:
        call = options.get("cond_or_uncond")  # a new list in each call of the UNet, the same for all its layers
        seen, gate = self._gate
        if gate is None or call is None or seen is not call:
            now = options["sigmas"][:1].view(1, 1, 1)  # one step is at one sigma, whatever the batch
            gate = (now <= sigmas[0]) & (now >= sigmas[1])
            self._gate = (call, gate)
        return gate

    def _area(self, mask: Tensor, x: Tensor, options: Options, chunks: int) -> Tensor:
        height, width = options["activations_shape"][-2:]
        key = (height, width, x.shape[0], chunks, x.device, x.dtype)
        if key not in self._areas:
            area = F.adaptive_avg_pool2d(mask.float().unsqueeze(1), (height, width)).flatten(2).transpose(1, 2)
            if len(area) > 1:  # picture i takes mask i, and begins again when there are fewer masks
                rows = [i % len(area) for i in range(x.shape[0] // chunks)]
                area = area[rows].repeat(chunks, 1, 1)
            self._areas[key] = area.to(x)
        return self._areas[key]


class IdentityAttention:
    """Replaces the attention of one layer; called as ComfyUI calls it, before the layer's output projection.

    `previous` is the replacement that stood here, or None, a callable of the same form that may have the methods
    below; it still makes the layer's own result. Picture i of the batch shows person i, beginning again when there
    are fewer people. The tokens are never changed; their rows in the batch's order, on its device, are kept until the
    end of sampling.
    """

    def __init__(self, tokens: LayerTokens, scope: Scope, attention: Attention, previous: Any = None) -> None:
        self.tokens = tokens
        self.scope = scope
        self.attention = attention
        self.previous = previous
        self._rows: dict[object, tuple[Tensor, Tensor]] = {}

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, options: Any) -> Tensor:
        own = self._attend(q, k, v, options) if self.previous is None else self.previous(q, k, v, options)
        positive = conditional(options)
        face = self._attend(q, *self._expanded(q, positive), options)
        return own + self.scope.limit(face, options, len(positive))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
        precision = options.get("attn_precision")
        return self.attention(q, k, v, options["n_heads"], attn_precision=precision, transformer_options=options)

    def _expanded(self, q: Tensor, positive: tuple[bool, ...]) -> tuple[Tensor, Tensor]:
        key = (positive, q.shape[0], q.device, q.dtype)
        if key not in self._rows:
            pictures, people = q.shape[0] // len(positive), self.tokens.keys.shape[1]
            sides = [0 if follows else 1 for follows in positive for _ in range(pictures)]
            turns = [picture % people for _ in positive for picture in range(pictures)]
            self._rows[key] = (self.tokens.keys[sides, turns].to(q), self.tokens.values[sides, turns].to(q))
        return self._rows[key]

    def to(self, target: torch.device | torch.dtype) -> "IdentityAttention":
        """ComfyUI announces a device or dtype; ours follows the pictures, but the replacement below may want it."""
        moved = self.previous.to(target) if hasattr(self.previous, "to") else self.previous
        return self if moved is self.previous else IdentityAttention(self.tokens, self.scope, self.attention, moved)

    def models(self) -> list[Any]:
        return self.previous.models() if hasattr(self.previous, "models") else []

    def cleanup(self) -> None:
        """ComfyUI calls this at the end of sampling: nothing stays on the device."""
        self._rows = {}
        self.scope.forget()
        if hasattr(self.previous, "cleanup"):
            self.previous.cleanup()

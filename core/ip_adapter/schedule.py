"""Limits where and when an identity acts, and reads what sampling passes in ComfyUI's transformer options."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..boxes import Crops
from ..errors import IdentityError

Options = Mapping[str, Any]
Area = tuple[float, float, float, float]  # left, top, right, bottom in shares of the picture

POSITIVE = "consistent_face_positive"  # the ids of the positive prompt's conds
AREAS = "consistent_face_areas"  # of the conds for a part of the picture: their ids -> Area
CROPS = "consistent_face_crops"  # core.boxes.Crops, where row i of each chunk is region i instead of picture i
SCHEDULE = "consistent_face_schedule"  # the current Schedule


class Schedule(Protocol):
    """ComfyUI's model_sampling."""

    def percent_to_sigma(self, percent: float) -> float: ...


def conditional(options: Options) -> tuple[bool, ...]:
    """Returns which chunks of the batch belong to the positive prompt.

    Guiders number their conds as they like (DualCFG counts the negative prompt first, PerpNeg the positive), so the
    ids decide; without ids the number decides, as in plain CFG.
    """
    positive = options.get(POSITIVE)
    if positive is None:
        return tuple(cond == 0 for cond in options.get("cond_or_uncond", (0,)))
    return tuple(uuid in positive for uuid in options["uuids"])


def pictures(options: Options, rows: int) -> Sequence[int]:
    """Returns the picture that each row of a chunk shows, whole or in part."""
    crops: Crops | None = options.get(CROPS)
    return range(rows) if crops is None else [region.picture for region in crops.regions]


class Scope:
    """Where and when an identity acts: a mask [M, H, W] of the pictures in 0..1, and a range of sampling (first, last).

    Both act by tensor arithmetic, so nothing is read back from the device. It only caches values, so models can share
    it. `weights` [N], one per row of a chunk, come from the refiner.
    """

    weights: Tensor | None = None

    def __init__(self, mask: Tensor | None = None, percents: tuple[float, float] | None = None) -> None:
        if mask is not None and mask.numel() == 0:
            raise IdentityError(
                f"The mask has no picture ({'x'.join(map(str, mask.shape))}), so the face would act nowhere: connect "
                "a mask of at least one pixel, or none for the whole picture."
            )
        self.mask = mask if mask is None or mask.ndim == 3 else mask.unsqueeze(0)
        self.percents = percents
        self._areas: dict[object, Tensor] = {}
        self._gate: tuple[object, Tensor | None] = (None, None)
        self._sigmas: tuple[object, tuple[float, float]] | None = None

    def each(self, people: int) -> list["Scope"]:
        """Returns one scope per person in one picture, each with its mask, in their order.

        Raises IdentityError if there are fewer masks than people.
        """
        masks = 0 if self.mask is None else len(self.mask)
        if self.mask is None or masks < people:
            raise IdentityError(
                f"{people} identities share the picture, but there are {masks} masks: connect one mask for each, as "
                "from Mask Faces, or remove identities."
            )
        return [Scope(mask, self.percents) for mask in self.mask[:people].split(1)]

    def limit(self, x: Tensor, options: Options, chunks: int) -> Tensor:
        """Sets x [B, tokens, channels] to zero outside the scope."""
        if self.percents is not None and SCHEDULE in options:  # outside of sampling there is no range
            x = x * self._open(options).to(x.dtype)
        if self.mask is not None:
            x = x * self._area(self.mask, x, options, chunks)
        if self.weights is not None:
            x = x * self._weighted(self.weights, x, chunks)
        return x

    def sigmas(self, schedule: Schedule) -> tuple[float, float]:
        """Returns the range in sigmas; caches the last one, so that sampling does not wait for it."""
        if self._sigmas is None or self._sigmas[0] is not schedule:
            first, last = self.percents or (0.0, 1.0)
            self._sigmas = (schedule, (schedule.percent_to_sigma(first), schedule.percent_to_sigma(last)))
        return self._sigmas[1]

    def forget(self) -> None:
        self._areas, self._gate = {}, (None, None)

    def _open(self, options: Options) -> Tensor:
        call = options.get("cond_or_uncond")  # a new list in each call of the UNet, the same for all its layers
        seen, gate = self._gate
        if gate is None or call is None or seen is not call:
            first, last = self.sigmas(options[SCHEDULE])
            now = options["sigmas"][:1].view(1, 1, 1)  # one step is at one sigma, whatever the batch
            gate = (now <= first) & (now >= last)
            self._gate = (call, gate)
        return gate

    def _area(self, mask: Tensor, x: Tensor, options: Options, chunks: int) -> Tensor:
        """Returns each row's part of its picture's mask, [B, tokens, 1]. Masks repeat in turn."""
        shape, rows = tuple(options["activations_shape"][-2:]), x.shape[0] // chunks
        crops, areas = options.get(CROPS), options.get(AREAS, {})
        places = tuple(areas.get(cond) for cond in options.get("uuids", ())) or (None,) * chunks
        key = (shape, rows, places, crops, x.device, x.dtype)
        if key not in self._areas:
            whole = mask.float().unsqueeze(1)
            seen = whole[[row % len(whole) for row in range(rows)]] if crops is None else crops.of_map(whole)
            parts = [F.adaptive_avg_pool2d(_part(seen, place), shape) for place in places]
            self._areas[key] = torch.cat(parts).flatten(2).transpose(1, 2).to(x)
        return self._areas[key]

    def _weighted(self, weights: Tensor, x: Tensor, chunks: int) -> Tensor:
        key = (chunks, x.device, x.dtype)
        if key not in self._areas:
            self._areas[key] = weights.repeat(chunks).view(-1, 1, 1).to(x)
        return self._areas[key]


def _part(maps: Tensor, area: Area | None) -> Tensor:
    """Cuts the area out of maps [M, 1, H, W], at least one pixel."""
    if area is None:
        return maps
    height, width = maps.shape[-2:]
    left, top = min(round(area[0] * width), width - 1), min(round(area[1] * height), height - 1)
    return maps[..., top : max(round(area[3] * height), top + 1), left : max(round(area[2] * width), left + 1)]

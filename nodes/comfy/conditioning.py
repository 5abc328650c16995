"""Cuts conditioning for regions: turns the conditioning of the whole picture into that of its crops."""

from enum import Enum
from typing import Any

import torch
from comfy.controlnet import ControlBase
from torch import Tensor

from ...core.boxes import Crops

Options = dict[str, Any]
Conditioning = list[list[Any]]  # ComfyUI's: pairs of a tensor and a dict
LATENT = 8  # ComfyUI counts areas in these pixels

# An inpaint model's picture and mask, of the whole: without them ComfyUI gives it the crop's own.
WHOLE_PICTURE = ("concat_latent_image", "concat_mask")
# It would let one item's bounds decide for a whole batch.
PER_BATCH = ("gligen", "set_area_to_bounds")


class Hints(Enum):
    """What happens to ControlNets in crops."""

    drop = "drop"
    recut = "recut"


def has_gligen(*conditionings: Conditioning) -> bool:
    return any("gligen" in options for conditioning in conditionings for _, options in conditioning)


class Follower:
    """Makes the conditioning of crops.

    `canvas` is the size (width, height) of the picture that areas refer to; the picture may be larger now.
    """

    def __init__(self, hints: Hints, canvas: tuple[int, int]) -> None:
        self.hints = hints
        self.canvas = canvas

    def follow(self, crops: Crops, *conditionings: Conditioning) -> list[Conditioning]:
        """One crop for each item of the batch. ControlNets are copied once and stay shared between conditionings."""
        copies: dict[ControlBase, ControlBase] = {}
        return [
            [[words, self._options(options, crops, copies)] for words, options in conditioning]
            for conditioning in conditionings
        ]

    def _options(self, whole: Options, crops: Crops, copies: dict[ControlBase, ControlBase]) -> Options:
        gone = {"area", "mask", "control", "control_apply_to_uncond", *WHOLE_PICTURE, *PER_BATCH}
        options = {name: value for name, value in whole.items() if name not in gone}
        mask = self._mask(whole, crops)
        if mask is not None:
            options["mask"] = mask
        if self.hints is Hints.recut and whole.get("control") is not None:
            options["control"] = _recut(whole["control"], crops, self.canvas, copies)
            options["control_apply_to_uncond"] = whole.get("control_apply_to_uncond", False)
        return options

    def _mask(self, options: Options, crops: Crops) -> Tensor | None:
        """Returns the crops [N,height,width] of the mask, the area, or both."""
        masks = []
        if options.get("mask") is not None:
            whole = options["mask"].float().cpu()
            masks.append(crops.of_map(whole.reshape(-1, 1, *whole.shape[-2:])).squeeze(1))
        if options.get("area") is not None:
            masks.append(crops.of_box(self._shares(options["area"])))
        return torch.stack(masks).prod(0) if masks else None

    def _shares(self, area: tuple[Any, ...]) -> tuple[float, float, float, float]:
        """Converts ComfyUI's area (height, width, top, left) to left, top, right, bottom in shares of the whole."""
        relative = area[0] == "percentage"
        numbers = [float(number) for number in area[1:]] if relative else [number * LATENT for number in area]
        middle = len(numbers) // 2
        height, width = numbers[middle - 2 : middle]
        top, left = numbers[-2:]
        across, down = (1, 1) if relative else self.canvas
        return left / across, top / down, (left + width) / across, (top + height) / down


def _recut(control: Any, crops: Crops, canvas: tuple[int, int], copies: dict[ControlBase, ControlBase]) -> ControlBase:
    """Copies a chain of ControlNets with its hints cut to the crops."""
    if control not in copies:
        copy = control.copy()
        copy.cond_hint_original = crops.of_map(_middle(control.cond_hint_original.float(), canvas))
        copy.extra_concat_orig = [crops.of_map(_middle(extra.float(), canvas)) for extra in control.extra_concat_orig]
        if control.previous_controlnet is not None:
            copy.set_previous_controlnet(_recut(control.previous_controlnet, crops, canvas, copies))
        copies[control] = copy
    return copies[control]


def _middle(hint: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Returns the part [...,h,w] of a hint that covers the picture: ComfyUI uses its middle at the canvas's aspect."""
    height, width = hint.shape[-2:]
    across, down = canvas
    x = max(0, round((width - height * across / down) / 2))
    y = max(0, round((height - width * down / across) / 2))
    return hint[..., y : height - y, x : width - x]

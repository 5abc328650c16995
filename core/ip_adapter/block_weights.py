"""Computes an identity's weight in each block of the UNet."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ..errors import IdentityError
from .unet_layers import ORDER, CrossAttention

Place = tuple[str, int]  # of a block, as the attention patches name it


class Curve(Enum):
    """The weight along the UNet, from the first block through the middle block to the last."""

    flat = "flat"
    rising = "rising"
    falling = "falling"
    peak = "peak"
    valley = "valley"


HEIGHTS = {  # at a depth of 0..1, where 0.5 is the middle block
    Curve.flat: lambda depth: 1.0,
    Curve.rising: lambda depth: depth,
    Curve.falling: lambda depth: 1 - depth,
    Curve.peak: lambda depth: 1 - abs(2 * depth - 1),
    Curve.valley: lambda depth: abs(2 * depth - 1),
}


class Scaling(Enum):
    """What the weight scales: values alone, or keys too, which makes attention less selective at a low weight."""

    values = "values"
    keys_and_values = "keys and values"


LIMITS = {"weight": 3.0, "structure": 2.0, "lora": 2.0}
RULE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?\s*:\s*(\d*\.?\d+)")


@dataclass(frozen=True)
class Strength:
    """`blocks` holds exceptions to the curve, "1-4: 0.5, 7: 0": blocks are counted from 1 along the UNet.

    Raises IdentityError if a number is out of range.
    """

    weight: float = 1.0
    structure: float = 1.0
    lora: float = 1.0
    curve: Curve = Curve.flat
    blocks: str = ""
    scaling: Scaling = Scaling.values

    def __post_init__(self) -> None:
        for name, highest in LIMITS.items():
            value = getattr(self, name)
            if not 0 <= value <= highest:  # false for NaN too
                raise IdentityError(f"The {name} is {value}: set it between 0 and {highest:g}.")

    def of(self, layers: Sequence[CrossAttention]) -> list[float]:
        """Returns the weight of each layer. Layers of one block share a weight: 16 blocks in SD1.5, 11 in SDXL."""
        places = [(layer.block, layer.number) for layer in layers]
        along = sorted(set(places), key=lambda place: (ORDER.index(place[0]), place[1]))
        factors = {place: HEIGHTS[self.curve](_depth(place, along)) for place in along}
        factors |= {along[number - 1]: factor for number, factor in _exceptions(self.blocks, len(along)).items()}
        return [self.weight * factors[place] for place in places]


def _depth(place: Place, along: Sequence[Place]) -> float:
    block, _ = place
    if block == "middle":
        return 0.5
    own = [each for each in along if each[0] == block]
    position = own.index(place)
    return 0.5 * position / len(own) if block == "input" else 0.5 + 0.5 * (position + 1) / len(own)


def _exceptions(text: str, count: int) -> dict[int, float]:
    factors = {}
    for rule in filter(None, (part.strip() for part in re.split(r"[,;\n]", text))):
        match = RULE.fullmatch(rule)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not 1 <= first <= last <= count or not math.isfinite(float(match[3])):
            raise IdentityError(
                f"{rule!r} in block_weights is no weight for blocks 1 to {count} of this model: write the block, or "
                "the first and the last, and a number, as in '1-4: 0.5, 7: 0'."
            )
        factors |= dict.fromkeys(range(first, last + 1), float(match[3]))
    return factors

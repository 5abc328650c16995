"""The weight of each block: curves, exceptions, and what is out of range."""

import math
from typing import Any

import pytest

from consistent_face.core.errors import IdentityError
from consistent_face.core.ip_adapter.block_weights import Curve, Strength
from consistent_face.core.ip_adapter.unet_layers import CrossAttention

# The blocks of SD1.5 with attention, in the files' order: input, output, middle.
PLACES = [("input", n) for n in (1, 2, 4, 5, 7, 8)] + [("output", n) for n in range(3, 12)] + [("middle", 0)]
SD15 = [CrossAttention(block, number, 0, "", 320, 768) for block, number in PLACES]


def along(strength: Strength) -> list[float]:
    """The weights of SD1.5's blocks in the order in which the picture passes them."""
    weights = strength.of(SD15)
    return weights[:6] + weights[15:] + weights[6:15]


def test_flat_is_the_weight_everywhere() -> None:
    assert Strength(weight=0.7).of(SD15) == [0.7] * 16


def test_curves_go_through_the_middle_block_at_half() -> None:
    rising = along(Strength(weight=2, curve=Curve.rising))
    assert rising[0] == 0 and rising[6] == 1 and rising[-1] == 2
    assert rising == sorted(rising) and len(set(rising)) == 16
    assert along(Strength(weight=2, curve=Curve.falling)) == pytest.approx([2 - each for each in rising])
    peak, valley = along(Strength(curve=Curve.peak)), along(Strength(curve=Curve.valley))
    assert peak.index(max(peak)) == 6 and max(peak) == 1 and peak[0] == peak[-1] == 0
    assert valley == pytest.approx([1 - each for each in peak])


def test_layers_of_one_block_share_its_weight() -> None:
    layers = [CrossAttention("input", 7, index, "", 1280, 2048) for index in range(10)]
    layers += [CrossAttention("middle", 0, index, "", 1280, 2048) for index in range(10)]
    assert Strength(blocks="2: 0.25").of(layers) == [1.0] * 10 + [0.25] * 10


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ("", [1.0] * 16),
        ("7: 0", [1.0] * 6 + [0.0] + [1.0] * 9),
        (" 1-3:0.5 , 3 : 2,\n16: .25", [0.5, 0.5, 2.0] + [1.0] * 12 + [0.25]),
        ("1 - 16: 0", [0.0] * 16),
    ],
)
def test_exceptions_are_counted_from_one_along_the_unet(blocks: str, expected: list[float]) -> None:
    assert along(Strength(weight=2, blocks=blocks)) == [2 * each for each in expected]


def test_exceptions_stand_in_for_the_curve() -> None:
    assert along(Strength(curve=Curve.rising, blocks="1: 1"))[:2] == [1, pytest.approx(1 / 12)]


@pytest.mark.parametrize("blocks", ["0: 1", "17: 1", "3-2: 1", "1", "a: 1", "1: -1", "1: nan", "1: 1e3", "1=2"])
def test_a_rule_for_no_block_is_refused_by_its_words(blocks: str) -> None:
    with pytest.raises(IdentityError, match=f"^{blocks!r} in block_weights is no weight for blocks 1 to 16"):
        Strength(blocks=f"2: 0.5, {blocks}").of(SD15)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": -0.1}, "The weight is -0.1: set it between 0 and 3"),
        ({"weight": 3.01}, "weight is 3.01"),
        ({"weight": math.nan}, "weight is nan"),
        ({"structure": 2.5}, "structure is 2.5: set it between 0 and 2"),
        ({"lora": math.inf}, "lora is inf"),
    ],
)
def test_numbers_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(IdentityError, match=message):
        Strength(**values)

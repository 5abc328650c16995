"""Identities encoded for all layers: linear in the weights, several people, and what cannot go together."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

from consistent_face.core.errors import IdentityError
from consistent_face.core.ip_adapter.checkpoint import Adapter, read_adapter
from consistent_face.core.ip_adapter.encoding import EncodedIdentity, combine, encode
from consistent_face.tests import adapters
from consistent_face.tests.adapters import SD15

LAYERS = (320, 640)


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.inference_mode():
        yield


def an_adapter(name: str = "plusv2.bin", half: bool = False) -> Adapter:
    file = {
        "image_proj": adapters.meta(adapters.plus_shapes(SD15)),
        "ip_adapter": adapters.random(adapters.layer_shapes(LAYERS, SD15), 3),
    }
    file = {part: {key: x.half() if half else x for key, x in tensors.items()} for part, tensors in file.items()}
    return read_adapter(name, file, lambda: "0" * 64)


def some(seed: int, count: int = 4) -> Tensor:
    return torch.randn(2, count, SD15, generator=torch.Generator().manual_seed(seed))


def person(seed: int, count: int = 4, structure: bool = True, name: str = "plusv2.bin") -> EncodedIdentity:
    return encode(an_adapter(name), some(seed, count), some(seed + 100, count) if structure else None)


@pytest.mark.parametrize("structure", [0.0, 0.5, 2.0])
def test_keys_and_values_are_linear_in_structure_and_values_in_weight(structure: float) -> None:
    adapter, x, r = an_adapter(), some(1), some(2)
    found = encode(adapter, x, r).weighted((0.7, 0.2), structure)
    for ours, keys, values, weight in zip(found, adapter.keys, adapter.values, (0.7, 0.2), strict=True):
        assert_close(ours.keys[:, 0], linear(x + structure * r, keys))
        assert_close(ours.values[:, 0], weight * linear(x + structure * r, values))


def test_keys_carry_the_weight_too_when_asked() -> None:
    plain, both = (person(1).weighted((0.5, 2.0), 1.0, keys_too) for keys_too in (False, True))
    for one, other, weight in zip(plain, both, (0.5, 2.0), strict=True):
        assert torch.equal(other.values, one.values) and torch.equal(other.keys, weight * one.keys)


def test_a_file_in_half_precision_is_encoded_in_single() -> None:
    adapter = an_adapter(half=True)
    layer = encode(adapter, some(1), None).base[0]
    assert layer.keys.dtype == torch.float32
    assert_close(layer.keys[:, 0], linear(some(1), adapter.keys[0].float()))


def test_plus_v2_without_sight_wants_structure_zero() -> None:
    blind = person(1, structure=False)
    assert len(blind.weighted((1, 1), 0)) == 2
    with pytest.raises(IdentityError, match=r"without CLIP vision.*structure of 0\.5.*or set structure to 0"):
        blind.weighted((1, 1), 0.5)


def test_an_empty_identity_is_empty() -> None:
    assert EncodedIdentity().is_empty and EncodedIdentity().people == 0
    assert not person(1).is_empty and person(1).people == 1


@pytest.mark.parametrize("together", [False, True])
def test_people_stand_side_by_side_in_their_order(together: bool) -> None:
    people = [person(seed) for seed in (1, 2, 3)]
    both = combine(people, together)
    assert (both.people, both.together, both.lora.keys()) == (3, together, people[0].lora.keys())
    for number, alone in enumerate(people):
        for ours, theirs in zip(both.weighted((1, 1), 0.5), alone.weighted((1, 1), 0.5), strict=True):
            assert torch.equal(ours.person(number).keys, theirs.keys)
            assert torch.equal(ours.person(number).values, theirs.values)


def attended(layer: EncodedIdentity, number: int) -> Tensor:
    """Attention to the tokens of one person, of all who stand side by side."""
    tokens = layer.base[0]
    q = torch.randn(2, 1, 9, LAYERS[0], generator=torch.Generator().manual_seed(9))
    q = q.expand(-1, tokens.keys.shape[1], -1, -1)
    return scaled_dot_product_attention(q, tokens.keys, tokens.values, attn_mask=tokens.mask())[:, number]


@pytest.mark.parametrize("structure", [False, True])
def test_people_of_different_numbers_of_faces_act_as_alone(structure: bool) -> None:
    """One of them is nobody, and two were combined before."""
    people = [person(seed, faces * 16, structure) for seed, faces in enumerate((5, 4, 3))]
    both = combine([combine(people[:2], False), EncodedIdentity(), people[2]], together=False)
    for layer in both.weighted((1, 1), 0.5 if structure else 0, keys_too=True):
        assert layer.keys.shape[:3] == (2, 4, 80), "as many tokens as the one with the most faces"
    for number, alone in zip((0, 1, 3), people, strict=True):
        torch.testing.assert_close(attended(both, number), attended(alone, 0))
        for ours, theirs in zip(both.weighted((1, 1), 0), alone.weighted((1, 1), 0), strict=True):
            assert torch.equal(ours.person(number).keys, theirs.keys), "no padding where a person stands alone"
    assert not attended(both, 2).any()


def test_nobody_among_people_adds_nothing() -> None:
    both = combine([EncodedIdentity(), combine([person(1), person(2)], False)], False)
    assert both.people == 3
    assert not both.base[0].person(0).values.any() and not attended(both, 0).any()
    assert torch.equal(both.base[1].person(2).keys, person(2).base[1].keys)
    assert combine([EncodedIdentity(), EncodedIdentity()], True).is_empty


def test_people_of_different_adapters_or_with_and_without_sight_are_refused() -> None:
    with pytest.raises(IdentityError, match=r'different adapters \("plusv2\.bin" and "my plusv2\.bin"\)'):
        combine([person(1), person(2, name="my plusv2.bin")], False)
    with pytest.raises(IdentityError, match="some without: connect it to each"):
        combine([person(1), person(2, structure=False)], False)

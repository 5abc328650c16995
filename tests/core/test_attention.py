"""An identity in one layer, against attention written out; rows, masks, ranges, and what stood there before."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from consistent_face.core.boxes import Crops, Region
from consistent_face.core.errors import IdentityError
from consistent_face.core.ip_adapter.attention import IdentityAttention
from consistent_face.core.ip_adapter.encoding import LayerTokens
from consistent_face.core.ip_adapter.schedule import AREAS, CROPS, POSITIVE, SCHEDULE, Scope, conditional

HEADS, WIDTH, TEXT = 2, 8, 5
HEIGHT, LENGTH = 4, 6


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None, **options: Any) -> Tensor:
    """softmax(q k^T / sqrt(d) + mask) v, head by head and row by row."""
    assert options.keys() == {"attn_precision", "transformer_options"}
    assert len(q) == len(k) == len(v)
    out, size = torch.zeros_like(q), q.shape[-1] // heads
    for row in range(len(q)):
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = q[row, :, part] @ k[row, :, part].T / size**0.5 + (0 if mask is None else mask[row])
            out[row, :, part] = scores.softmax(-1) @ v[row, :, part]
    return out


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def qkv(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    return (
        some(batch, HEIGHT * LENGTH, WIDTH, seed=1),
        some(batch, TEXT, WIDTH, seed=2),
        some(batch, TEXT, WIDTH, seed=3),
    )


def tokens(people: int = 1) -> LayerTokens:
    return LayerTokens(some(2, people, 4, WIDTH, seed=4), some(2, people, 4, WIDTH, seed=5))


def options(cond_or_uncond: tuple[int, ...] = (0,), sigma: float = 5.0, **more: Any) -> dict[str, Any]:
    return {
        "n_heads": HEADS,
        "attn_precision": None,
        "cond_or_uncond": list(cond_or_uncond),
        "sigmas": torch.tensor([sigma]),
        SCHEDULE: SimpleNamespace(percent_to_sigma={0.2: 8.0, 0.8: 2.0}.__getitem__),
        "activations_shape": [1, WIDTH, HEIGHT, LENGTH],
        **more,
    }


def patch(scope: Scope | None = None, previous: Any = None, people: int = 1) -> IdentityAttention:
    return IdentityAttention(tokens(people), scope or Scope(), attention, previous)


def face(q: Tensor, row: int, person: int = 0, people: int = 1) -> Tensor:
    """What a person's row of tokens adds to a picture [1, tokens, channels]."""
    own = tokens(people).person(person)
    return attention(q, own.keys[row], own.values[row], HEADS, attn_precision=None, transformer_options=None)


def own(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention(q, k, v, HEADS, attn_precision=None, transformer_options=None)


def expected(q: Tensor, k: Tensor, v: Tensor, rows: list[int]) -> Tensor:
    return own(q, k, v) + torch.cat([face(q[[i]], row) for i, row in enumerate(rows)])


@pytest.mark.parametrize(
    ("cond_or_uncond", "batch", "rows"),
    [
        ((0,), 1, [0]),
        ((1,), 1, [1]),
        ((1, 0), 2, [1, 0]),
        ((0, 1), 6, [0, 0, 0, 1, 1, 1]),
        ((0, 0, 1), 3, [0, 0, 1]),
        ((0,), 3, [0, 0, 0]),
    ],
    ids=["cond alone", "uncond alone", "both", "batch of three", "two regions", "skipped uncond"],
)
def test_the_identity_adds_its_attention_row_by_row(
    cond_or_uncond: tuple[int, ...], batch: int, rows: list[int]
) -> None:
    q, k, v = qkv(batch)
    assert_close(patch()(q, k, v, options(cond_or_uncond)), expected(q, k, v, rows))


@pytest.mark.parametrize("cond_or_uncond", [(0, 1), (1,), (1, 0)])
def test_each_picture_of_a_batch_shows_its_person_in_turn(cond_or_uncond: tuple[int, ...]) -> None:
    q, k, v = qkv(5 * len(cond_or_uncond))
    found = patch(people=3)(q, k, v, options(cond_or_uncond))
    sides = [(cond, picture % 3) for cond in cond_or_uncond for picture in range(5)]
    faces = [face(q[[i]], cond, person, people=3) for i, (cond, person) in enumerate(sides)]
    assert_close(found, own(q, k, v) + torch.cat(faces))


@pytest.mark.parametrize("cond_or_uncond", [(0, 1), (1,)])
def test_people_of_different_numbers_of_tokens_act_as_alone(cond_or_uncond: tuple[int, ...]) -> None:
    q, k, v = qkv(5 * len(cond_or_uncond))
    padded = LayerTokens(tokens(3).keys, tokens(3).values, (4, 1, 3))
    found = IdentityAttention(padded, Scope(), attention)(q, k, v, options(cond_or_uncond))
    for number in range(3):
        one = IdentityAttention(padded.person(number), Scope(), attention)
        assert one.tokens.keys.shape == (2, 1, padded.counts[number], WIDTH) and one.tokens.mask() is None
        alone = one(q, k, v, options(cond_or_uncond))
        for row in (row for row in range(len(q)) if row % 5 % 3 == number):
            assert_close(found[row], alone[row])


@pytest.mark.parametrize(
    ("uuids", "positive", "follows"),
    [
        (["n", "m", "p"], {"p"}, (False, False, True)),  # DualCFG
        (["e", "n", "p"], {"p"}, (False, False, True)),  # PerpNeg, in the order in which they are batched
        (["m"], {"p"}, (False,)),  # a batch split for memory
        (["p1", "n", "p2"], {"p1", "p2"}, (True, False, True)),
    ],
)
def test_ids_decide_which_rows_follow_the_positive_prompt(
    uuids: list[str], positive: set[str], follows: tuple[bool, ...]
) -> None:
    numbers = tuple(range(len(uuids)))
    assert conditional(options(numbers, uuids=uuids) | {POSITIVE: frozenset(positive)}) == follows


def test_without_ids_the_first_cond_is_positive() -> None:
    assert conditional(options((1, 0, 2))) == (False, True, False)
    assert conditional({}) == (True,)


@pytest.mark.parametrize(("sigma", "acts"), [(9.0, False), (8.0, True), (5.0, True), (2.0, True), (1.9, False)])
def test_outside_its_range_it_adds_nothing(sigma: float, acts: bool) -> None:
    q, k, v = qkv(1)
    found = patch(Scope(percents=(0.2, 0.8)))(q, k, v, options(sigma=sigma))
    assert torch.equal(found, expected(q, k, v, [0]) if acts else own(q, k, v))


def test_the_range_follows_the_steps_and_reads_nothing_back() -> None:
    q, k, v = qkv(1)
    gated = patch(Scope(percents=(0.2, 0.8)))
    for sigma, acts in ((9.0, False), (5.0, True), (1.0, False)):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            found = gated(q, k, v, options(sigma=sigma))
        assert torch.equal(found, expected(q, k, v, [0]) if acts else own(q, k, v))
        assert "aten::_local_scalar_dense" not in {event.key for event in profile.key_averages()}


def test_a_mask_limits_the_place_at_the_layers_resolution() -> None:
    q, k, v = qkv(2)
    mask = torch.zeros(1, 8 * HEIGHT, 8 * LENGTH)
    mask[:, : 8 * 2, : 8 * 3] = 1
    mask[:, 8 * 2 : 8 * 3, :4] = 1  # half a cell
    cells = torch.zeros(HEIGHT, LENGTH)
    cells[:2, :3] = 1
    cells[2, 0] = 0.5
    found = patch(Scope(mask))(q, k, v, options((1, 0)))
    faces = torch.cat([face(q[[0]], 1), face(q[[1]], 0)])
    assert_close(found, own(q, k, v) + faces * cells.view(1, -1, 1))


def test_each_picture_of_a_batch_has_its_mask() -> None:
    q, k, v = qkv(4)
    masks = torch.stack([torch.zeros(HEIGHT, LENGTH), torch.ones(HEIGHT, LENGTH)])
    found = patch(Scope(masks))(q, k, v, options((0, 1)))
    assert_close(found[[0, 2]], own(q, k, v)[[0, 2]])
    assert_close(found[[1, 3]], expected(q, k, v, [0, 0, 1, 1])[[1, 3]])


def test_people_in_one_picture_get_a_mask_each() -> None:
    masks = torch.stack([torch.zeros(HEIGHT, LENGTH), torch.ones(HEIGHT, LENGTH), torch.ones(HEIGHT, LENGTH)])
    one, other = Scope(masks, (0.2, 0.8)).each(2)
    assert one.mask is not None and other.mask is not None
    assert torch.equal(one.mask, masks[:1]) and torch.equal(other.mask, masks[1:2])
    assert one.percents == other.percents == (0.2, 0.8)


@pytest.mark.parametrize(("mask", "count"), [(None, 0), (torch.ones(2, 8, 8), 2), (torch.ones(8, 8), 1)])
def test_more_people_than_masks_are_refused(mask: Tensor | None, count: int) -> None:
    with pytest.raises(IdentityError, match=rf"^3 identities share the picture, but there are {count} masks: .*\.$"):
        Scope(mask).each(3)


@pytest.mark.parametrize("shape", [(0, 8, 8), (1, 0, 8), (8, 0)])
def test_an_empty_mask_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(IdentityError, match="The mask has no picture"):
        Scope(torch.zeros(shape))


def test_a_mask_smaller_than_the_layer_is_enlarged_without_blur() -> None:
    q, k, v = qkv(1)
    found = patch(Scope(torch.tensor([[[1.0, 0.0]]])))(q, k, v, options())
    cells = torch.zeros(HEIGHT, LENGTH)
    cells[:, : LENGTH // 2] = 1
    assert_close(found, own(q, k, v) + face(q, 0) * cells.view(1, -1, 1))


def test_a_mask_without_batch_dimension_will_do() -> None:
    q, k, v = qkv(1)
    assert torch.equal(patch(Scope(torch.zeros(HEIGHT, LENGTH)))(q, k, v, options()), own(q, k, v))


def test_in_a_part_of_the_picture_the_mask_keeps_its_place() -> None:
    """One chunk for the left half, one for the right half, and one for all of it."""
    q, k, v = qkv(3)
    mask = torch.zeros(1, HEIGHT, 2 * LENGTH)
    mask[..., :LENGTH] = 1
    areas = {"left": (0.0, 0.0, 0.5, 1.0), "right": (0.5, 0.0, 1.0, 1.0)}
    found = patch(Scope(mask))(q, k, v, options((0, 0, 0), uuids=["left", "right", "all"]) | {AREAS: areas})
    cells = torch.zeros(3, HEIGHT, LENGTH)
    cells[0] = 1
    cells[2, :, : LENGTH // 2] = 1
    faces = torch.cat([face(q[[row]], 0) for row in range(3)])
    assert_close(found, own(q, k, v) + faces * cells.view(3, -1, 1))


def test_rows_that_are_regions_take_their_pictures_person_and_part_of_the_mask() -> None:
    """Of two pictures, each twice as large as a region, the right half of the second and both of the first."""
    q, k, v = qkv(6)
    regions = tuple(Region(picture, left, 0, LENGTH, HEIGHT) for picture, left in ((1, LENGTH), (0, 0), (0, LENGTH)))
    crops = Crops(regions, (2 * LENGTH, HEIGHT), (8 * LENGTH, 8 * HEIGHT))
    masks = torch.zeros(2, HEIGHT, 2 * LENGTH)
    masks[0, :, :LENGTH] = 1
    masks[1, :, LENGTH:] = 0.5
    found = patch(Scope(masks), people=2)(q, k, v, options((0, 1)) | {CROPS: crops})
    strengths = [0.5, 1.0, 0.0] * 2
    faces = [face(q[[row]], row // 3, (1, 0, 0)[row % 3], people=2) for row in range(6)]
    inner = slice(1, LENGTH - 1)  # at the mask's edge the crop's own interpolation is seen
    grid = (found - own(q, k, v)).view(6, HEIGHT, LENGTH, WIDTH)[:, :, inner]
    wanted = torch.stack([strength * one[0] for strength, one in zip(strengths, faces, strict=True)])
    assert_close(grid, wanted.view(6, HEIGHT, LENGTH, WIDTH)[:, :, inner])


def test_each_row_has_its_weight() -> None:
    q, k, v = qkv(4)
    scope = Scope()
    scope.weights = torch.tensor([0.0, 0.5])
    faces = torch.cat([face(q[[row]], row // 2) for row in range(4)])
    found = patch(scope)(q, k, v, options((0, 1)))
    assert_close(found, own(q, k, v) + faces * torch.tensor([0.0, 0.5, 0.0, 0.5]).view(4, 1, 1))


def test_another_adapter_cannot_join_it_in_place() -> None:
    with pytest.raises(IdentityError, match="put Apply Identity after it"):
        patch().add(object(), weight=1.0)


def test_zero_values_leave_the_layer_exactly_as_it_was() -> None:
    q, k, v = qkv(2)
    silent = IdentityAttention(LayerTokens(tokens().keys, 0 * tokens().values), Scope(), attention, None)
    assert torch.equal(silent(q, k, v, options((0, 1))), own(q, k, v))


class Foreign:
    """Another pack's replacement, with the methods that ComfyUI calls."""

    def __init__(self, place: object = None) -> None:
        self.place, self.cleaned = place, 0

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, options: Any) -> Tensor:
        return 3 * q + options["n_heads"]

    def to(self, place: object) -> "Foreign":
        return Foreign(place)

    def models(self) -> list[str]:
        return ["its model"]

    def cleanup(self) -> None:
        self.cleaned += 1


def test_a_replacement_that_stood_there_still_makes_the_layers_result() -> None:
    q, k, v = qkv(1)
    found = patch(previous=Foreign())(q, k, v, options())
    assert_close(found, 3 * q + HEADS + face(q, 0))


def test_two_identities_add_up() -> None:
    q, k, v = qkv(1)
    found = patch(previous=patch())(q, k, v, options())
    assert_close(found, own(q, k, v) + 2 * face(q, 0))


def test_what_comfyui_tells_a_replacement_reaches_the_one_below() -> None:
    foreign = Foreign("cpu")
    first = patch(previous=foreign)
    moved = first.to(torch.device("meta"))
    assert moved is not first and foreign.place == "cpu"
    assert moved.previous.place == torch.device("meta")
    assert first.models() == ["its model"] and patch().models() == []
    first.cleanup()
    assert foreign.cleaned == 1
    assert patch().to(torch.float16).tokens.keys.dtype == torch.float32, "the pictures' dtype counts, not the model's"
    plain = patch()
    assert plain.to(torch.float16) is plain


def test_it_follows_the_pictures_dtype_and_forgets_after_sampling() -> None:
    q, k, v = (x.bfloat16() for x in qkv(2))
    layer = patch(Scope(torch.ones(1, 2, 2), (0.2, 0.8)))
    assert layer(q, k, v, options((0, 1))).dtype == torch.bfloat16
    assert layer(*qkv(2), options((0, 1))).dtype == torch.float32
    before = layer(*qkv(2), options((0, 1)))
    layer.cleanup()
    assert not layer._rows and not layer.scope._areas and layer.scope._gate == (None, None)
    assert torch.equal(layer(*qkv(2), options((0, 1))), before)


def test_tokens_are_never_changed() -> None:
    layer = patch(Scope(torch.full((1, 2, 2), 0.5)))
    for batch in (1, 2, 4):
        layer(*qkv(batch), options((0, 1)[:batch]))
    assert torch.equal(layer.tokens.keys, tokens().keys) and torch.equal(layer.tokens.values, tokens().values)

"""Equal tiles, their blending and their order; enlarging in float."""

import pytest
import torch
from torch import Tensor

from consistent_face.core.detail import upscale
from consistent_face.core.detail.noise import SharedNoise
from consistent_face.core.detail.tiles import Grid, Mode, is_flat, lay, spread
from consistent_face.core.detail.upscale import by_network, lanczos
from consistent_face.core.errors import ConsistentFaceError

LAYOUTS = [
    (2048, 2048, 1024, 96),
    (6144, 4096, 1024, 128),
    (832, 1152, 512, 64),  # where others leave a sliver of 128 pixels
    (64, 64, 1024, 96),
    (257, 300, 128, 64),  # three tiles meet
    (100, 2000, 512, 16),
]


@pytest.mark.parametrize(("width", "height", "side", "overlap"), LAYOUTS)
def test_tiles_are_equal_aligned_and_cover_everything(width: int, height: int, side: int, overlap: int) -> None:
    grid = lay(width, height, side, overlap)
    regions = list(grid.regions(0))
    assert len(regions) == len(grid)
    assert {(region.width, region.height) for region in regions} == {grid.size}
    assert all(side % 64 == 0 for side in grid.size) and max(grid.size) <= max(side, 64)
    assert all(region.left % 8 == 0 and region.top % 8 == 0 for region in regions)
    assert grid.columns.end >= width and grid.rows.end >= height
    for axis in (grid.columns, grid.rows):
        steps = [b - a for a, b in zip(axis.starts, axis.starts[1:], strict=False)]
        assert all(step + overlap - 8 <= axis.side for step in steps)
        assert not steps or max(steps) - min(steps) <= 8


@pytest.mark.parametrize(("width", "height", "side", "overlap"), LAYOUTS)
def test_the_windows_sum_to_one_without_a_step(width: int, height: int, side: int, overlap: int) -> None:
    grid = lay(width, height, side, overlap)
    for axis in (grid.columns, grid.rows):
        total = torch.zeros(axis.end)
        for start, ramp in zip(axis.starts, axis.ramps, strict=True):
            total[start : start + axis.side] += ramp
            steepest = ramp.diff().abs().max()
            assert steepest < 4 / overlap
            assert start == 0 or ramp[0] < 1 / overlap
        torch.testing.assert_close(total, torch.ones_like(total))


def test_tiles_are_no_larger_than_they_need_to_be() -> None:
    assert spread(2048, 1024, 128).side == 768  # three are needed: of 768 they suffice
    assert spread(2048, 1088, 128).starts == (0, 960)
    assert spread(700, 1024, 128).starts == (0,) and spread(700, 1024, 128).side == 704


def test_too_much_overlap_is_refused() -> None:
    with pytest.raises(ConsistentFaceError, match="Tiles of 128 pixels cannot overlap by 100"):
        lay(512, 512, 128, 100)


def test_turns() -> None:
    grid = lay(2048, 1400, 1024, 96)
    assert len(grid) == 6
    assert grid.turns(Mode.linear) == [[0], [1], [2], [3], [4], [5]]
    assert grid.turns(Mode.chess) == [[0, 2, 4], [1, 3, 5]]
    assert grid.turns(Mode.none) == []
    assert lay(512, 512, 1024, 96).turns(Mode.chess) == [[0]]


def test_a_colour_of_the_board_has_no_neighbours() -> None:
    grid = lay(3000, 3000, 1024, 64)
    across = len(grid.columns.starts)
    for turn in grid.turns(Mode.chess):
        for position in turn:
            row, column = divmod(position, across)
            assert not {position - across, position + across} & set(turn)
            assert column == 0 or position - 1 not in turn
            assert row >= 0


def test_flat_tiles_are_told_from_those_with_a_small_thing() -> None:
    background = 0.9 + 0.01 * torch.rand(256, 256, 3)
    assert is_flat(background)
    background[100:110, 100:110] = 0.1
    assert not is_flat(background)


def test_overlapping_tiles_see_the_same_noise() -> None:
    grid = lay(200, 128, 128, 64)
    regions = [*grid.regions(0), *grid.regions(1)]
    noise = SharedNoise(7, regions, 8)
    width = grid.size[0] // 8
    first, second = (noise(number, 0, (4, 16, width)) for number in (0, 1))
    step = regions[1].left // 8
    assert torch.equal(first[:, :, step:], second[:, :, : width - step])
    assert not torch.equal(first, noise(len(grid), 0, (4, 16, width)))  # of the second picture


# Enlarging


def picture(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 5, width), indexing="ij")
    return torch.stack([x.sin() / 2 + 0.5, y.cos() / 2 + 0.5, (x + y).sin() / 2 + 0.5], -1)


def test_lanczos_is_float_throughout() -> None:
    faint = 0.5 + 1e-4 * picture(20, 30)  # less than one of 255 levels
    large = lanczos(faint, 60, 40)
    assert large.shape == (40, 60, 3) and len(large.unique()) > 1000
    assert lanczos(faint, 30, 20) is faint


@pytest.mark.parametrize("size", [(96, 160), (64, 64), (37, 21)])
def test_a_network_sees_tiles_and_leaves_no_seam(size: tuple[int, int]) -> None:
    image, steps = picture(*size), []
    seen = []

    def network(pixels: Tensor) -> Tensor:
        seen.append(pixels.shape)
        return pixels.repeat_interleave(2, 2).repeat_interleave(2, 3)

    large = by_network(image, network, 2, 128, lambda: steps.append(1))
    assert len(set(seen)) == 1 and len(steps) == len(seen)
    expected = image.repeat_interleave(2, 0).repeat_interleave(2, 1)
    torch.testing.assert_close(large, expected)


def test_a_picture_too_large_for_a_network_is_reduced_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscale, "MAX_PIXELS", 10_000)
    image = torch.rand(60, 80, 3)
    assert upscale.reduce_for(image, 1) is image
    reduced = upscale.reduce_for(image, 4)
    assert reduced.shape == (21, 28, 3) and 16 * 21 * 28 <= 10_000


def test_a_grid_of_one_tile_is_all_ones() -> None:
    assert Grid(spread(60, 128, 32), spread(60, 128, 32)).window(0).eq(1).all()

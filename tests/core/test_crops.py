"""Cutting, framing, planning and pasting regions."""

import math

import pytest
import torch
from torch import Tensor

from consistent_face.core.boxes import Crops, Region, check_size, cut, resize
from consistent_face.core.detail.framing import clip, frame, refined_side, window
from consistent_face.core.detail.noise import OwnNoise
from consistent_face.core.detail.paste import Canvas, match, share
from consistent_face.core.detail.plan import make_plan
from consistent_face.core.detail.targets import Target, from_boxes, from_mask, from_sheet, unite
from consistent_face.core.errors import ConsistentFaceError
from consistent_face.core.openpose.heads import View
from consistent_face.core.openpose.presets import Preset, draw_preset


def picture(height: int = 48, width: int = 64, pictures: int = 1, channels: int = 3) -> Tensor:
    return torch.rand(pictures, height, width, channels, generator=torch.Generator().manual_seed(5))


def face(*box: float, picture: int = 0) -> Target:
    left, top, right, bottom = box
    return Target(picture, (left, top, right, bottom), "face")


# Crops


def test_a_region_beyond_the_picture_goes_on_with_its_border() -> None:
    image = picture()
    crop = cut(image, Region(0, -2, 46, 8, 6))
    assert torch.equal(crop[0, 2:], image[0, 46, :6])
    assert torch.equal(crop[5, :2], image[0, 47, 0].expand(2, 3))


def test_a_crop_comes_back_where_it_was_cut() -> None:
    """Cut, enlarged and reduced: the same picture, not moved by a part of a pixel."""
    x = torch.linspace(0, 1, 64).expand(48, 64)
    image = torch.stack([x, x.flip(1), torch.full_like(x, 0.5)], -1)[None]
    canvas, region = Canvas(image), Region(0, 10, 4, 30, 30)
    canvas.paste(region, canvas.cut(region, (96, 96)), torch.ones(30, 30))
    torch.testing.assert_close(canvas.result, image, atol=1e-3, rtol=0)


def test_maps_of_any_resolution_show_what_is_in_the_region() -> None:
    crops = Crops((Region(0, 32, 16, 16, 16), Region(1, 0, 0, 16, 16)), (64, 48), (32, 32))
    maps = torch.zeros(2, 1, 24, 32)  # half the pictures' resolution
    maps[0, :, 8:16, 16:24] = 1
    found = crops.of_map(maps)
    assert found.shape == (2, 1, 32, 32)
    assert found[0, 0, 4:-4, 4:-4].min() == 1 and found[1].max() == 0


def test_a_box_becomes_a_mask_in_the_region() -> None:
    crops = Crops((Region(0, 0, 0, 32, 48), Region(0, 32, 0, 32, 48)), (64, 48), (32, 48))
    masks = crops.of_box((0.25, 0.5, 1, 1))
    assert masks[0, 24:, 16:].min() == 1 and masks[0, :24].max() == 0 and masks[0, :, :16].max() == 0
    assert masks[1, 24:].min() == 1 and masks[1, :24].max() == 0


def test_too_many_pixels_are_refused_in_one_sentence() -> None:
    check_size(1, 8192, 8192)
    with pytest.raises(ConsistentFaceError, match=r"1 picture\(s\) of 16384x16384 pixels .* 160 million"):
        check_size(1, 16384, 16384)


# Pasting


def test_nothing_changes_where_the_window_is_zero_alpha_included() -> None:
    image = picture(channels=4)
    canvas, region = Canvas(image), Region(0, 8, 8, 32, 32)
    weight = window(face(20, 20, 28, 28), region, 0.5, 64, 48)
    canvas.paste(region, torch.zeros(64, 64, 3), weight)
    changed = (canvas.result != image).any(-1)[0]
    inside = torch.zeros(48, 64, dtype=torch.bool)
    inside[8:40, 8:40] = weight > 0
    assert not changed[~inside].any() and changed[20:28, 20:28].all()
    assert torch.equal(canvas.result[..., 3], image[..., 3]) and torch.equal(canvas.source, image)


def test_a_colour_cast_is_taken_out() -> None:
    image = picture()
    weight = window(face(20, 20, 28, 28), Region(0, 0, 0, 48, 48), 0.5, 64, 48).unsqueeze(-1)
    cast = image[0, :, :48] + torch.tensor([0.1, -0.05, 0.02])
    torch.testing.assert_close(match(cast, image[0, :, :48], weight), image[0, :, :48])
    assert torch.equal(match(cast, image[0, :, :48], torch.ones(48, 48, 1)), cast)  # no edge to measure it on


def test_overlapping_faces_share_what_both_cover() -> None:
    image = picture()
    regions = [Region(0, 0, 0, 40, 40), Region(0, 20, 0, 40, 40)]
    windows = share(regions, [torch.ones(40, 40)] * 2, image.shape)
    assert windows[0][5, 5] == 1 and windows[0][5, 25] == windows[1][5, 5] == 0.5
    results, crops = [], torch.rand(2, 40, 40, 3)
    for order in ((0, 1), (1, 0)):
        canvas = Canvas(image)
        for number in order:
            canvas.paste(regions[number], crops[number], windows[number])
        results.append(canvas.result)
    torch.testing.assert_close(results[0], results[1])
    assert results[0].max() <= 1


# Framing


@pytest.mark.parametrize("box", [(0, 0, 12, 10), (52, 38, 64, 48), (28, 20, 36, 28), (0, 0, 64, 48), (30, 0, 31, 1)])
def test_crops_are_squares_in_the_picture_with_the_face_whole(box: tuple[float, float, float, float]) -> None:
    target = face(*box)
    region = frame(target, 2, 64, 48)
    assert region.width == region.height >= 8
    assert region.left <= box[0] and region.right >= box[2] and region.top <= box[1] and region.bottom >= box[3]
    assert region.left >= 0 and region.right <= 64  # no crop is longer than the picture, so none leaves it lengthways
    weight = window(target, region, 0.25, 64, 48)
    left, top = math.ceil(box[0]) - region.left, math.ceil(box[1]) - region.top
    inner = weight[top : math.floor(box[3]) - region.top, left : math.floor(box[2]) - region.left]
    assert inner.min() == 1
    for edge, is_pictures in (
        (weight[:, 0], region.left <= 0),
        (weight[:, -1], region.right >= 64),
        (weight[0], region.top <= 0),
        (weight[-1], region.bottom >= 48),
    ):
        assert is_pictures or edge.max() < 0.2


def test_the_window_is_soft_and_ends_at_the_feather() -> None:
    weight = window(face(40, 40, 60, 60), Region(0, 20, 20, 60, 60), 0.5, 100, 100)
    across = weight[30]
    assert across[20:40].min() == 1 and across[:10].max() == 0
    steps = across.diff().abs()
    assert steps.max() < 0.2


def test_a_masks_shape_is_kept() -> None:
    mask = torch.zeros(1, 48, 64)
    mask[0, 10:30, 10:20] = 1
    mask[0, 20:30, 20:40] = 1
    mask[0, 40:46, 50:60] = 1
    targets = from_mask(mask, 1, 64, 48)
    assert [target.box for target in targets] == [(10, 10, 40, 30), (50, 40, 60, 46)]
    region = frame(targets[0], 1.5, 64, 48)
    weight = window(targets[0], region, 0.1, 64, 48)
    whole = torch.zeros(48, 64)
    rows, columns = slice(max(region.top, 0), min(region.bottom, 48)), slice(region.left, region.right)
    whole[rows, columns] = weight[rows.start - region.top : rows.stop - region.top]
    assert whole[25, 14] == 1 and whole[25, 30] == 1 and whole[12, 30] == 0 and whole[43, 55] == 0


@pytest.mark.parametrize(("size", "factor", "side"), [(384, 2, 768), (256, 2, 512), (341, 2, 704), (64, 1.2, 64)])
def test_crops_are_refined_at_a_multiple_of_64(size: int, factor: float, side: int) -> None:
    assert refined_side(size, factor) == side


def test_boxes_are_clipped_to_the_picture() -> None:
    assert clip((-5, 40, 10, 60), 64, 48) == (0, 40, 10, 48)
    assert clip((70, 0, 80, 10), 64, 48) is None


# Targets


def test_heads_follow_the_picture_and_give_way_to_faces_found_in_them() -> None:
    sheet = draw_preset(Preset.turnaround, 256, 128)
    heads = from_sheet(sheet, 1, 512, 256)
    assert [head.view for head in heads] == [head.view for head in sheet.heads]
    for ours, theirs in zip(heads, sheet.heads, strict=True):
        assert ours.box == tuple(2 * side for side in theirs.box)
    left, top, right, bottom = heads[0].box
    found = face(left + 2, top + 4, right - 2, bottom - 1)
    assert unite([found], heads) == [found, *heads[1:]]
    assert unite([face(0, 0, 8, 8, picture=1)], heads)[1:] == heads


def test_a_sheet_of_another_aspect_is_refused() -> None:
    sheet = draw_preset(Preset.turnaround, 256, 128)
    with pytest.raises(ConsistentFaceError, match=r"sheet is 256x128 and the picture 256x256, of another aspect"):
        from_sheet(sheet, 1, 256, 256)


BOX = {"x": 3, "y": 4, "width": 10, "height": 20}


@pytest.mark.parametrize("boxes", [BOX, [BOX], [[BOX]], [[BOX], [BOX]]])
def test_boxes_come_in_several_forms(boxes: object) -> None:
    found = from_boxes(boxes, 2)
    assert [(target.picture, target.box) for target in found] == [(0, (3, 4, 13, 24)), (1, (3, 4, 13, 24))]


def test_boxes_of_other_pictures_are_refused_and_views_are_heeded() -> None:
    assert from_boxes([], 2) == [] and from_boxes([[], [BOX]], 2)[0].picture == 1
    with pytest.raises(ConsistentFaceError, match=r"boxes for 3 pictures, and 2 picture"):
        from_boxes([[BOX], [BOX], [BOX]], 2)
    assert from_boxes([{**BOX, "label": "side"}], 1)[0].view is View.side


def test_an_empty_mask_adds_nothing_and_one_mask_serves_all_pictures() -> None:
    assert from_mask(torch.zeros(1, 1, 1), 2, 64, 48) == []
    mask = torch.zeros(1, 24, 32)
    mask[0, 2:8, 2:8] = 1
    assert [target.picture for target in from_mask(mask, 2, 64, 48)] == [0, 1]


# The plan


def test_backs_and_small_faces_are_left_alone_and_reported() -> None:
    targets = [
        face(8, 8, 28, 30),
        Target(0, (30, 8, 50, 30), "head", View.back, 0),
        face(50, 2, 55, 7),
        face(90, 90, 120, 120),
        Target(0, (40, 20, 60, 44), "head", View.side, 0.5),
    ]
    plan = make_plan(targets, picture(), 2, 0.25, 16)
    assert plan.targets[1].view is View.side and len(plan.targets) == len(plan.regions) == len(plan.windows) == 2
    assert [why for _, why in plan.left] == ["seen from the back", "smaller than 16 pixels", "outside the picture"]
    report = plan.report(128, 2.0, 0.8).split("\n")
    assert report[0] == "Picture 1, face 1: 22 pixels, refined at 64, identity 0.80."
    assert report[1] == "Picture 1, head 2, side: 24 pixels, refined at 64, identity 0.40."
    assert report[2] == "Picture 1, a head: left alone, seen from the back."
    assert plan.preview(picture()).shape == (1, 48, 64, 3)


def test_a_close_up_is_reported_as_it_is_refined() -> None:
    """Its crop is no larger than the picture: 1024 pixels at 768, the face of 700 at 525."""
    whole = torch.rand(1, 1024, 1024, 3)
    plan = make_plan([Target(0, (160, 160, 860, 860), "face")], whole, 2.0, 0.25, 16)
    told = "Picture 1, face 1: 700 pixels, refined at {} (a target_face_size of 512 would keep its detail)."
    assert plan.report(768, 2.0, 0) == told.format(525)
    assert plan.report(1024, 2.0, 0) == "Picture 1, face 1: 700 pixels, refined at 700."


def test_no_target_is_reported() -> None:
    assert make_plan([], picture(), 2, 0.25, 16).report(768, 2.0, 0) == (
        "Nothing to refine was found: the picture passes unchanged."
    )


def test_noise_belongs_to_the_region_and_the_cycle() -> None:
    noise, shape = OwnNoise(2**63 - 1), (4, 8, 8)
    assert torch.equal(noise(3, 0, shape), OwnNoise(2**63 - 1)(3, 0, shape))
    different = [noise(number, cycle, shape) for number in range(3) for cycle in range(3)]
    assert all(not torch.equal(a, b) for i, a in enumerate(different) for b in different[:i])


def test_resizing_keeps_the_range() -> None:
    hard = torch.zeros(16, 16, 3)
    hard[:, 8:] = 1
    resized = resize(hard, 40, 40)
    assert resized.shape == (40, 40, 3) and resized.min() >= 0 and resized.max() <= 1


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_region_is_cut_upright_and_pasted_as_it_lies(quarters: int) -> None:
    upright_picture = torch.rand(1, 40, 40, 3, generator=torch.Generator().manual_seed(3))
    turned = torch.rot90(upright_picture, -quarters, (1, 2))
    region = Region(0, 0, 0, 40, 40, quarters)
    canvas = Canvas(turned)
    torch.testing.assert_close(canvas.cut(region, (40, 40)), upright_picture[0])
    canvas.paste(region, upright_picture[0].flip(1), torch.ones(40, 40))
    torch.testing.assert_close(canvas.result, torch.rot90(upright_picture.flip(2), -quarters, (1, 2)))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_maps_and_boxes_follow_a_turned_region(quarters: int) -> None:
    upright_map = torch.rand(1, 2, 32, 32, generator=torch.Generator().manual_seed(4))
    turned = torch.rot90(upright_map, -quarters, (2, 3))
    crops = Crops((Region(0, 0, 0, 32, 32, quarters),), (32, 32), (32, 32))
    torch.testing.assert_close(crops.of_map(turned), upright_map, atol=1e-5, rtol=0)
    top_half = torch.zeros(32, 32)
    top_half[:16] = 1
    box = {1: (0.5, 0, 1, 1), 2: (0, 0.5, 1, 1), 3: (0, 0, 0.5, 1)}[quarters]  # where the upright top lies
    assert torch.equal(crops.of_box(box)[0], top_half)

"""Pose sheets: what they show, where, and that they read back.

`python dev.py test tests/core/test_sheet.py --update` draws the golden pictures anew; look at them before committing.
"""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from consistent_face.core.errors import ConsistentFaceError, PhotoError
from consistent_face.core.openpose.body import Build
from consistent_face.core.openpose.heads import View
from consistent_face.core.openpose.presets import Preset, draw_preset
from consistent_face.core.openpose.sheet import PoseSheet, fit_size, from_people, from_picture
from consistent_face.core.openpose.skeleton import LIMB_COLOURS, PALETTE, Joint, Lines, Person, draw, seen

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "pose"
SHEETS = {
    "turnaround": (Preset.turnaround, 768, 512, Lines.openpose),
    "heads": (Preset.heads, 512, 512, Lines.openpose),
    "actions": (Preset.actions, 1024, 512, Lines.openpose, 8),
    "full_sheet": (Preset.full_sheet, 1024, 1024, Lines.openpose),
    "xinsir": (Preset.turnaround, 1024, 768, Lines.xinsir),
    "two": (Preset.turnaround, 256, 256, Lines.openpose, 2),
    "chibi": (Preset.turnaround, 512, 512, Lines.openpose, 4, 2, Build(3)),
}
FRONT, QUARTER, SIDE, BACK = View.front, View.three_quarter, View.side, View.back


def pixels(sheet: PoseSheet) -> np.ndarray:
    return (sheet.picture[0] * 255).round().byte().numpy()


def image(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32) / 255)[None]


def jpeg(array: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=85)
    return np.array(Image.open(file))


def resized(array: np.ndarray, scale: float) -> np.ndarray:
    picture = Image.fromarray(array)
    size = round(picture.width * scale), round(picture.height * scale)
    return np.array(picture.resize(size, Image.Resampling.LANCZOS))


@pytest.mark.parametrize("name", SHEETS)
def test_sheets_look_as_they_did(name: str, request: pytest.FixtureRequest) -> None:
    drawn, path = pixels(draw_preset(*SHEETS[name])), GOLDEN / f"{name}.png"
    if request.config.getoption("--update", default=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn).save(path, optimize=True)
    golden = np.array(Image.open(path)).astype(int)
    assert golden.shape == drawn.shape
    assert np.abs(golden - drawn).max() <= 1


@pytest.mark.parametrize(
    ("preset", "views"),
    [
        (Preset.turnaround, [FRONT, QUARTER, SIDE, BACK]),
        (Preset.heads, [FRONT, QUARTER, QUARTER, SIDE, FRONT, FRONT]),
        (Preset.actions, [FRONT, QUARTER, QUARTER, QUARTER, FRONT, QUARTER]),
        (
            Preset.full_sheet,
            [FRONT, QUARTER, QUARTER, SIDE, FRONT, FRONT, QUARTER, SIDE, BACK, FRONT, QUARTER, QUARTER, QUARTER],
        ),
    ],
)
@pytest.mark.parametrize("size", [(1024, 1024), (1536, 1024), (832, 1216)])
def test_every_figure_has_a_box_and_a_head_with_its_view(
    preset: Preset, views: list[View], size: tuple[int, int]
) -> None:
    sheet = draw_preset(preset, *size)
    assert (sheet.width, sheet.height) == size and sheet.picture.shape == (1, size[1], size[0], 3)
    assert [head.view for head in sheet.heads] == views and len(sheet.figures) == len(views)
    for number, figure in enumerate(sheet.figures):
        left, top, right, bottom = figure.box
        points = figure.person.body[seen(figure.person.body)]
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
        assert ((points > (left, top)) & (points < (right, bottom))).all()
        assert figure.head is not None and left <= figure.head.box[0] and figure.head.box[3] <= bottom
        for other in sheet.figures[number + 1 :]:
            apart = other.box[0] > right or other.box[2] < left or other.box[1] > bottom or other.box[3] < top
            assert apart, "figures stand apart, so that their limbs never meet"


def test_colours_are_those_of_openpose_alone() -> None:
    colours = {tuple(colour) for colour in pixels(draw_preset(Preset.full_sheet, 1024, 1024)).reshape(-1, 3)}
    assert colours == {(0, 0, 0), *PALETTE, *LIMB_COLOURS}


def test_sides_swap_in_back_views_and_the_far_ear_is_hidden() -> None:
    front, quarter, side, back = (figure.person.body for figure in draw_preset(Preset.turnaround, 1024, 1024).figures)
    assert front[Joint.R_SHOULDER, 0] < front[Joint.L_SHOULDER, 0]
    assert back[Joint.R_SHOULDER, 0] > back[Joint.L_SHOULDER, 0]
    hidden = [[joint.name for joint in Joint if not seen(body)[joint]] for body in (front, quarter, side, back)]
    assert hidden == [[], ["L_EAR"], ["L_EYE", "L_EAR"], ["NOSE", "R_EYE", "L_EYE"]]
    assert abs(side[Joint.R_SHOULDER, 0] - side[Joint.L_SHOULDER, 0]) > 8  # both arms are drawn


def test_figures_and_rows_are_as_asked() -> None:
    def rows(sheet: PoseSheet) -> list[int]:
        feet = [round(figure.box[3] / 40) for figure in sheet.figures]
        return [feet.count(line) for line in dict.fromkeys(feet)]

    assert rows(draw_preset(Preset.turnaround, 1024, 1024)) == [4]
    assert rows(draw_preset(Preset.turnaround, 1024, 1024, figures=3, per_row=2)) == [2, 1]
    assert rows(draw_preset(Preset.turnaround, 512, 1536)) == [2, 2]
    assert len(draw_preset(Preset.heads, 1024, 1024, figures=8).figures) == 8
    assert len(draw_preset(Preset.full_sheet, 1024, 1024, figures=2).figures) == 6


def test_proportions_change_the_body() -> None:
    def heights(build: Build) -> tuple[float, float]:
        figure = draw_preset(Preset.turnaround, 1024, 1024, figures=1, build=build).figures[0]
        assert figure.head is not None
        body, head = figure.person.body, figure.head.box[3] - figure.head.box[1]
        return head / (figure.box[3] - figure.box[1]), np.ptp(body[[8, 10], 1]) / np.ptp(body[[1, 8], 1])

    grown, child, long_legs = heights(Build()), heights(Build(5)), heights(Build(legs=1.2))
    assert grown[0] == pytest.approx(1.2 / 7.5, rel=0.05) and child[0] == pytest.approx(1.2 / 5, rel=0.1)
    assert long_legs[1] > 1.5 * grown[1]


def test_small_sheets_work_until_heads_cannot_be_told() -> None:
    two = draw_preset(Preset.turnaround, 256, 256, figures=2)
    assert min(head.box[2] - head.box[0] for head in two.heads) > 32
    with pytest.raises(ConsistentFaceError, match=r"13 figures on 256x256 pixels have heads of 1\d pixels"):
        draw_preset(Preset.full_sheet, 256, 256)
    with pytest.raises(ConsistentFaceError, match=r"on 64x64 pixels.*larger size or fewer figures"):
        draw_preset(Preset.turnaround, 64, 64)
    assert draw_preset(Preset.heads, 64, 64, figures=1).picture.shape == (1, 64, 64, 3)


def test_key_points_and_head_boxes_go_out_in_pixels() -> None:
    sheet = draw_preset(Preset.turnaround, 512, 512)
    (frame,) = sheet.keypoints
    assert (frame["canvas_width"], frame["canvas_height"], len(frame["people"])) == (512, 512, 4)
    (boxes,) = sheet.head_boxes
    assert [box["label"] for box in boxes] == ["front", "three-quarter", "side", "back"]
    left, top, right, _ = sheet.heads[0].box
    assert (boxes[0]["x"], boxes[0]["y"]) == (round(left), round(top))
    assert boxes[0]["width"] == round(right) - round(left) and all(isinstance(box["x"], int) for box in boxes)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1024, 1024, 1 << 20), (1024, 1024)),
        ((3840, 2160, 1 << 20), (1344, 768)),
        ((512, 768, 1 << 20), (832, 1280)),
        ((64, 64, 1 << 20), (1024, 1024)),
        ((900, 300, 1 << 16), (448, 128)),
        ((2048, 2048, 1 << 16), (256, 256)),
    ],
)
def test_sizes_keep_the_aspect_at_multiples_of_64(given: tuple[int, int, int], expected: tuple[int, int]) -> None:
    assert fit_size(*given) == expected


def compare(found: PoseSheet, drawn: PoseSheet, most: float) -> None:
    scale = found.height / drawn.height
    assert [head.view for head in found.heads] == [head.view for head in drawn.heads]
    for one, other in zip(found.heads, drawn.heads, strict=True):
        np.testing.assert_allclose(one.box, np.array(other.box) * scale, atol=most)


@pytest.mark.parametrize("name", set(SHEETS) - {"actions"})
def test_drawings_read_back(name: str) -> None:
    drawn = draw_preset(*SHEETS[name])
    found = from_picture(drawn.picture, drawn.width * drawn.height)
    assert torch.equal(found.picture, drawn.picture), "the user's sheet is used as it is"
    compare(found, drawn, most=2)


@pytest.mark.parametrize(
    "change", [jpeg, lambda a: resized(a, 0.75), lambda a: resized(a, 2)], ids=["jpeg", ".75", "2"]
)
def test_drawings_read_back_after_a_journey(change: object) -> None:
    drawn = draw_preset(Preset.full_sheet, 1024, 1024)
    changed = change(pixels(drawn))  # type: ignore[operator]
    compare(from_picture(image(changed), 1 << 20), drawn, most=3)


def test_a_sheet_of_another_aspect_is_neither_cropped_nor_stretched() -> None:
    wide = draw_preset(Preset.turnaround, 1024, 512)
    given = wide.picture[:, :, :1000]
    found = from_picture(given, 1 << 20)
    assert (found.width, found.height) == (1408, 704) and found.picture.shape == (1, 704, 1408, 3)
    scale = 704 / 512
    assert found.heads[0].box[2] - found.heads[0].box[0] == pytest.approx(
        (wide.heads[0].box[2] - wide.heads[0].box[0]) * scale, abs=3
    )
    margin = (1408 - round(1000 * scale)) // 2
    assert found.picture[:, :, :margin].max() == 0
    assert found.heads[0].box[0] == pytest.approx(wide.heads[0].box[0] * scale + margin, abs=3)


def test_transparent_pictures_are_read_without_their_alpha() -> None:
    drawn = draw_preset(Preset.turnaround, 512, 512)
    rgba = torch.cat([drawn.picture, torch.ones(1, 512, 512, 1)], -1)
    assert len(from_picture(rgba, 1 << 18).figures) == 4


NOISE = np.random.default_rng(1).integers(0, 256, (128, 128, 3))
PLAIN = np.full((64, 64, 3), (255, 0, 0))
DOTS = np.zeros((256, 256, 3))
DOTS[40:48, 40:48] = 255, 0, 0
BARS = np.zeros((256, 256, 3))
BARS[40:48] = 120, 120, 120


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((64, 64, 3)), "shows no figure, it is black all over"),
        (NOISE, "is no OpenPose drawing: .* of it is black"),
        (PLAIN, "is no OpenPose drawing: 0% of it is black"),
        (BARS, "is no OpenPose drawing: 97% of it is black, and 0% of what"),
        (DOTS, "limbs as bright as its joints"),
    ],
    ids=["black", "noise", "plain", "bars", "dots"],
)
def test_other_pictures_are_refused_with_the_cure(array: np.ndarray, message: str) -> None:
    with pytest.raises(PhotoError, match=message):
        from_picture(image(array), 1 << 20)


def test_photos_and_single_limbs_are_refused() -> None:
    photo = np.array(Image.open(Path(__file__).resolve().parents[1] / "photos" / "astronaut.jpg").convert("RGB"))
    with pytest.raises(PhotoError, match="no OpenPose drawing"):
        from_picture(image(photo), 1 << 20)
    arm = pixels(draw_preset(Preset.turnaround, 512, 512, figures=1))
    arm[:, : arm.shape[1] // 2 + 40] = 0
    with pytest.raises(PhotoError, match="No figure was found"):
        from_picture(image(arm), 1 << 20)


def test_starry_skies_are_refused_at_once() -> None:
    sky = np.zeros((1024, 1024, 3))
    for number, limb in enumerate(LIMB_COLOURS):
        sky[8 * number : 8 * number + 4] = limb
    sky[200::8, ::8] = PALETTE[Joint.NECK]
    with pytest.raises(PhotoError, match="dots of one colour"):
        from_picture(image(sky), 1 << 20)


def test_several_pictures_are_no_sheet() -> None:
    with pytest.raises(PhotoError, match="batch of 2"):
        from_picture(torch.zeros(2, 64, 64, 3), 1 << 20)


def test_key_points_are_drawn_at_their_aspect() -> None:
    sheet = draw_preset(Preset.turnaround, 1024, 512)
    larger = from_people(sheet.keypoints, 1 << 20, Lines.xinsir)
    assert (larger.width, larger.height, len(larger.figures)) == (1472, 704, 4)
    scale, margin = 704 / 512, (1472 - 1024 * 704 / 512) / 2
    np.testing.assert_allclose(larger.figures[0].box, np.array(sheet.figures[0].box) * scale + [margin, 0] * 2, atol=1)
    same = from_people(sheet.keypoints, 1024 * 512, Lines.openpose)
    assert torch.equal(same.picture, sheet.picture)
    with pytest.raises(PhotoError, match="hold no person"):
        from_people([{"canvas_width": 64, "canvas_height": 64, "people": []}], 1 << 18, Lines.openpose)


def test_faces_drawn_over_their_ears_are_found() -> None:
    """Detectors draw a face's white points last: over eyes and ears."""
    drawn = draw_preset(Preset.heads, 1024, 1024, figures=1)
    person, head = drawn.figures[0].person, drawn.heads[0]
    middle, half = np.mean([head.box[:2], head.box[2:]], axis=0), (head.box[2] - head.box[0]) / 2.4
    around = np.linspace(0, 2 * np.pi, 62, endpoint=False)
    outline = middle + np.column_stack([0.63 * np.cos(around), 0.28 + 0.6 * np.sin(around)]) * half
    eyes, ears = person.body[[Joint.R_EYE, Joint.L_EYE]], person.body[[Joint.R_EAR, Joint.L_EAR]]
    covering = [each + np.array([beside, 0]) for each in (eyes, ears) for beside in (-2, 2)]
    faced = Person(person.body, np.concatenate([outline, *covering]), person.left_hand, person.right_hand)
    found = from_picture(image(draw([faced], 1024, 1024, Lines.openpose)), 1 << 20)
    assert [each.view for each in found.heads] == [FRONT]
    np.testing.assert_allclose(found.heads[0].box, head.box, atol=(head.box[2] - head.box[0]) * 0.1)


def test_figures_that_alpha_hides_are_not_read() -> None:
    drawn = draw_preset(Preset.turnaround, 1024, 512).picture
    alpha = torch.ones_like(drawn[..., :1])
    alpha[:, :, drawn.shape[2] // 2 :] = 0
    whole, half = (len(from_picture(image, 512 * 512).figures) for image in (drawn, torch.cat([drawn, alpha], -1)))
    assert 0 < half < whole

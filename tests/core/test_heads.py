"""Head boxes and views, from key points alone."""

import math

import numpy as np
import pytest

from consistent_face.core.openpose.body import Build, Pose, bust, stand
from consistent_face.core.openpose.heads import BOX_SIDE, View, find_box, find_head
from consistent_face.core.openpose.skeleton import BODY_SIZE, Joint, unseen

VIEWS = {
    View.front: (0, 10, -15),
    View.three_quarter: (25, 40, 60, -30, -55),
    View.side: (75, 82, 90, -85),
    View.back: (120, 150, 180, -140),
}


@pytest.mark.parametrize(("turn", "view"), [(turn, view) for view, turns in VIEWS.items() for turn in turns])
def test_views_are_told_from_the_key_points(turn: float, view: View) -> None:
    head = find_head(stand(Pose(turn), Build()))
    assert head is not None and head.view is view


@pytest.mark.parametrize("heads_tall", [3, 5.5, 7.5, 8.5])
@pytest.mark.parametrize("turn", [*range(-90, 91, 10), 180])
def test_heads_keep_their_size_and_place_at_every_turn(turn: float, heads_tall: float) -> None:
    build = Build(heads_tall)
    head = find_head(stand(Pose(turn), build))
    assert head is not None
    true = 1 / heads_tall
    left, top, right, bottom = head.box
    assert right - left == pytest.approx(bottom - top) == pytest.approx(true * BOX_SIDE, rel=0.1)
    below = (1 - true) / 1.044
    middle = -(0.397 * below + 0.044 * below + true / 2)  # neck, and from it half a head up
    assert (left + right) / 2 == pytest.approx(0, abs=0.12 * true)
    assert (top + bottom) / 2 == pytest.approx(middle, abs=0.12 * true)


@pytest.mark.parametrize("turn", [0, 35])
def test_tilted_heads_keep_their_size(turn: float) -> None:
    straight, tilted = (find_head(stand(Pose(turn, head=(0, 0, tilt)), Build())) for tilt in (0, 25))
    assert straight is not None and tilted is not None
    assert tilted.box[2] - tilted.box[0] == pytest.approx(straight.box[2] - straight.box[0], rel=0.1)
    assert tilted.view is straight.view


def test_busts_have_the_head_of_their_body() -> None:
    body = stand(Pose(40), Build())
    assert find_head(bust(body)) == find_head(body)
    assert find_box(bust(body))[3] < find_box(body)[3]


def test_a_back_view_without_ears_has_its_head_on_the_neck() -> None:
    body = stand(Pose(180), Build())
    with_ears = find_head(body)
    body[[Joint.R_EAR, Joint.L_EAR]] = np.nan
    without = find_head(body)
    assert with_ears is not None and without is not None and without.view is View.back
    np.testing.assert_allclose(without.box, with_ears.box, atol=0.03)


def test_eyes_and_nose_are_a_face() -> None:
    body = unseen(BODY_SIZE)
    body[[Joint.NOSE, Joint.R_EYE, Joint.L_EYE]] = (100, 110), (86.5, 98), (113.5, 98)
    head = find_head(body)
    assert head is not None and head.view is View.front
    assert head.box[2] - head.box[0] == pytest.approx(120)


def test_legs_have_no_head_but_a_box() -> None:
    body = stand(Pose(), Build())
    body[[joint for joint in Joint if joint < Joint.R_HIP or joint > Joint.L_ANKLE]] = np.nan
    assert find_head(body) is None
    assert not any(math.isnan(side) for side in find_box(body))

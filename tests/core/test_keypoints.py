"""POSE_KEYPOINT: strict on the way out, tolerant on the way in."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import pytest

from consistent_face.core.errors import PhotoError
from consistent_face.core.openpose.keypoints import from_keypoints, to_keypoints
from consistent_face.core.openpose.skeleton import BODY_SIZE, Person, seen, unseen

BODY = [[10.0 * (joint + 1), 5.0 * (joint + 1), 1.0] for joint in range(BODY_SIZE)]


def flat(points: Iterable[Iterable[float]]) -> list[float]:
    return list(chain.from_iterable(points))


def frame(**arrays: object) -> dict:
    return {"canvas_width": 400, "canvas_height": 200, "people": [{"pose_keypoints_2d": flat(BODY), **arrays}]}


def test_frames_have_pixels_full_arrays_and_certainty() -> None:
    body = unseen(BODY_SIZE)
    body[0], body[17] = (12.5, 30), (99, 7)
    ((out,),) = [to_keypoints([Person.of_body(body)], 400, 200)]
    assert (out["canvas_width"], out["canvas_height"]) == (400, 200)
    (person,) = out["people"]
    assert {name: len(array) for name, array in person.items()} == {
        "pose_keypoints_2d": 54,
        "face_keypoints_2d": 210,
        "hand_left_keypoints_2d": 63,
        "hand_right_keypoints_2d": 63,
    }
    assert person["pose_keypoints_2d"] == [12.5, 30, 1, *[0] * 48, 99, 7, 1]
    assert set(person["face_keypoints_2d"]) == {0.0}


def test_what_goes_out_comes_back() -> None:
    points = np.random.default_rng(3).uniform(2, 190, (BODY_SIZE, 2))
    points[5] = np.nan
    (person,), width, height = from_keypoints(to_keypoints([Person.of_body(points)], 400, 200))
    assert (width, height) == (400, 200)
    np.testing.assert_allclose(person.body, points)
    assert not seen(person.face).any() and len(person.face) == 70


@pytest.mark.parametrize(
    "given",
    [
        frame(),
        [frame()],
        [frame(), {"canvas_width": 1, "canvas_height": 1, "people": []}],
        frame(face_keypoints_2d=None, hand_left_keypoints_2d=[], foot_keypoints_2d=[1.0, 2.0, 1.0]),
        frame(pose_keypoints_2d=flat([[x / 400, y / 200, 1.0] for x, y, _ in BODY])),
        frame(pose_keypoints_2d=flat([[x, y, 0.31] for x, y, _ in BODY])),
        frame(pose_keypoints_2d=flat([*BODY[:8], [1.0, 1.0, 1.0], *BODY[8:], *[[3.0, 3.0, 1.0]] * 6])),
    ],
    ids=["frame", "list", "first frame", "null arrays", "shares of the canvas", "scores", "BODY_25"],
)
def test_every_known_form_is_read(given: Any) -> None:
    (person,), width, height = from_keypoints(given)
    assert (width, height) == (400, 200)
    np.testing.assert_allclose(person.body, np.array(BODY)[:, :2])


def test_unsure_zero_and_broken_points_are_not_seen() -> None:
    changed = [list(point) for point in BODY]
    changed[1], changed[2], changed[3] = [50, 50, 0.2], [0, 0, 1], [float("nan"), 4, 1]
    (person,), _, _ = from_keypoints(frame(pose_keypoints_2d=flat(changed)))
    assert np.nonzero(~seen(person.body))[0].tolist() == [1, 2, 3]


def test_faces_of_68_and_short_arrays_are_filled_up() -> None:
    (person,), _, _ = from_keypoints(
        frame(face_keypoints_2d=[7.0, 8.0, 1.0] * 68, hand_right_keypoints_2d=[5.0, 6.0, 1.0, 9])
    )
    assert seen(person.face).sum() == 68 and seen(person.right_hand).sum() == 1


def test_people_without_a_body_are_left_out() -> None:
    given = frame()
    given["people"] += [{}, {"pose_keypoints_2d": [0.0] * 54}]
    assert len(from_keypoints(given)[0]) == 1


@pytest.mark.parametrize("given", [[], None, {"people": []}, [{"canvas_width": 0, "canvas_height": 5}], ["x"]])
def test_frames_without_a_canvas_are_refused(given: Any) -> None:
    with pytest.raises(PhotoError, match="no canvas size"):
        from_keypoints(given)

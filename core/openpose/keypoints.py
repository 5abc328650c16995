"""Converts people to and from POSE_KEYPOINT, ComfyUI's key point format: writes it strictly, reads it tolerantly."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import PhotoError
from .skeleton import BODY_SIZE, FACE_SIZE, HAND_SIZE, Person, seen, unseen

Frame = dict[str, Any]

MIN_SCORE = 0.3  # ComfyUI's own drawing treats points from this score on as visible
# OpenPose's BODY_25 has the hips' middle at 8 and the feet after 18.
BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)


def to_keypoints(people: Sequence[Person], width: int, height: int) -> list[Frame]:
    """Writes one frame of POSE_KEYPOINT.

    It uses pixels, full arrays, and a confidence of exactly 1 or 0: ComfyUI's drawing fails on missing arrays, and
    other nodes treat any confidence below 1 as a missing point.
    """
    named = [
        {
            "pose_keypoints_2d": _flat(person.body),
            "face_keypoints_2d": _flat(person.face),
            "hand_left_keypoints_2d": _flat(person.left_hand),
            "hand_right_keypoints_2d": _flat(person.right_hand),
        }
        for person in people
    ]
    return [{"canvas_width": width, "canvas_height": height, "people": named}]


def from_keypoints(frames: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> tuple[list[Person], int, int]:
    """Returns people, canvas width and height of the first frame.

    Accepts a frame or a list of them; pixels or shares of the canvas; scores or 0 and 1; absent, empty or null arrays;
    bodies of 18 or 25, faces of 68 or 70. Raises PhotoError without a frame or without a canvas.
    """
    frame = frames if isinstance(frames, Mapping) else next(iter(frames or ()), None)
    if not isinstance(frame, Mapping) or not (frame.get("canvas_width") and frame.get("canvas_height")):
        raise PhotoError(
            "The pose key points have no canvas size, so they cannot be placed; connect POSE_KEYPOINT of a pose "
            "detector or editor, with canvas_width and canvas_height."
        )
    width, height = int(frame["canvas_width"]), int(frame["canvas_height"])
    people = [_person(person, (width, height)) for person in frame.get("people") or ()]
    return [person for person in people if seen(person.body).any()], width, height


def _flat(points: np.ndarray) -> list[float]:
    return np.nan_to_num(np.column_stack([points, seen(points)])).flatten().tolist()


def _person(arrays: Mapping[str, Any], canvas: tuple[int, int]) -> Person:
    body = _points(arrays, "pose_keypoints_2d", canvas)
    if len(body) >= len(BODY_25) + 7:
        body = body[list(BODY_25)]
    return Person(
        _sized(body, BODY_SIZE),
        _sized(_points(arrays, "face_keypoints_2d", canvas), FACE_SIZE),
        _sized(_points(arrays, "hand_left_keypoints_2d", canvas), HAND_SIZE),
        _sized(_points(arrays, "hand_right_keypoints_2d", canvas), HAND_SIZE),
    )


def _points(arrays: Mapping[str, Any], name: str, canvas: tuple[int, int]) -> np.ndarray:
    flat = np.asarray(arrays.get(name) or (), float)
    triples = flat[: len(flat) // 3 * 3].reshape(-1, 3)
    points, scores = triples[:, :2], triples[:, 2]
    drawn = (scores >= MIN_SCORE) & (points != 0).any(axis=1) & np.isfinite(points).all(axis=1)
    if drawn.any() and (points[drawn] >= 0).all() and (points[drawn] <= 1).all():
        points = points * canvas
    return np.where(drawn[:, None], points, np.nan)


def _sized(points: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([points, unseen(count)])[:count]

"""Finds the rotation in the picture plane at which a face is upright.

A detector puts upright landmarks on an upside-down face, so that its embedding is a stranger's. Only the score shows
the error, and a single score is not reliable. Measured with SCRFD-500M on 26 portraits, upright and upside
down, at four sizes, blurred and noisy: the mean of the scores in two crops is higher for the right turn in 305 of 305
cases, by 0.15 in all but one of them.
"""

import math
from typing import NamedTuple

import numpy as np

from ..boxes import Box
from .alignment import turn_of
from .model_pack import Detector

SURE = 0.8  # a score in the whole picture that turned faces do not reach
SMALLEST = 64  # pixels of a face's side: a smaller face does not identify a person
SURE_SMALL = 0.7  # a score that is enough for such a face: a crowd has many
SEEN = 0.79  # a score in the small crop that turned faces do not reach
LEVEL = 33.0  # degrees of turn up to which the landmarks of a sure face are exact
LEANING = 15.0  # and those of a doubtful one
TURNED = 0.6  # a score below which nothing is taken for a turned face
BETTER = 0.03  # by which the score of another turn must exceed that of the turn first seen
OTHER = 45.0  # degrees from which two turns are different readings of a face
FAINT = 0.2  # in crops every face counts that is found at all
SMALL, LARGE = (128, 2.4), (320, 2.0)  # a crop's side in pixels, and in sides of the face
EXACT = ((160, 2.0), LARGE)  # crops whose landmarks agree best; their mean is taken
LEVELLED = 10.0  # degrees from level at which a second look brings nothing
NEAR = 0.25  # of a crop's side: how far from its middle a face is the one looked for


class Detection(NamedTuple):
    """A face as detected. The box (left, top, right, bottom) and the landmarks [5,2] are in pixels of the picture."""

    box: Box
    points: np.ndarray
    score: float
    turn: float  # degrees clockwise

    @property
    def middle(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def side(self) -> float:
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)

    @property
    def is_turned(self) -> bool:
        return abs(self.turn) > LEVEL

    def moved(self, x: float, y: float) -> "Detection":
        left, top, right, bottom = self.box
        return self._replace(box=(left + x, top + y, right + x, bottom + y), points=self.points + np.array([x, y]))

    def within(self, width: int, height: int) -> "Detection":
        """Returns the face with its box cut at the edges of a picture of this size."""
        left, top, right, bottom = np.clip(self.box, 0, [width, height, width, height]).tolist()
        return self._replace(box=(left, top, right, bottom))

    def quarter_back(self, height: int) -> "Detection":
        """Maps the face back to the picture before a rotation by 90 degrees counterclockwise to this height."""
        left, top, right, bottom = self.box
        points = np.column_stack([height - self.points[:, 1], self.points[:, 0]])
        return Detection((height - bottom, left, height - top, right), points, self.score, turn_of(points))


def detections(boxes: np.ndarray, points: np.ndarray) -> list[Detection]:
    """Splits a detector's output, boxes with scores [N,5] and landmarks [N,5,2], into faces."""
    return [
        Detection((left, top, right, bottom), five, score, turn_of(five))
        for (left, top, right, bottom, score), five in zip(boxes.tolist(), points, strict=True)
    ]


def set_upright(detector: Detector, bgr: np.ndarray, found: Detection) -> Detection:
    """Returns the face with the landmarks and the score of the rotation at which it is upright.

    An upright face is returned unchanged; if its score is high enough, it is not detected again.
    """
    if found.score >= (SURE if found.side >= SMALLEST else SURE_SMALL) and not found.is_turned:
        return found
    first = _levelled(detector, bgr, found, found.turn)
    best = first if first is not None and first.score >= SEEN else _best_turn(detector, bgr, found, first)
    if best is None or abs(best.turn) <= LEANING:
        return found
    exact = _exact(detector, bgr, best)
    return exact if exact.is_turned else exact._replace(score=max(exact.score, found.score))


def _best_turn(detector: Detector, bgr: np.ndarray, found: Detection, first: Detection | None) -> Detection | None:
    """Returns the best detection in both crops among four rotations; `first` if none is clearly better."""
    readings = [] if first is None else [_in_both_crops(detector, bgr, first)]
    for turn in (0, 90, 180, 270):
        look = _levelled(detector, bgr, found, turn)
        if look is not None and all(abs(_difference(look.turn, other.turn)) > OTHER for other in readings):
            readings.append(_in_both_crops(detector, bgr, look))
    best = max(readings, key=lambda reading: reading.score, default=None)
    if best is None or first is None:
        return best if best is not None and best.score >= TURNED else None
    own = readings[0]
    return best if best.score >= max(TURNED, own.score + BETTER) else own


def _in_both_crops(detector: Detector, bgr: np.ndarray, look: Detection) -> Detection:
    """Returns the face with the mean of its scores in the small and in the large crop."""
    large = _look(detector, bgr, look, look.turn, *LARGE)
    agrees = large is not None and abs(_difference(large.turn, look.turn)) < OTHER
    return look._replace(score=(look.score + (large.score if large is not None and agrees else 0.0)) / 2)


def _levelled(detector: Detector, bgr: np.ndarray, found: Detection, turn: float) -> Detection | None:
    """Detects the face at a rotation, and again at the rotation that the first detection gave."""
    look = _look(detector, bgr, found, turn, *SMALL)
    if look is None or abs(_difference(look.turn, turn)) < LEVELLED:
        return look
    again = _look(detector, bgr, look, look.turn, *SMALL)
    return look if again is None else again


def _exact(detector: Detector, bgr: np.ndarray, found: Detection) -> Detection:
    looks = [
        look
        for crop in EXACT
        if (look := _look(detector, bgr, found, found.turn, *crop)) and abs(_difference(look.turn, found.turn)) < LEVEL
    ]
    if not looks:
        return found
    points = np.mean([look.points for look in looks], axis=0)
    return found._replace(points=points, box=looks[-1].box, turn=turn_of(points))


def _look(
    detector: Detector, bgr: np.ndarray, found: Detection, turn: float, side: int, sides: float
) -> Detection | None:
    """Detects the face in a square crop around it, after rotating the picture back by `turn` degrees."""
    import cv2

    scale = side / (sides * max(found.side, 1))
    x, y = found.middle
    matrix = cv2.getRotationMatrix2D((x, y), turn, scale)
    matrix[:, 2] += side / 2 - x, side / 2 - y
    crop = cv2.warpAffine(bgr, matrix, (side, side))
    detector.det_thresh = FAINT
    seen = detections(*detector.detect(crop, input_size=[(side, side)]))
    near = [each for each in seen if math.dist(each.middle, (side / 2, side / 2)) < NEAR * side]
    if not near:
        return None
    best = max(near, key=lambda each: each.score)
    back = cv2.invertAffineTransform(matrix)
    points = best.points @ back[:, :2].T + back[:, 2]
    return Detection(_box(best, back, turn, scale), points, best.score, turn_of(points))


def _box(seen: Detection, back: np.ndarray, turn: float, scale: float) -> Box:
    """Returns the box of the face in the picture; the face is taken as an ellipse that fills its upright box."""
    left, top, right, bottom = seen.box
    half_width, half_height = (right - left) / 2 / scale, (bottom - top) / 2 / scale
    x, y = (back[:, :2] @ seen.middle + back[:, 2]).tolist()
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    across, down = math.hypot(half_width * cos, half_height * sin), math.hypot(half_width * sin, half_height * cos)
    return x - across, y - down, x + across, y + down


def _difference(one: float, other: float) -> float:
    """Returns the degrees from one rotation to another, -180 to 180."""
    return (one - other + 180) % 360 - 180

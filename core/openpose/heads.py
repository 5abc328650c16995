"""Finds a skeleton's head and its turn from the key points alone."""

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..boxes import Box
from .skeleton import Joint, seen

# A head's points, in heads (crown to chin) from its middle: to its left, down, forward.
NOSE = (0.0, 0.175, 0.45)
EYE = (0.135, 0.0625, 0.36)
EAR = (0.315, 0.1375, -0.02)
NECK_BELOW = 0.775  # the neck point, of a grown body
LEAD = NOSE[2] - EAR[2]
SHOULDERS = 1.57  # a grown body's shoulders, in heads
TRUNK = 2.48  # and neck to hips

BOX_SIDE = 1.2  # of the head box, in heads: with hair and chin
BODY_MARGIN = 0.4  # a figure reaches this far beyond its key points: hands, feet
FRONT_BELOW, SIDE_FROM = 18, 65  # degrees
PROFILE = 0.27  # of the way from ear to nose: the breadth that a head seen from the side (82 degrees) still has


class View(Enum):
    """The view of a head: how far it is turned from the viewer, to either side."""

    front = "front"
    three_quarter = "three-quarter"
    side = "side"
    back = "back"


@dataclass(frozen=True)
class Head:
    box: Box
    view: View


@dataclass(frozen=True)
class _Measure:
    middle: np.ndarray  # [2]
    size: float  # crown to chin
    yaw: float  # degrees, 0 faces the viewer; None of the face seen: 180


def find_head(body: np.ndarray) -> Head | None:
    """Returns the square head box and the view of a body [18,2]; None if neither head nor neck is visible."""
    measure = _measure(body)
    if measure is None:
        return None
    half = measure.size * BOX_SIDE / 2
    x, y = measure.middle.tolist()
    return Head((x - half, y - half, x + half, y + half), _view(measure.yaw))


def find_box(body: np.ndarray) -> Box:
    """Returns the box of a whole figure: its key points, its head, and room for hands and feet."""
    points = body[seen(body)]
    left, top = points.min(axis=0).tolist()
    right, bottom = points.max(axis=0).tolist()
    head = find_head(body)
    if head is None:
        return left, top, right, bottom
    margin = BODY_MARGIN * (head.box[2] - head.box[0]) / BOX_SIDE
    return (
        min(left - margin, head.box[0]),
        min(top - margin, head.box[1]),
        max(right + margin, head.box[2]),
        max(bottom + margin, head.box[3]),
    )


def _view(yaw: float) -> View:
    if yaw >= 180:
        return View.back
    if yaw < FRONT_BELOW:
        return View.front
    return View.three_quarter if yaw < SIDE_FROM else View.side


def _measure(body: np.ndarray) -> _Measure | None:
    found = seen(body)
    ears = int(found[[Joint.R_EAR, Joint.L_EAR]].sum())
    if ears == 2:
        return _between_ears(body, bool(found[Joint.NOSE]))
    if ears == 1 and found[Joint.NOSE]:
        return _from_one_ear(body)
    if found[Joint.NOSE] and found[[Joint.R_EYE, Joint.L_EYE]].all():
        return _from_eyes(body)
    return _from_trunk(body)


def _between_ears(body: np.ndarray, face: bool) -> _Measure:
    """Computes size and turn: the ears' distance is the cosine of the turn, the offset of the nose its sine."""
    right, left = body[Joint.R_EAR], body[Joint.L_EAR]
    middle, span = (right + left) / 2, math.dist(right, left)
    along = (left - right) / max(span, 1e-6) * (1 if face else -1)
    width = span / (2 * EAR[0])
    lead = abs(float((body[Joint.NOSE] - middle) @ along)) / LEAD if face else 0.0
    size = math.hypot(width, lead)
    up = np.array([along[1], -along[0]])
    return _Measure(middle + up * EAR[1] * size, size, math.degrees(math.atan2(lead, width)) if face else 180.0)


def _from_one_ear(body: np.ndarray) -> _Measure:
    ear = body[Joint.R_EAR] if seen(body)[Joint.R_EAR] else body[Joint.L_EAR]
    nose, eyes = body[Joint.NOSE], body[[Joint.R_EYE, Joint.L_EYE]]
    both = bool(seen(eyes).all())
    up = _up(body, (ear + nose) / 2 if both else ear)  # in a profile the ear is above the neck
    ahead = np.array([-up[1], up[0]])
    reach = float((nose - ear) @ ahead)
    ahead, reach = ahead * math.copysign(1, reach), abs(reach)
    breadth = abs(float((eyes[0] - eyes[1]) @ ahead)) / (2 * EYE[0]) if both else reach * PROFILE
    depth = max(reach - EAR[0] * breadth, 0) / LEAD
    size = math.hypot(breadth, depth)
    middle = ear + ahead * EAR[0] * breadth + up * EAR[1] * size
    return _Measure(middle, size, math.degrees(math.atan2(depth, breadth)))


def _from_eyes(body: np.ndarray) -> _Measure:
    right, left, nose = body[[Joint.R_EYE, Joint.L_EYE, Joint.NOSE]]
    size = max(math.dist(right, left) / (2 * EYE[0]), math.dist((right + left) / 2, nose) / 0.2)
    return _Measure(nose + _up(body, nose) * NOSE[1] * size, size, 0.0)


def _from_trunk(body: np.ndarray) -> _Measure | None:
    """Places the head of a figure without a face on the neck, in proportion to the body."""
    if not seen(body)[Joint.NECK]:
        return None
    neck, hips = body[Joint.NECK], body[[Joint.R_HIP, Joint.L_HIP]]
    if seen(hips).all():
        size = math.dist(neck, hips.mean(axis=0)) / TRUNK
    elif seen(shoulders := body[[Joint.R_SHOULDER, Joint.L_SHOULDER]]).all():
        size = math.dist(*shoulders) / SHOULDERS
    else:
        return None
    face = seen(body)[[Joint.NOSE, Joint.R_EYE, Joint.L_EYE]].any()
    return _Measure(neck + _up(body, None) * NECK_BELOW * size, size, 90.0 if face else 180.0)


def _up(body: np.ndarray, head: np.ndarray | None) -> np.ndarray:
    """Returns the up direction: from neck to head, from hips to neck, or the picture's."""
    neck, hips = body[Joint.NECK], body[[Joint.R_HIP, Joint.L_HIP]]
    way = np.array([0.0, -1.0])
    if seen(body)[Joint.NECK] and head is not None:
        way = head - neck
    elif seen(body)[Joint.NECK] and seen(hips).all():
        way = neck - hips.mean(axis=0)
    return way / max(float(np.hypot(*way)), 1e-6)

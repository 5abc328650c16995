"""Draws OpenPose skeletons: the body of 18, hands of 21 and face of 70 key points.

Colours, limb order and widths are those that the pose ControlNets were trained on: lllyasviel's annotator for SD1.5
(github.com/lllyasviel/ControlNet-v1-1-nightly) and xinsir's wider lines for SDXL
(huggingface.co/xinsir/controlnet-openpose-sdxl-1.0).
"""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import pairwise

import numpy as np

Colour = tuple[int, int, int]


class Joint(IntEnum):
    """COCO-18 in OpenPose's order; R and L are the subject's own sides."""

    NOSE, NECK = 0, 1
    R_SHOULDER, R_ELBOW, R_WRIST = 2, 3, 4
    L_SHOULDER, L_ELBOW, L_WRIST = 5, 6, 7
    R_HIP, R_KNEE, R_ANKLE = 8, 9, 10
    L_HIP, L_KNEE, L_ANKLE = 11, 12, 13
    R_EYE, L_EYE, R_EAR, L_EAR = 14, 15, 16, 17


# One colour per joint, RGB on black; limb i is drawn in colour i, darkened.
PALETTE: tuple[Colour, ...] = (
    (255, 0, 0),
    (255, 85, 0),
    (255, 170, 0),
    (255, 255, 0),
    (170, 255, 0),
    (85, 255, 0),
    (0, 255, 0),
    (0, 255, 85),
    (0, 255, 170),
    (0, 255, 255),
    (0, 170, 255),
    (0, 85, 255),
    (0, 0, 255),
    (85, 0, 255),
    (170, 0, 255),
    (255, 0, 255),
    (255, 0, 170),
    (255, 0, 85),
)
# In the order of drawing: later limbs cover earlier ones.
LIMBS: tuple[tuple[Joint, Joint], ...] = (
    (Joint.NECK, Joint.R_SHOULDER),
    (Joint.NECK, Joint.L_SHOULDER),
    (Joint.R_SHOULDER, Joint.R_ELBOW),
    (Joint.R_ELBOW, Joint.R_WRIST),
    (Joint.L_SHOULDER, Joint.L_ELBOW),
    (Joint.L_ELBOW, Joint.L_WRIST),
    (Joint.NECK, Joint.R_HIP),
    (Joint.R_HIP, Joint.R_KNEE),
    (Joint.R_KNEE, Joint.R_ANKLE),
    (Joint.NECK, Joint.L_HIP),
    (Joint.L_HIP, Joint.L_KNEE),
    (Joint.L_KNEE, Joint.L_ANKLE),
    (Joint.NECK, Joint.NOSE),
    (Joint.NOSE, Joint.R_EYE),
    (Joint.R_EYE, Joint.R_EAR),
    (Joint.NOSE, Joint.L_EYE),
    (Joint.L_EYE, Joint.L_EAR),
)
LIMB_SHADE = 0.6
LIMB_COLOURS: tuple[Colour, ...] = tuple(
    (int(r * LIMB_SHADE), int(g * LIMB_SHADE), int(b * LIMB_SHADE)) for r, g, b in PALETTE[: len(LIMBS)]
)

# A hand is its wrist, 0, and five fingers of four joints each; a face is iBUG's 68 points and both pupils.
FINGERS = tuple((0, *range(first, first + 4)) for first in range(1, 21, 4))
HAND_EDGES = tuple(edge for finger in FINGERS for edge in pairwise(finger))
HAND_COLOURS = tuple(
    tuple(255 * channel for channel in colorsys.hsv_to_rgb(edge / len(HAND_EDGES), 1, 1))
    for edge in range(len(HAND_EDGES))
)
HAND_JOINT: Colour = (0, 0, 255)
FACE_POINT: Colour = (255, 255, 255)
BODY_SIZE, HAND_SIZE, FACE_SIZE = len(Joint), 21, 70

assert len(PALETTE) == len(set(PALETTE)) == BODY_SIZE
assert len(LIMBS) == BODY_SIZE - 1, "the limbs make a tree"
assert {joint for limb in LIMBS for joint in limb} == set(Joint), "and it reaches every joint"
assert len(HAND_EDGES) == HAND_SIZE - 1
assert {point for edge in HAND_EDGES for point in edge} == set(range(HAND_SIZE))

JOINT_RADIUS = 4
FACE_RADIUS = 3
HAND_WIDTH = 2
DRAWN_FROM = 0.01  # the annotators treat hand and face points at the very left or top as missing


class Lines(Enum):
    """Which ControlNet the lines are drawn for."""

    openpose = "openpose"
    xinsir = "xinsir"


@dataclass(frozen=True, eq=False)
class Person:
    """Key points in pixels, [n,2] each; a row of NaN is an invisible point."""

    body: np.ndarray  # [18,2]
    face: np.ndarray  # [70,2]
    left_hand: np.ndarray  # [21,2]
    right_hand: np.ndarray  # [21,2]

    @classmethod
    def of_body(cls, body: np.ndarray) -> "Person":
        return cls(body, unseen(FACE_SIZE), unseen(HAND_SIZE), unseen(HAND_SIZE))

    def moved(self, scale: float, x: float, y: float) -> "Person":
        """Returns the points scaled about the origin, then shifted by x, y."""
        parts = (self.body, self.face, self.left_hand, self.right_hand)
        return Person(*(part * scale + (x, y) for part in parts))


def unseen(count: int) -> np.ndarray:
    return np.full((count, 2), np.nan)


def seen(points: np.ndarray) -> np.ndarray:
    """Returns which rows of [n,2] are visible: bool [n]."""
    return ~np.isnan(points.sum(axis=1))


def line_width(lines: Lines, width: int, height: int) -> int:
    """Returns half the width of a limb, also the radius of a joint; xinsir's grow with the picture's longer side."""
    longer = max(width, height)
    ratio = 1 if lines is Lines.openpose or longer < 500 else min(2 + longer // 1000, 7)
    return JOINT_RADIUS * ratio


def draw(people: Sequence[Person], width: int, height: int, lines: Lines) -> np.ndarray:
    """Draws people, later ones over earlier, on black: uint8 [height,width,3], RGB.

    It uses OpenCV, as the annotators do: Pillow's ellipses differ from OpenCV's polygons at the edges.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    for person in people:
        _draw_body(canvas, person.body, line_width(lines, width, height))
        _draw_hand(canvas, person.left_hand)
        _draw_hand(canvas, person.right_hand)
        _draw_dots(canvas, _inside(person.face), [FACE_POINT] * FACE_SIZE, FACE_RADIUS)
    return canvas


def _draw_body(canvas: np.ndarray, body: np.ndarray, half_width: int) -> None:
    import cv2  # takes long to import, and a pack must not

    for (start, end), colour in zip(LIMBS, LIMB_COLOURS, strict=True):
        if not seen(body[[start, end]]).all():
            continue
        across, down = (body[start] - body[end]).tolist()
        middle = body[[start, end]].mean(axis=0)
        axes = int(math.hypot(across, down) / 2), half_width
        angle = int(math.degrees(math.atan2(down, across)))
        outline = cv2.ellipse2Poly((int(middle[0]), int(middle[1])), axes, angle, 0, 360, 1)
        cv2.fillConvexPoly(canvas, np.array(outline), colour)
    _draw_dots(canvas, body, PALETTE, half_width)


def _draw_hand(canvas: np.ndarray, hand: np.ndarray) -> None:
    import cv2

    hand = _inside(hand)
    for (start, end), colour in zip(HAND_EDGES, HAND_COLOURS, strict=True):
        if seen(hand[[start, end]]).all():
            first, second = hand[[start, end]].astype(int).tolist()
            cv2.line(canvas, first, second, colour, HAND_WIDTH)
    _draw_dots(canvas, hand, [HAND_JOINT] * HAND_SIZE, JOINT_RADIUS)


def _draw_dots(canvas: np.ndarray, points: np.ndarray, colours: Sequence[Colour], radius: int) -> None:
    import cv2

    for point, colour, drawn in zip(points, colours, seen(points), strict=True):
        if drawn:
            cv2.circle(canvas, point.astype(int).tolist(), radius, colour, -1)


def _inside(points: np.ndarray) -> np.ndarray:
    drawn = seen(points) & (np.nan_to_num(points).astype(int) > DRAWN_FROM).all(axis=1)
    return np.where(drawn[:, None], points, np.nan)

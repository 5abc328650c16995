"""Finds the dots of an OpenPose drawing by their colours, and refuses pictures that are no such drawing."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ..errors import PhotoError
from .skeleton import LIMB_COLOURS, PALETTE, Colour, Joint

BLACK_BELOW = 64  # of the brightest channel: JPEG's noise around lines stays below this
MIN_BLACK = 0.4
MIN_PAINTED = 0.4  # of all coloured pixels: hands have other colours, and reducing a picture adds some
MIN_LIMBS = 0.3  # of the dots' area: some nodes draw limbs in the dots' full colours
DOT_NEAR, LIMB_NEAR = 42, 25  # half the way to the next colour of the palette, and of the darker limbs
EARS = (Joint.R_EAR, Joint.L_EAR)
# Of a usual dot: smaller spots are edges between other colours. Ears are drawn last, so nothing covers them.
MIN_DOT, MIN_EAR = 0.1, 0.45
COVERED_BELOW = 0.8  # of a usual dot: the centre of the visible part is no longer the dot's centre
MIN_AREA, ROUND = 9, 0.7  # pixels, and of its circle: what a whole dot has
MAX_DOTS = 100  # of a joint, or people: the time to join them grows with the square
HIDING = 3  # radii: shoulders nearer than that hide the neck between them
CURE = "draw one with a pose detector or editor (coloured key points on black), or leave the image out for a preset."


@dataclass(frozen=True)
class Layers:
    """The joint and the limb whose colour each pixel is near, [H,W] each, or -1."""

    dots: np.ndarray
    limbs: np.ndarray
    bright: np.ndarray
    faces: np.ndarray  # the white points of faces


@dataclass(frozen=True, eq=False)
class Dot:
    """A drawn joint: its centre, and the visible share of a usual dot."""

    point: np.ndarray  # [2]
    whole: float


def find_layers(picture: np.ndarray) -> Layers:
    """Separates the colours of a drawing uint8 [H,W,3], RGB; raises PhotoError if it is no OpenPose drawing."""
    bright = picture.max(axis=2) >= BLACK_BELOW
    dots, limbs = (np.full(bright.shape, -1, np.int8) for _ in range(2))
    dots[bright] = _nearest(picture[bright], PALETTE, DOT_NEAR)
    limbs[bright] = _nearest(picture[bright], LIMB_COLOURS, LIMB_NEAR)
    faces = (picture.min(axis=2) >= 2 * BLACK_BELOW) & (np.ptp(picture, axis=2) < BLACK_BELOW)
    layers = Layers(dots, limbs, bright, faces)
    _check_is_drawing(picture, layers)
    return layers


def find_dots(layers: Layers) -> dict[Joint, list[Dot]]:
    """Returns the dots of each joint, and the necks that both shoulders cover in side views."""
    spots = {joint: list(_spots(layers.dots == joint)) for joint in Joint}
    usual = _usual_area([spot for each in spots.values() for spot in each])
    dots = {joint: [dot for spot in each for dot in _dots_of(spot, joint, usual)] for joint, each in spots.items()}
    most = max(len(each) for each in dots.values())
    if most > MAX_DOTS:
        raise PhotoError(f"The pose image shows {most} dots of one colour, and at most {MAX_DOTS} are read; {CURE}")
    for right, left in product(dots[Joint.R_SHOULDER], dots[Joint.L_SHOULDER]):
        if math.dist(right.point, left.point) < HIDING * math.sqrt(usual / math.pi):
            dots[Joint.NECK].append(Dot((right.point + left.point) / 2, 0))
    return dots


def _nearest(pixels: np.ndarray, colours: Sequence[Colour], near: int) -> np.ndarray:
    """Returns the nearest colour of each of [n,3], int8 [n]; -1 if none is within `near` in every channel."""
    index = np.full(len(pixels), -1, np.int8)
    apart = np.full(len(pixels), near + 1, np.int16)
    for number, colour in enumerate(colours):
        distance = np.abs(pixels.astype(np.int16) - np.array(colour, np.int16)).max(axis=1)
        index[distance < apart] = number
        apart = np.minimum(apart, distance)
    return index


def _check_is_drawing(picture: np.ndarray, layers: Layers) -> None:
    black = 1 - layers.bright.mean()
    if black == 1:
        raise PhotoError(f"The pose image shows no figure, it is black all over; {CURE}")
    coloured = np.ptp(picture, axis=2) >= BLACK_BELOW  # all but black and the white points of faces
    painted = ((layers.dots >= 0) | (layers.limbs >= 0))[coloured].mean() if coloured.any() else 0.0
    if black < MIN_BLACK or painted < MIN_PAINTED:
        raise PhotoError(
            f"The pose image is no OpenPose drawing: {black:.0%} of it is black, and {painted:.0%} of what is coloured "
            f"has the colours of key points; {CURE}"
        )
    if (layers.limbs >= 0).sum() < MIN_LIMBS * (layers.dots >= 0).sum():
        raise PhotoError(
            "The pose image has limbs as bright as its joints, where pose ControlNets expect darker ones; connect its "
            "POSE_KEYPOINT to Draw Key Points (OpenPose) instead."
        )


def _spots(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Returns the pixels of each spot of a mask, x and y: float32 [n,2]."""
    import cv2

    # Spots grow by a pixel before counting, so that a dot that is covered in the middle stays one spot.
    _, labels = cv2.connectedComponents(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)))
    rows, columns = np.nonzero(mask)
    order = np.argsort(labels[rows, columns], kind="stable")
    pixels = np.column_stack([columns, rows])[order].astype(np.float32)
    return (spot for spot in np.split(pixels, np.bincount(labels[rows, columns]).cumsum()[:-1]) if len(spot))


def _usual_area(spots: Sequence[np.ndarray]) -> float:
    """Estimates the area of a whole dot from the round spots."""
    large = [spot for spot in spots if len(spot) >= MIN_AREA]
    areas = [len(spot) for spot in large if len(spot) > ROUND * math.pi * _circle(spot)[1] ** 2]
    return float(np.median(areas)) if areas else float(MIN_AREA)


def _dots_of(spot: np.ndarray, joint: Joint, usual: float) -> list[Dot]:
    whole = len(spot) / usual
    if whole < (MIN_EAR if joint in EARS else MIN_DOT):
        return []
    middle = _circle(spot)[0] if whole < COVERED_BELOW else spot.mean(axis=0)
    return [Dot(middle + 0.5, min(whole, 1))]


def _circle(spot: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns centre and radius of the circle around a spot; it fits the dot if less than half is covered."""
    import cv2

    middle, radius = cv2.minEnclosingCircle(spot)
    return np.array(middle), radius + 0.5

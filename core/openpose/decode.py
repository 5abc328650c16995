"""Reads the figures of an OpenPose drawing back.

It joins joints into people as OpenPose does (Cao et al., arxiv.org/abs/1611.08050): the candidates of every joint, here
the dots of its colour, are joined if the line between them is painted in the limb's colour.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from ..errors import PhotoError
from .heads import find_box
from .joint_colors import CURE, EARS, Dot, Layers, find_dots, find_layers
from .skeleton import LIMBS, Joint, Person, unseen

MIN_LIMB = 0.5
COVERED = 0.55  # weight of a point of a limb that something else covers
WHOLE, FAR = 0.3, 0.2  # of a limb's merit: for whole dots, and against one as long as the picture's diagonal
MIN_JOINTS = 4
MIN_FACE, FACE_REACH = 40, 0.8  # pixels, and of the way from nose to neck: another's face may be next to it
EAR_REACH = 1.5  # of half the shoulders, or of half the trunk: how far from the neck a faceless ear is looked for


@dataclass(eq=False)
class _Group:
    """Joints that belong to one person."""

    joints: dict[Joint, np.ndarray] = field(default_factory=dict)


def read_people(picture: np.ndarray) -> list[Person]:
    """Returns the people on a drawing uint8 [H,W,3], RGB: rows from the top, left to right, body key points only.

    Raises PhotoError if it is no OpenPose drawing, or shows no figure.
    """
    layers = find_layers(picture)
    groups = _join(layers)
    _add_ears(groups)
    _add_covered_ears(groups, layers.faces)
    bodies = [_body(group) for group in groups if len(group.joints) >= MIN_JOINTS]
    if not bodies:
        raise PhotoError(f"No figure was found in the pose image, which has its background and colours; {CURE}")
    return [Person.of_body(body) for body in _in_reading_order(bodies)]


def _join(layers: Layers) -> list[_Group]:
    dots = find_dots(layers)
    groups = {id(dot): _Group({joint: dot.point}) for joint in Joint for dot in dots[joint]}
    for limb, (start, end) in enumerate(LIMBS):
        pairs = [(_painted(layers, limb, *pair), *pair) for pair in product(dots[start], dots[end])]
        likely = [pair for pair in pairs if pair[0] >= MIN_LIMB]
        for _, first, second in sorted(likely, key=lambda pair: _merit(layers, *pair), reverse=True):
            one, other = groups[id(first)], groups[id(second)]
            if not one.joints.keys() & other.joints.keys():
                one.joints |= other.joints
                groups |= {key: one for key, group in groups.items() if group is other}
    return list(dict.fromkeys(groups.values()))


def _painted(layers: Layers, limb: int, start: Dot, end: Dot) -> float:
    """Returns the share of the line between two dots that is painted as this limb."""
    steps = np.linspace(0, 1, max(2, int(math.dist(start.point, end.point))))[:, None]
    columns, rows = (start.point + (end.point - start.point) * steps).astype(int).T
    own = (layers.limbs[rows, columns] == limb) | np.isin(layers.dots[rows, columns], [limb, *LIMBS[limb]])
    return float(np.where(own, 1, np.where(layers.bright[rows, columns], COVERED, 0)).mean())


def _merit(layers: Layers, painted: float, start: Dot, end: Dot) -> float:
    """Rates a limb: whole dots before partly hidden ones, near dots before far ones."""
    far = math.dist(start.point, end.point) / math.hypot(*layers.bright.shape)
    return painted + WHOLE * (start.whole + end.whole) - FAR * far


def _add_ears(groups: Sequence[_Group]) -> None:
    """Adds the ears of back views, which no limb joins without a face: each ear goes to the nearest possible neck."""
    lone = [group for group in groups if len(group.joints) == 1 and group.joints.keys() <= set(EARS)]
    backs = [group for group in groups if Joint.NECK in group.joints and Joint.NOSE not in group.joints]
    pairs = [
        (math.dist(next(iter(each.joints.values())), back.joints[Joint.NECK]), each, back)
        for each, back in product(lone, backs)
    ]
    for distance, each, back in sorted(pairs, key=lambda pair: pair[0]):
        if distance < _reach(back) and not each.joints.keys() & back.joints.keys():
            back.joints |= each.joints
            each.joints.clear()


def _add_covered_ears(groups: Sequence[_Group], faces: np.ndarray) -> None:
    """Adds ears that the points of a face cover; these points extend from one ear to the other."""
    rows, columns = np.nonzero(faces)
    for joints in (group.joints for group in groups):
        if not {Joint.NOSE, Joint.NECK} <= joints.keys() or joints.keys() >= set(EARS):
            continue
        nose = joints[Joint.NOSE]
        reach = FACE_REACH * math.dist(nose, joints[Joint.NECK])
        near = np.hypot(columns - nose[0], rows - nose[1]) < reach
        if near.sum() >= MIN_FACE:
            for ear, edge in zip(EARS, (columns[near].min(), columns[near].max()), strict=True):
                joints.setdefault(ear, np.array([edge, nose[1]]))


def _reach(group: _Group) -> float:
    neck, unknown = group.joints[Joint.NECK], group.joints[Joint.NECK]
    shoulder = max(math.dist(group.joints.get(joint, unknown), neck) for joint in (Joint.R_SHOULDER, Joint.L_SHOULDER))
    hip = max(math.dist(group.joints.get(joint, unknown), neck) for joint in (Joint.R_HIP, Joint.L_HIP))
    return max(EAR_REACH * shoulder, EAR_REACH / 2 * hip)


def _body(group: _Group) -> np.ndarray:
    body = unseen(len(Joint))
    for joint, point in group.joints.items():
        body[joint] = point
    return body


def _in_reading_order(bodies: list[np.ndarray]) -> list[np.ndarray]:
    """Sorts figures into rows from the top, left to right; a row holds the figures that overlap its highest by half."""
    left, ordered = sorted(bodies, key=lambda body: find_box(body)[1]), []
    while left:
        bottom = find_box(left[0])[3]
        row = [body for body in left if (find_box(body)[1] + find_box(body)[3]) / 2 < bottom]
        ordered += sorted(row, key=lambda body: find_box(body)[0])
        left = [body for body in left if not any(body is each for each in row)]
    return ordered

"""Computes the key points that a viewer sees of a body, from its proportions and a pose in space."""

import math
from dataclasses import dataclass

import numpy as np

from .heads import EAR, EYE, NOSE
from .skeleton import Joint, unseen

Vector = tuple[float, float, float]  # outward from the body (or to its left), down, forward

# Shares of the body below the neck point, of a grown body 7.5 heads tall.
NECK, TRUNK, THIGH, SHIN, FOOT = 0.044, 0.397, 0.278, 0.265, 0.06
UPPER_ARM, FOREARM = 0.217, 0.185
SHOULDER, HIP = 0.126, 0.068  # from the middle
SHRUG = 0.3  # of half the shoulders: how far a raised arm lifts its shoulder

# Directions that the head's points face: a point is visible unless its direction is turned too far from the viewer.
SEEN_FROM = {
    Joint.NOSE: ((0.0, 0.0, 1.0), -0.2),
    Joint.R_EYE: ((-0.3, 0.0, 0.95), 0.0),
    Joint.L_EYE: ((0.3, 0.0, 0.95), 0.0),
    Joint.R_EAR: ((-1.0, 0.0, 0.0), -0.35),
    Joint.L_EAR: ((1.0, 0.0, 0.0), -0.35),
}
HEAD_POINTS = {
    Joint.NOSE: NOSE,
    Joint.R_EYE: (-EYE[0], *EYE[1:]),
    Joint.L_EYE: EYE,
    Joint.R_EAR: (-EAR[0], *EAR[1:]),
    Joint.L_EAR: EAR,
}
BUST = (Joint.NECK, Joint.R_SHOULDER, Joint.L_SHOULDER, *HEAD_POINTS)


@dataclass(frozen=True)
class Build:
    """Proportions: the height in heads (an adult body has 7.5, a child 5.5, a chibi 3), and two factors."""

    heads_tall: float = 7.5
    shoulders: float = 1.0
    legs: float = 1.0


@dataclass(frozen=True)
class Limb:
    """Directions of a limb's upper and lower part, of any length."""

    upper: Vector
    lower: Vector


@dataclass(frozen=True)
class Pose:
    """Degrees: `turn` 0 faces the viewer, 90 the picture's right, 180 shows the back; `twist` turns the shoulders."""

    turn: float = 0
    right_arm: Limb = Limb((0.3, 1, -0.05), (0.22, 1, 0.12))
    left_arm: Limb = Limb((0.3, 1, -0.05), (0.22, 1, 0.12))
    right_leg: Limb = Limb((0.06, 1, 0.02), (0.03, 1, -0.04))
    left_leg: Limb = Limb((0.06, 1, 0.02), (0.03, 1, -0.04))
    trunk: Vector = (0, -1, 0)  # from the hips to the neck
    twist: float = 0
    head: Vector = (0, 0, 0)  # turned as the body is, raised, tilted to its left
    lift: float = 0  # off the ground, in body heights


def stand(pose: Pose, build: Build) -> np.ndarray:
    """Returns the body [18,2] as the viewer sees it, in body heights: x right, y down from the middle of the hips."""
    head = 1 / build.heads_tall
    below = (1 - head) / (1 + NECK)
    points = _trunk(pose, build, below)
    _add_limbs(points, pose, build, below)
    around = _turned(pose.turn)
    body = unseen(len(Joint))
    for joint, point in points.items():
        body[joint] = (around @ point)[:2]
    _add_head(body, around @ points[Joint.NECK], pose, head, below)
    return body


def bust(body: np.ndarray) -> np.ndarray:
    """Returns only head, neck and shoulders of a body [18,2]."""
    kept = unseen(len(Joint))
    kept[list(BUST)] = body[list(BUST)]
    return kept


def _trunk(pose: Pose, build: Build, below: float) -> dict[Joint, np.ndarray]:
    trunk = TRUNK + (THIGH + SHIN) * (1 - build.legs)  # the height stays the same: longer legs shorten the trunk
    neck = _unit(pose.trunk) * trunk * below
    across = _turned(pose.twist) @ np.array([SHOULDER * below * build.shoulders, 0, 0])
    points = {Joint.NECK: neck, Joint.R_HIP: np.array([-HIP * below, 0, 0]), Joint.L_HIP: np.array([HIP * below, 0, 0])}
    for joint, side, arm in ((Joint.R_SHOULDER, -1, pose.right_arm), (Joint.L_SHOULDER, 1, pose.left_arm)):
        raised = max(0.0, -float(_unit(arm.upper)[1])) * SHRUG * abs(across[0])
        points[joint] = neck + across * side - (0, raised, 0)
    return points


def _add_limbs(points: dict[Joint, np.ndarray], pose: Pose, build: Build, below: float) -> None:
    # Joints follow their limb's root: shoulder, elbow, wrist; hip, knee, ankle.
    limbs = (
        (Joint.R_SHOULDER, -1, pose.right_arm, UPPER_ARM, FOREARM, pose.twist),
        (Joint.L_SHOULDER, 1, pose.left_arm, UPPER_ARM, FOREARM, pose.twist),
        (Joint.R_HIP, -1, pose.right_leg, THIGH * build.legs, SHIN * build.legs, 0),
        (Joint.L_HIP, 1, pose.left_leg, THIGH * build.legs, SHIN * build.legs, 0),
    )
    for root, side, limb, upper, lower, twist in limbs:
        mirrored = _turned(twist) @ np.diag([side, 1, 1])
        middle = points[root] + mirrored @ _unit(limb.upper) * upper * below
        points[Joint(root + 1)] = middle
        points[Joint(root + 2)] = middle + mirrored @ _unit(limb.lower) * lower * below


def _add_head(body: np.ndarray, neck: np.ndarray, pose: Pose, head: float, below: float) -> None:
    turn, raised, tilt = pose.head
    around = _turned(pose.turn + turn) @ _raised(raised) @ _tilted(tilt)
    pivot = np.array([0, head * 0.45, -0.05 * head])  # the head moves about the top of the spine
    middle = neck - (0, NECK * below + head / 2, 0) + pivot - around @ pivot
    for joint, point in HEAD_POINTS.items():
        way, least = SEEN_FROM[joint]
        if (around @ np.array(way))[2] > least:
            body[joint] = (middle + around @ np.array(point) * head)[:2]


def _unit(vector: Vector) -> np.ndarray:
    return np.array(vector, float) / math.hypot(*vector)


def _turned(degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _raised(degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _tilted(degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

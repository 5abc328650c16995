"""Lists the poses of the pose sheets."""

from dataclasses import replace

from .body import Limb, Pose

STRAIGHT = Limb((0.06, 1, 0.02), (0.03, 1, -0.04))
ON_HIP = Limb((0.7, 0.8, -0.35), (-0.7, 0.7, 0.4))
CROSSED = Limb((0.12, 1, 0.12), (-0.85, -0.12, 0.5))
RELAXED = Limb((0.14, 1, -0.04), (0.08, 1, 0.16))

TURNS = tuple(Pose(turn) for turn in (0, 40, 82, 180, -40, -82, 140, -140))

HEADS = (
    Pose(),
    Pose(40),
    Pose(-40),
    Pose(82),
    Pose(head=(0, 24, 0)),
    Pose(head=(0, -22, 0)),
    Pose(-30, head=(0, 4, 14)),
    Pose(180),
)

WAVE = Pose(
    turn=-8,
    right_arm=Limb((1, 0.25, 0.15), (0.35, -1, 0.15)),
    left_arm=ON_HIP,
    right_leg=Limb((0.16, 1, 0.05), (0.1, 1, -0.04)),
    head=(0, 0, -6),
)
WALK = Pose(
    turn=58,
    right_arm=Limb((0.14, 1, -0.42), (0.08, 1, -0.1)),
    left_arm=Limb((0.14, 1, 0.36), (0, 1, 0.6)),
    right_leg=Limb((0.02, 1, 0.42), (0, 1, 0.08)),
    left_leg=Limb((0.02, 1, -0.2), (0, 1, -0.62)),
    trunk=(0, -1, 0.05),
    head=(-18, 0, 0),
)
SIT = Pose(
    turn=-42,
    right_arm=Limb((0.16, 1, 0.28), (-0.06, 0.5, 0.9)),
    left_arm=Limb((0.16, 1, 0.28), (-0.06, 0.5, 0.9)),
    right_leg=Limb((0.16, 0.14, 1), (0.02, 1, -0.06)),
    left_leg=Limb((0.16, 0.14, 1), (0.02, 1, 0.1)),
    trunk=(0, -1, 0.03),
    head=(14, 0, 0),
)
RUN = Pose(
    turn=72,
    right_arm=Limb((0.2, 0.75, -0.75), (0, 0.75, 0.65)),
    left_arm=Limb((0.2, 0.9, 0.5), (-0.1, -0.35, 1)),
    right_leg=Limb((0, 0.62, 0.8), (0, 1, -0.45)),
    left_leg=Limb((0, 1, -0.42), (0, 0.32, -1)),
    trunk=(0, -1, 0.24),
    twist=8,
    head=(-12, 6, 0),
    lift=0.02,
)
CROSS_ARMS = Pose(
    turn=14,
    right_arm=CROSSED,
    left_arm=replace(CROSSED, lower=(-0.85, 0.12, 0.5)),
    right_leg=Limb((0.14, 1, 0.02), (0.08, 1, -0.04)),
    left_leg=Limb((0.14, 1, 0.02), (0.08, 1, -0.04)),
    head=(-8, 0, 4),
)
JUMP = Pose(
    turn=26,
    right_arm=Limb((0.85, -0.75, 0.1), (0.4, -1, 0.1)),
    left_arm=Limb((0.85, -0.75, 0.1), (0.4, -1, 0.1)),
    right_leg=Limb((0.3, 0.85, 0.5), (0.12, 0.75, -0.75)),
    left_leg=Limb((0.4, 1, -0.1), (0.25, 0.6, -0.8)),
    head=(0, 12, 0),
    lift=0.1,
)
POINT = Pose(
    turn=38,
    right_arm=RELAXED,
    left_arm=Limb((0.45, 0.1, 0.9), (0.4, -0.02, 0.95)),
    right_leg=Limb((0.12, 1, -0.16), (0.06, 1, -0.2)),
    left_leg=Limb((0.1, 1, 0.2), (0.04, 1, 0.02)),
    head=(14, 2, 0),
)
KNEEL = Pose(
    turn=-48,
    right_arm=Limb((0.2, 1, 0.3), (-0.1, 0.4, 0.9)),
    left_arm=RELAXED,
    right_leg=Limb((0.12, 0.12, 1), (0.02, 1, -0.08)),
    left_leg=Limb((0.1, 1, 0.1), (0.04, 0.2, -1)),
    trunk=(0, -1, 0.08),
    head=(12, 4, 0),
)
ACTIONS = (WAVE, WALK, SIT, RUN, CROSS_ARMS, JUMP, POINT, KNEEL)

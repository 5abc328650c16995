"""The published tables, and what they look like drawn."""

import numpy as np
import pytest

from consistent_face.core.openpose.skeleton import (
    BODY_SIZE,
    HAND_EDGES,
    LIMB_COLOURS,
    LIMBS,
    PALETTE,
    Joint,
    Lines,
    Person,
    draw,
    line_width,
    unseen,
)

# As the annotators of lllyasviel and xinsir publish them, joints counted from 1.
COLOURS = [
    [255, 0, 0], [255, 85, 0], [255, 170, 0], [255, 255, 0], [170, 255, 0], [85, 255, 0], [0, 255, 0], [0, 255, 85],
    [0, 255, 170], [0, 255, 255], [0, 170, 255], [0, 85, 255], [0, 0, 255], [85, 0, 255], [170, 0, 255], [255, 0, 255],
    [255, 0, 170], [255, 0, 85],
]  # fmt: skip
PAIRS = [
    [2, 3], [2, 6], [3, 4], [4, 5], [6, 7], [7, 8], [2, 9], [9, 10], [10, 11], [2, 12], [12, 13], [13, 14], [2, 1],
    [1, 15], [15, 17], [1, 16], [16, 18],
]  # fmt: skip
NAMES = (
    "NOSE NECK R_SHOULDER R_ELBOW R_WRIST L_SHOULDER L_ELBOW L_WRIST R_HIP R_KNEE R_ANKLE L_HIP L_KNEE L_ANKLE "
    "R_EYE L_EYE R_EAR L_EAR"
)


def spread() -> np.ndarray:
    """A body whose joints are far from one another: no dot and no middle of a limb is covered."""
    body = unseen(BODY_SIZE)
    for joint, point in {
        Joint.NOSE: (200, 60), Joint.NECK: (200, 120),
        Joint.R_SHOULDER: (140, 120), Joint.R_ELBOW: (100, 180), Joint.R_WRIST: (60, 240),
        Joint.L_SHOULDER: (260, 120), Joint.L_ELBOW: (300, 180), Joint.L_WRIST: (340, 240),
        Joint.R_HIP: (170, 240), Joint.R_KNEE: (160, 310), Joint.R_ANKLE: (150, 380),
        Joint.L_HIP: (230, 240), Joint.L_KNEE: (240, 310), Joint.L_ANKLE: (250, 380),
        Joint.R_EYE: (170, 30), Joint.L_EYE: (230, 30), Joint.R_EAR: (130, 50), Joint.L_EAR: (270, 50),
    }.items():  # fmt: skip
        body[joint] = point
    return body


def test_tables_are_the_published_ones() -> None:
    assert [joint.name for joint in Joint] == NAMES.split()
    assert [list(colour) for colour in PALETTE] == COLOURS
    assert [[start + 1, end + 1] for start, end in LIMBS] == PAIRS
    assert [list(colour) for colour in LIMB_COLOURS] == [[int(c * 0.6) for c in colour] for colour in COLOURS[:17]]
    assert LIMB_COLOURS[1] == (153, 51, 0) and LIMB_COLOURS[16] == (153, 0, 102)
    assert HAND_EDGES[:5] == ((0, 1), (1, 2), (2, 3), (3, 4), (0, 5)) and HAND_EDGES[-1] == (19, 20)


@pytest.mark.parametrize(
    ("longer", "ratio"),
    [(499, 1), (500, 2), (999, 2), (1000, 3), (2000, 4), (3000, 5), (4000, 6), (5000, 7), (9000, 7)],
)
def test_xinsir_lines_grow_with_the_longer_side(longer: int, ratio: int) -> None:
    assert line_width(Lines.xinsir, longer, 64) == line_width(Lines.xinsir, 64, longer) == 4 * ratio
    assert line_width(Lines.openpose, longer, 64) == 4


def test_joints_have_full_and_limbs_darkened_colours() -> None:
    body = spread()
    picture = draw([Person.of_body(body)], 400, 400, Lines.openpose)
    for joint, (x, y) in enumerate(body.astype(int)):
        assert picture[y, x].tolist() == COLOURS[joint]
    for (start, end), colour in zip(LIMBS, LIMB_COLOURS, strict=True):
        x, y = body[[start, end]].mean(axis=0).astype(int)
        assert picture[y, x].tolist() == list(colour)
    assert {tuple(colour) for colour in picture.reshape(-1, 3)} == {(0, 0, 0), *PALETTE, *LIMB_COLOURS}


@pytest.mark.parametrize(("lines", "radius"), [(Lines.openpose, 4), (Lines.xinsir, 8)])
def test_dots_and_sticks_have_the_width_of_their_lines(lines: Lines, radius: int) -> None:
    picture = draw([Person.of_body(spread())], 640, 400, lines)
    assert (picture[180, 60:141] == COLOURS[Joint.R_ELBOW]).all(axis=1).sum() == 2 * radius + 1
    upright = (picture[90, 150:251] == LIMB_COLOURS[12]).all(axis=1).sum()  # neck to nose, across its middle
    assert upright == 2 * radius + 1


def test_later_limbs_cover_earlier_ones() -> None:
    body = unseen(BODY_SIZE)
    body[[Joint.NECK, Joint.R_SHOULDER]] = (50, 100), (150, 100)
    body[[Joint.L_HIP, Joint.L_KNEE]] = (100, 50), (100, 150)
    picture = draw([Person.of_body(body)], 200, 200, Lines.openpose)
    assert picture[100, 100].tolist() == list(LIMB_COLOURS[10])


def test_what_is_not_seen_is_not_drawn() -> None:
    body = spread()
    body[Joint.NOSE] = np.nan
    picture = draw([Person.of_body(body)], 400, 400, Lines.openpose)
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)}
    assert not colours & {PALETTE[Joint.NOSE], *(LIMB_COLOURS[limb] for limb in (12, 13, 15))}
    assert draw([], 64, 64, Lines.openpose).max() == 0
    assert draw([Person.of_body(unseen(BODY_SIZE))], 64, 64, Lines.openpose).max() == 0


def test_hands_are_rainbows_with_blue_joints_and_faces_white() -> None:
    angles = np.radians([180, 225, 270, 315, 360])
    fingers = [(150 + reach * np.cos(a), 150 + reach * np.sin(a)) for a in angles for reach in (40, 70, 100, 130)]
    hand = np.array([(150, 150), *fingers])
    hand[20] = 0, 0  # the annotators' way to say: not there
    face = unseen(70)
    face[[0, 69]] = (300, 30), (320, 50)
    picture = draw([Person(unseen(BODY_SIZE), face, hand, unseen(21))], 400, 440, Lines.openpose)
    assert [picture[y, x].tolist() for x, y in hand[:20].astype(int)] == [[0, 0, 255]] * 20
    for (start, end), colour in {(0, 1): [255, 0, 0], (0, 5): [204, 255, 0], (10, 11): [0, 255, 255]}.items():
        x, y = hand[[start, end]].mean(axis=0).astype(int)
        assert picture[y, x].tolist() == colour
    assert picture[30, 297:304].tolist() == [[255, 255, 255]] * 7 and picture[30, 296].tolist() == [0, 0, 0]
    assert picture[0:4, 0:4].max() == 0


def test_people_outside_the_picture_do_no_harm() -> None:
    far = Person.of_body(spread()).moved(2, -350, -350)
    assert draw([far], 128, 128, Lines.xinsir).shape == (128, 128, 3)

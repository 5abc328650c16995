"""Selection of faces in a picture, and the errors when there are none."""

import numpy as np
import pytest
import torch

from consistent_face.core.errors import ConsistentFaceError, FaceTooSmallError, NoFaceError
from consistent_face.core.faces.detection import (
    Choice,
    Face,
    Faces,
    PhotoFaces,
    Recognizer,
    Select,
    WithoutFace,
    choose_faces,
)
from consistent_face.core.faces.overlay import draw_overlay


def face(left: float, size: float = 100) -> Face:
    box = (left, 10, left + size, 30 + size)
    return Face(box, np.zeros((5, 2)), 0.9, torch.full((512,), 2.0), torch.zeros(224, 224, 3))


def picture(*faces: Face) -> PhotoFaces:
    return PhotoFaces(1000, 500, faces)


THREE = picture(face(600, 120), face(50, 80), face(300, 200))  # from the left: 80, 200 and 120 pixels


def chosen(choice: Choice, photo: PhotoFaces = THREE) -> tuple[int, ...]:
    return choose_faces([photo], choice, WithoutFace.error)[0][0].chosen


def test_faces_are_numbered_from_the_left() -> None:
    assert [each.box[0] for each in THREE.faces] == [50, 300, 600]
    assert [each.size for each in THREE.faces] == [80, 200, 120]


def test_unit_has_length_one() -> None:
    assert face(0).unit.norm() == pytest.approx(1)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), (1,)),
        (Choice(Select.left_to_right), (0,)),
        (Choice(Select.left_to_right, min_size=100), (1,)),
        (Choice(Select.all), (0, 1, 2)),
        (Choice(Select.all, min_size=100), (1, 2)),
        (Choice(Select.index, "3"), (2,)),
        (Choice(Select.index, "3, 1"), (2, 0)),
        (Choice(Select.index, "2 2,2"), (1,)),
        (Choice(Select.index, "1,2", min_size=100), (1,)),
    ],
)
def test_choice(choice: Choice, expected: tuple[int, ...]) -> None:
    assert chosen(choice) == expected


@pytest.mark.parametrize("index", ["", " ", "one", "1;2", "-1", "1.5"])
def test_an_index_that_is_no_list_of_numbers(index: str) -> None:
    with pytest.raises(ConsistentFaceError, match=r"no list of face numbers.*as in '1, 3'"):
        choose_faces([THREE], Choice(Select.index, index), WithoutFace.bypass)


@pytest.mark.parametrize("index", ["0", "4", "1, 4"])
def test_a_face_that_is_not_there(index: str) -> None:
    with pytest.raises(NoFaceError, match=r"Face [04] was asked for in picture 1 of 1, which has 3"):
        chosen(Choice(Select.index, index))


def test_without_a_face_the_picture_is_named() -> None:
    with pytest.raises(NoFaceError, match=r"No face was found in picture 2 of 2 \(1000x500\); use a photo"):
        choose_faces([THREE, picture()], Choice(), WithoutFace.error)


def test_faces_below_the_size_are_refused() -> None:
    with pytest.raises(FaceTooSmallError, match=r"picture 1 of 1 is too small.*200 pixels where min_size asks for 201"):
        chosen(Choice(min_size=201))
    with pytest.raises(FaceTooSmallError, match="80 pixels"):
        chosen(Choice(Select.index, "1", min_size=100))


def test_skip_leaves_pictures_out_and_reports_it() -> None:
    marked, report = choose_faces([picture(), THREE], Choice(), WithoutFace.skip)
    assert [photo.chosen for photo in marked] == [(), (1,)]
    left_out, used = report.splitlines()
    assert left_out.startswith("Left out: No face was found in picture 1 of 2")
    assert used == "Picture 2 of 2: 3 found, using face 2 (200 pixels, score 0.90)."


def test_skip_needs_one_picture() -> None:
    with pytest.raises(NoFaceError, match="No picture is left"):
        choose_faces([picture(), picture()], Choice(), WithoutFace.skip)


@pytest.mark.parametrize("without_face", WithoutFace)
def test_no_pictures_are_no_error(without_face: WithoutFace) -> None:
    assert choose_faces([], Choice(), without_face) == ([], "")


def test_bypass_goes_on_with_none() -> None:
    marked, report = choose_faces([picture()], Choice(), WithoutFace.bypass)
    assert not any(photo.chosen for photo in marked) and report.startswith("Left out")


def test_chosen_faces_of_all_pictures() -> None:
    marked, _ = choose_faces([THREE, THREE], Choice(Select.index, "3,1"), WithoutFace.error)
    faces = Faces(tuple(marked), Recognizer("r", "0"))
    assert [each.box[0] for each in faces.chosen] == [600, 50, 600, 50]


@pytest.mark.parametrize(
    ("size", "drawn"), [((300, 200), (512, 341)), ((512, 300), (512, 300)), ((900, 1600), (900, 1600))]
)
def test_overlay_is_large_enough_to_read(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    overlay = draw_overlay(torch.zeros(2, size[1], size[0], 3), [picture(), picture()])
    assert overlay.shape == (2, drawn[1], drawn[0], 3) and not overlay.any()


def test_overlay_marks_the_chosen_face() -> None:
    marked, _ = choose_faces([THREE], Choice(), WithoutFace.error)
    overlay = (draw_overlay(torch.zeros(1, 500, 1000, 3), marked)[0] * 255).round().int()
    green, white = (46, 204, 113), (235, 235, 235)
    assert tuple(overlay[150, 302].tolist()) == green  # the left side of face 2
    assert tuple(overlay[60, 52].tolist()) == white  # the left side of face 1
    assert tuple(overlay[60, 602].tolist()) == white
    assert not overlay[150, 310:490].any()  # the face itself is not painted over


def test_overlay_of_no_picture_can_be_previewed() -> None:
    overlay = draw_overlay(torch.zeros(0, 1, 1, 3), [])
    assert overlay.shape == (1, 128, 512, 3) and overlay.max() > 0.9

"""Masks from boxes: their place, their edges, and how they share."""

from typing import Any

import numpy as np
import pytest
import torch

from consistent_face.core.errors import ConsistentFaceError, NoFaceError
from consistent_face.core.faces.detection import Face, Faces, PhotoFaces, Recognizer
from consistent_face.core.faces.masks import boxes_of_any, mask_boxes, mask_faces

HARD = {"grow": 0.0, "feather": 0.0}


def faces(*boxes: tuple[float, float, float, float], photos: int = 1) -> Faces:
    found = tuple(Face(box, np.zeros((5, 2)), 0.8, torch.ones(512), torch.zeros(224, 224, 3)) for box in boxes)
    photo = PhotoFaces(64, 32, found, tuple(range(len(found))))
    return Faces((photo,) * photos, Recognizer("a", "b"))


def test_a_hard_mask_is_its_box() -> None:
    (mask,) = mask_boxes([(8, 4, 24, 12)], 64, 32, **HARD)
    expected = torch.zeros(32, 64)
    expected[4:12, 8:24] = 1
    assert torch.equal(mask, expected)


def test_growing_widens_by_parts_of_the_box_and_stops_at_the_picture() -> None:
    grown = mask_boxes([(8, 4, 24, 12)], 64, 32, grow=0.5, feather=0)
    assert torch.equal(grown, mask_boxes([(0, 0, 32, 16)], 64, 32, **HARD))
    assert mask_boxes([(-50, -50, 500, 500)], 64, 32, grow=1, feather=0).min() == 1


def test_the_edge_fades_around_the_box() -> None:
    (mask,) = mask_boxes([(16, 8, 48, 24)], 64, 32, grow=0, feather=0.5)
    line = mask[16]
    assert line[8] < line[12] < line[16] < line[20] < line[23] and line[32] == 1 and line[0] == 0
    assert (line[15] + line[16]) / 2 == pytest.approx(0.5)
    assert torch.allclose(line, line.flip(0))


def test_masks_share_where_they_meet() -> None:
    masks = mask_boxes([(0, 0, 40, 32), (24, 0, 64, 32)], 64, 32, **HARD)
    assert torch.equal(masks.sum(0), torch.ones(32, 64))
    assert masks[0, 0, 30] == masks[1, 0, 30] == 0.5 and masks[0, 0, 10] == 1


def test_faces_are_in_their_photos_order_and_size() -> None:
    masks = mask_faces(faces((40, 8, 56, 24), (8, 8, 24, 24)), None, (0, 0), **HARD)
    assert masks.shape == (2, 32, 64)
    assert masks[0, 16, 16] == 1 and masks[1, 16, 48] == 1, "from left to right"
    doubled = mask_faces(faces((8, 8, 24, 24)), None, (128, 64), **HARD)
    assert torch.equal(doubled, mask_boxes([(16, 16, 48, 48)], 128, 64, **HARD))


def test_boxes_keep_their_order_and_follow_faces() -> None:
    boxes = [{"x": 48, "y": 0, "width": 16, "height": 32}, {"x": 0, "y": 0, "width": 16, "height": 32}]
    masks = mask_faces(faces((24, 8, 40, 24)), boxes, (0, 0), **HARD)
    assert [int(mask[16].argmax()) for mask in masks] == [24, 48, 0]


BOX = {"x": 1, "y": 2, "width": 3, "height": 4}


@pytest.mark.parametrize("boxes", [BOX, [BOX], [[BOX], [BOX, BOX]], [BOX | {"metadata": {}}]])
def test_every_form_of_comfyuis_boxes_is_read(boxes: Any) -> None:
    assert boxes_of_any(boxes) == [(1, 2, 4, 6)]


@pytest.mark.parametrize("boxes", [None, [], [[]], [[], [BOX]]])
def test_nothing_to_mask_is_refused(boxes: Any) -> None:
    with pytest.raises(NoFaceError, match="no face and no box"):
        mask_faces(None, boxes, (64, 32), **HARD)


def test_what_makes_no_mask_is_refused() -> None:
    with pytest.raises(ConsistentFaceError, match="3 wide and 0 high"):
        mask_faces(None, BOX | {"height": 0}, (64, 32), **HARD)
    with pytest.raises(ConsistentFaceError, match=r"missing \(64x0\): set width and height"):
        mask_faces(None, BOX, (64, 0), **HARD)
    for photos in (0, 2):
        with pytest.raises(NoFaceError, match=f"given those of {photos}"):
            mask_faces(faces((8, 8, 24, 24), photos=photos), None, (0, 0), **HARD)

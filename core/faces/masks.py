"""Makes a mask per person from face boxes or bounding boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..boxes import Box
from ..errors import ConsistentFaceError, NoFaceError
from .detection import Faces


def mask_faces(faces: Faces | None, boxes: Any, size: tuple[int, int], grow: float, feather: float) -> Tensor:
    """Makes one mask per face of a picture and per box; a size of 0 means the size of the faces' picture."""
    places: list[Box] = []
    width, height = size
    if faces is not None:
        found, photo_width, photo_height = boxes_of_faces(faces)
        width, height = width or photo_width, height or photo_height
        across, down = width / photo_width, height / photo_height
        places = [(left * across, top * down, right * across, bottom * down) for left, top, right, bottom in found]
    places += boxes_of_any(boxes or [])
    if not places:
        raise NoFaceError("There is no face and no box to make a mask of: connect faces or boxes.")
    if not width or not height:
        raise ConsistentFaceError(
            f"The size of the picture that the boxes lie in is missing ({width}x{height}): set width and height."
        )
    return mask_boxes(places, width, height, grow, feather)


def mask_boxes(boxes: Sequence[Box], width: int, height: int, grow: float, feather: float) -> Tensor:
    """Makes one mask per box, [P, height, width]: 1 inside, 0 outside.

    `grow` extends a box on each side, and `feather` is the width of its soft edge, both as shares of the box's size.
    Where masks overlap, their sum is at most 1.
    """
    masks = torch.stack([_mask(box, width, height, grow, feather) for box in boxes])
    return masks / masks.sum(0).clamp(min=1)


def boxes_of_faces(faces: Faces) -> tuple[list[Box], int, int]:
    """Returns the boxes of the chosen faces and the size of their picture; raises unless one picture has a face."""
    if len(faces.photos) != 1:
        raise NoFaceError(
            f"Mask Faces needs the faces of one picture, but was given those of {len(faces.photos)}: connect "
            "Analyze Faces of one picture in which each person has a face."
        )
    photo = faces.photos[0]
    return [photo.faces[position].box for position in photo.chosen], photo.width, photo.height


def boxes_of_any(boxes: Any) -> list[Box]:
    """Reads ComfyUI's bounding boxes: one, a list, or one list per picture, of which the first is used."""
    if isinstance(boxes, Mapping):
        boxes = [boxes]
    if boxes and not isinstance(boxes[0], Mapping):
        boxes = boxes[0]
    return [_corners(box) for box in boxes]


def _corners(box: Mapping[str, float]) -> Box:
    left, top, width, height = (float(box[key]) for key in ("x", "y", "width", "height"))
    if not (width > 0 and height > 0):
        raise ConsistentFaceError(
            f"A bounding box is {width:g} wide and {height:g} high, which holds no pixel: draw it larger."
        )
    return left, top, left + width, top + height


def _mask(box: Box, width: int, height: int, grow: float, feather: float) -> Tensor:
    left, top, right, bottom = box
    across, down = right - left, bottom - top
    columns = _ramp(left - grow * across, right + grow * across, width, feather * across)
    rows = _ramp(top - grow * down, bottom + grow * down, height, feather * down)
    return rows[:, None] * columns[None]


def _ramp(first: float, last: float, length: int, fade: float) -> Tensor:
    """1 between two places of a line of pixels; it passes 1/2 at both, over `fade` pixels and one at least."""
    centres = torch.arange(length) + 0.5
    inside = torch.minimum(centres - first, last - centres)
    return (inside / max(fade, 1) + 0.5).clamp(0, 1)

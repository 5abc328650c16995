"""Makes pose sheets: figures of one character on one picture, from a preset, key points, or a user's drawing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ..boxes import Box
from ..errors import PhotoError
from ..image import fit, on_black
from .decode import read_people
from .heads import Head, find_box, find_head
from .keypoints import Frame, from_keypoints, to_keypoints
from .skeleton import Lines, Person, draw

MULTIPLE = 64  # of a sheet's sides: what every checkpoint samples, so that no ControlNet has to crop its hint
READ_SIDE = 2048  # larger drawings are read reduced: their dots are large enough


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure: its key points, its box in pixels, and its head (None if a drawing shows no head)."""

    person: Person
    box: Box
    head: Head | None


@dataclass(frozen=True, eq=False)
class PoseSheet:
    """A picture [1,H,W,3] in 0..1 for a pose ControlNet, H and W multiples of 64, and the figures on it."""

    picture: Tensor
    figures: tuple[Figure, ...]

    @property
    def width(self) -> int:
        return self.picture.shape[2]

    @property
    def height(self) -> int:
        return self.picture.shape[1]

    @property
    def heads(self) -> tuple[Head, ...]:
        return tuple(figure.head for figure in self.figures if figure.head)

    @property
    def head_boxes(self) -> list[list[dict[str, Any]]]:
        """The heads as BOUNDING_BOX, within the picture; the label is the view."""
        return [[_bounding_box(head, self.width, self.height) for head in self.heads]]

    @property
    def keypoints(self) -> list[Frame]:
        """The figures as POSE_KEYPOINT."""
        return to_keypoints([figure.person for figure in self.figures], self.width, self.height)


def draw_people(people: Sequence[Person], width: int, height: int, lines: Lines) -> PoseSheet:
    """Draws people at their coordinates on a picture of this size."""
    picture = draw(people, width, height, lines).astype(np.float32) / 255
    return PoseSheet(torch.from_numpy(picture)[None], _figures(people))


def from_people(frames: Sequence[Mapping[str, Any]] | Mapping[str, Any], pixels: int, lines: Lines) -> PoseSheet:
    """Draws POSE_KEYPOINT exactly, at its canvas's aspect ratio and about `pixels` pixels."""
    people, width, height = from_keypoints(frames)
    if not people:
        raise PhotoError("The pose key points hold no person; detect the pose in another picture, or draw one.")
    size = fit_size(width, height, pixels)
    return draw_people([person.moved(*_inside(width, height, size)) for person in people], *size, lines)


def from_picture(image: Tensor, pixels: int) -> PoseSheet:
    """Uses an OpenPose drawing [1,H,W,C] unchanged, at its own aspect ratio and about `pixels` pixels.

    It reads the figures by their colours. Raises PhotoError if it is no OpenPose drawing or shows no figure.
    """
    if len(image) != 1:
        raise PhotoError(f"The pose image is a batch of {len(image)} pictures, and a sheet is one; choose one of them.")
    picture = on_black(image).cpu()
    height, width = picture.shape[1:3]
    readable = fit(picture, READ_SIDE, READ_SIDE)
    people = read_people((readable[0].clamp(0, 1) * 255).round().byte().numpy())
    size = fit_size(width, height, pixels)
    scale, x, y = _inside(width, height, size)
    moved = [person.moved(scale * width / readable.shape[2], x, y) for person in people]
    return PoseSheet(_resized(picture, scale, size), _figures(moved))


def fit_size(width: int, height: int, pixels: int) -> tuple[int, int]:
    """Returns width and height of about `pixels` pixels at this aspect ratio, multiples of 64."""
    scale = math.sqrt(pixels / (width * height))
    across, down = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in (width, height))
    return across, down


def _bounding_box(head: Head, width: int, height: int) -> dict[str, Any]:
    left, top = max(round(head.box[0]), 0), max(round(head.box[1]), 0)
    right, bottom = min(round(head.box[2]), width), min(round(head.box[3]), height)
    box = {"x": left, "y": top, "width": max(right - left, 0), "height": max(bottom - top, 0)}
    return {**box, "label": head.view.value, "score": 1.0}


def _figures(people: Sequence[Person]) -> tuple[Figure, ...]:
    return tuple(Figure(person, find_box(person.body), find_head(person.body)) for person in people)


def _inside(width: int, height: int, size: tuple[int, int]) -> tuple[float, float, float]:
    """Returns scale and shift that fit a whole picture, uncropped and undistorted, into the middle of another size."""
    scale = min(size[0] / width, size[1] / height)
    return scale, (size[0] - round(width * scale)) // 2, (size[1] - round(height * scale)) // 2


def _resized(picture: Tensor, scale: float, size: tuple[int, int]) -> Tensor:
    height, width = (round(side * scale) for side in picture.shape[1:3])
    bchw = picture.movedim(-1, 1)
    if (height, width) != bchw.shape[2:]:
        bchw = interpolate(bchw, (height, width), mode="bicubic", antialias=True)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return (
        pad(bchw, (left, size[0] - width - left, top, size[1] - height - top)).clamp(0, 1).movedim(1, -1).contiguous()
    )

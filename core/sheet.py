"""Pose sheets: figures of one character on one picture, from a preset, from key points, or from a user's drawing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from .errors import ConsistentFaceError, PhotoError
from .figure import Build, Pose, bust, stand
from .heads import Box, Head, find_box, find_head
from .keypoints import Frame, from_keypoints, to_keypoints
from .layout import arrange
from .poses import ACTIONS, HEADS, TURNS
from .reading import read_people
from .skeleton import Lines, Person, draw

MULTIPLE = 64  # of a sheet's sides: what every checkpoint samples, so that no ControlNet has to crop its hint
MIN_HEAD = 16  # pixels: below, nobody can tell which way a head is turned
MAX_FIGURES = 8  # of a section
GROWN = Build()


class Preset(Enum):
    """What a sheet shows."""

    turnaround = "turnaround"
    heads = "heads"
    actions = "actions"
    full_sheet = "full sheet"


@dataclass(frozen=True)
class Section:
    """Poses of one kind: how many are shown unless asked otherwise, and at what share of the sheet's height."""

    poses: tuple[Pose, ...]
    figures: int
    share: float = 1
    busts: bool = False


SECTIONS = {
    Preset.turnaround: (Section(TURNS, 4),),
    Preset.heads: (Section(HEADS, 6, busts=True),),
    Preset.actions: (Section(ACTIONS, 6),),
    Preset.full_sheet: (Section(HEADS, 5, 0.2, busts=True), Section(TURNS, 4, 0.44), Section(ACTIONS, 4, 0.36)),
}


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure: its key points, its box in pixels, and its head; None where a drawing shows no head."""

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


def draw_preset(
    preset: Preset,
    width: int,
    height: int,
    lines: Lines = Lines.openpose,
    figures: int = 0,
    per_row: int = 0,
    build: Build = GROWN,
) -> PoseSheet:
    """Draws a preset on a picture of this size, rounded to multiples of 64.

    `figures` is how many each of its sections shows, 0 its own number; `per_row` 0 makes them as large as possible.
    ConsistentFaceError where the figures would be too small to tell how their heads are turned.
    """
    width, height = (max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in (width, height))
    sections, top, people = SECTIONS[preset], 0.0, []
    for section in sections:
        bottom = top + height * section.share / sum(each.share for each in sections)
        people += _place(section, (0, top, width, bottom), figures, per_row, build)
        top = bottom
    sheet = _drawn(people, width, height, lines)
    smallest = min(head.box[2] - head.box[0] for head in sheet.heads)
    if smallest < MIN_HEAD:
        raise ConsistentFaceError(
            f"{len(people)} figures on {width}x{height} pixels have heads of {smallest:.0f} pixels, and at least "
            f"{MIN_HEAD} are needed to show how a head is turned; take a larger size or fewer figures."
        )
    return sheet


def from_people(frames: Sequence[Mapping[str, Any]] | Mapping[str, Any], pixels: int, lines: Lines) -> PoseSheet:
    """Draws POSE_KEYPOINT anew, exactly, at its canvas's aspect and about `pixels` pixels."""
    people, width, height = from_keypoints(frames)
    if not people:
        raise PhotoError("The pose key points hold no person; detect the pose in another picture, or draw one.")
    size = fit_size(width, height, pixels)
    return _drawn([person.moved(*_inside(width, height, size)) for person in people], *size, lines)


def from_picture(image: Tensor, pixels: int) -> PoseSheet:
    """Takes an OpenPose drawing [1,H,W,C] as it is, at its own aspect and about `pixels` pixels.

    Its figures are read from its colours. PhotoError where it is no OpenPose drawing or shows no figure.
    """
    if len(image) != 1:
        raise PhotoError(f"The pose image is a batch of {len(image)} pictures, and a sheet is one; choose one of them.")
    picture = image[..., :3].float().clamp(0, 1).cpu()
    people = read_people((picture[0] * 255).round().byte().numpy())
    height, width = picture.shape[1:3]
    size = fit_size(width, height, pixels)
    scale, x, y = _inside(width, height, size)
    return PoseSheet(_resized(picture, scale, size), _figures([person.moved(scale, x, y) for person in people]))


def fit_size(width: int, height: int, pixels: int) -> tuple[int, int]:
    """Width and height of about `pixels` pixels at this aspect, multiples of 64."""
    scale = math.sqrt(pixels / (width * height))
    across, down = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in (width, height))
    return across, down


def _place(section: Section, area: Box, figures: int, per_row: int, build: Build) -> list[Person]:
    poses = section.poses[: figures or section.figures]
    bodies = [stand(pose, build) for pose in poses]
    if section.busts:
        bodies = [bust(body) for body in bodies]
    boxes = [_above_ground(find_box(body), pose) for body, pose in zip(bodies, poses, strict=True)]
    places = arrange(boxes, area, per_row)
    return [Person.of_body(body).moved(at.scale, at.x, at.y) for body, at in zip(bodies, places, strict=True)]


def _above_ground(box: Box, pose: Pose) -> Box:
    return box[0], box[1], box[2], box[3] + pose.lift


def _drawn(people: Sequence[Person], width: int, height: int, lines: Lines) -> PoseSheet:
    picture = draw(people, width, height, lines).astype(np.float32) / 255
    return PoseSheet(torch.from_numpy(picture)[None], _figures(people))


def _bounding_box(head: Head, width: int, height: int) -> dict[str, Any]:
    left, top = max(round(head.box[0]), 0), max(round(head.box[1]), 0)
    right, bottom = min(round(head.box[2]), width), min(round(head.box[3]), height)
    box = {"x": left, "y": top, "width": max(right - left, 0), "height": max(bottom - top, 0)}
    return {**box, "label": head.view.value, "score": 1.0}


def _figures(people: Sequence[Person]) -> tuple[Figure, ...]:
    return tuple(Figure(person, find_box(person.body), find_head(person.body)) for person in people)


def _inside(width: int, height: int, size: tuple[int, int]) -> tuple[float, float, float]:
    """Scale and shift that put a picture whole into the middle of another size: nothing cropped or stretched."""
    scale = min(size[0] / width, size[1] / height)
    return scale, (size[0] - round(width * scale)) // 2, (size[1] - round(height * scale)) // 2


def _resized(picture: Tensor, scale: float, size: tuple[int, int]) -> Tensor:
    height, width = (round(side * scale) for side in picture.shape[1:3])
    bchw = picture.movedim(-1, 1)
    if (height, width) != bchw.shape[2:]:
        bchw = interpolate(bchw, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return pad(bchw, (left, size[0] - width - left, top, size[1] - height - top)).movedim(1, -1).contiguous()

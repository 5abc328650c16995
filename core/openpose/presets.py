"""Draws the presets of a pose sheet: turnarounds, heads, actions, or a row of each."""

from dataclasses import dataclass
from enum import Enum

from ..boxes import Box
from ..errors import ConsistentFaceError
from .body import Build, Pose, bust, stand
from .heads import find_box
from .layout import arrange
from .poses import ACTIONS, HEADS, TURNS
from .sheet import MULTIPLE, PoseSheet, draw_people
from .skeleton import Lines, Person

MIN_HEAD = 16  # pixels: the turn of a smaller head is not visible
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
    """Poses of one kind: the default number of figures, and the share of the sheet's height."""

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

    `figures` is the number per section, 0 the default of each; `per_row` 0 makes the figures as large as possible.
    Raises ConsistentFaceError if the figures are too small to show how their heads are turned.
    """
    width, height = (max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in (width, height))
    sections, top, people = SECTIONS[preset], 0.0, []
    for section in sections:
        bottom = top + height * section.share / sum(each.share for each in sections)
        people += _place(section, (0, top, width, bottom), figures, per_row, build)
        top = bottom
    sheet = draw_people(people, width, height, lines)
    smallest = min(head.box[2] - head.box[0] for head in sheet.heads)
    if smallest < MIN_HEAD:
        raise ConsistentFaceError(
            f"{len(people)} figures on {width}x{height} pixels have heads of {smallest:.0f} pixels, and at least "
            f"{MIN_HEAD} are needed to show how a head is turned; take a larger size or fewer figures."
        )
    return sheet


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

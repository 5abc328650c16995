"""Collects the targets of a refinement: detected faces, heads of a pose sheet, boxes and masks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..boxes import Box
from ..errors import ConsistentFaceError
from ..faces.detection import PhotoFaces
from ..faces.quality import yaw
from ..openpose.heads import View
from ..openpose.sheet import PoseSheet

# Weight of an identity on a turned head: FaceID was trained on frontal faces.
FRONTAL = {View.front: 1.0, View.three_quarter: 0.8, View.side: 0.5, View.back: 0.0}
ASPECTS_DIFFER = 0.02
MASKED = 0.1  # pixels with less coverage are outside the mask


@dataclass(frozen=True, eq=False)
class Target:
    """A target to refine: its box in pixels of its picture, and its view."""

    picture: int
    box: Box
    kind: str  # for the report: face, head, box or mask
    view: View | None = None
    frontal: float = 1.0  # 0..1: share of the identity weight
    mask: Tensor | None = None  # [h,w], the shape within the box, whose corners are whole pixels then
    turn: float = 0.0  # of the head in the picture plane, in degrees clockwise from upright

    @property
    def size(self) -> float:
        """The longer side of the box."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)

    @property
    def quarters(self) -> int:
        """Returns the rotation closest to its turn, in clockwise steps of 90 degrees."""
        return round(self.turn / 90) % 4

    def skipped(self, min_size: float) -> str:
        """Returns the reason for skipping it, or an empty text."""
        if self.view is View.back:
            return "seen from the back"
        if self.size < min_size:
            return f"smaller than {min_size:.0f} pixels"
        return ""


def from_faces(photos: Sequence[PhotoFaces]) -> list[Target]:
    return [
        Target(picture, face.box, "face", frontal=_frontal(yaw(face.points)), turn=face.turn)
        for picture, photo in enumerate(photos)
        for face in photo.faces
    ]


def from_sheet(sheet: PoseSheet, pictures: int, width: int, height: int) -> list[Target]:
    """Returns the sheet's heads for each picture, at any scale; the pictures must have the sheet's aspect ratio."""
    if abs(sheet.width * height / (sheet.height * width) - 1) > ASPECTS_DIFFER:
        raise ConsistentFaceError(
            f"The pose sheet is {sheet.width}x{sheet.height} and the picture {width}x{height}, of another aspect; "
            f"connect the sheet that the picture was made with, or none."
        )
    x, y = width / sheet.width, height / sheet.height
    return [
        Target(picture, _scaled(head.box, x, y), "head", head.view, FRONTAL[head.view])
        for picture in range(pictures)
        for head in sheet.heads
    ]


def from_boxes(boxes: Any, pictures: int) -> list[Target]:
    """Reads BOUNDING_BOX: one list per picture, one list for all, or a single box; a label can name the view."""
    frames = [boxes] if isinstance(boxes, Mapping) else list(boxes)
    if all(isinstance(frame, Mapping) for frame in frames):
        frames = [frames]
    if len(frames) not in (0, 1, pictures):
        raise ConsistentFaceError(
            f"There are boxes for {len(frames)} pictures, and {pictures} picture(s); connect one list of boxes for "
            f"all pictures, or one for each."
        )
    found = []
    for picture in range(pictures):
        for box in frames[picture % len(frames)] if frames else ():
            left, top = float(box["x"]), float(box["y"])
            view = next((view for view in View if view.value == box.get("label")), None)
            corners = (left, top, left + float(box["width"]), top + float(box["height"]))
            found.append(Target(picture, corners, "box", view, FRONTAL[view] if view else 1.0))
    return found


def from_mask(mask: Tensor, pictures: int, width: int, height: int) -> list[Target]:
    """Returns one target per connected area of a mask [M,h,w]; one mask for all pictures, or one per picture."""
    if not mask.any():
        return []
    mask = mask.reshape(-1, *mask.shape[-2:])  # some nodes give a single mask as [h,w]
    if len(mask) not in (1, pictures):
        raise ConsistentFaceError(
            f"There are {len(mask)} masks and {pictures} picture(s); connect one mask for all, or one for each."
        )
    whole = interpolate(mask.float().cpu().unsqueeze(1), (height, width), mode="bilinear").squeeze(1)
    patches = [list(_patches(each)) for each in whole]
    return [
        Target(picture, box, "mask", mask=patch)
        for picture in range(pictures)
        for box, patch in patches[picture % len(patches)]
    ]


def _frontal(yaw: float) -> float:
    """Interpolates FRONTAL between its views."""
    return float(np.interp(yaw, [0, 45, 90], [FRONTAL[view] for view in (View.front, View.three_quarter, View.side)]))


def unite(faces: Iterable[Target], others: Iterable[Target]) -> list[Target]:
    """Returns all targets except heads and boxes that contain a detected face: its position is more exact."""
    found = list(faces)
    return found + [other for other in others if not any(_holds(other, face) for face in found)]


def _scaled(box: Box, x: float, y: float) -> Box:
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def _holds(outer: Target, inner: Target) -> bool:
    left, top, right, bottom = outer.box
    x, y = (inner.box[0] + inner.box[2]) / 2, (inner.box[1] + inner.box[3]) / 2
    return outer.picture == inner.picture and left <= x <= right and top <= y <= bottom


def _patches(mask: Tensor) -> Iterator[tuple[Box, Tensor]]:
    import cv2

    covered = (mask > MASKED).byte().cpu().numpy()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(covered, connectivity=8)
    for number in range(1, count):  # 0 is what the mask leaves out
        left, top, width, height = (int(value) for value in stats[number][:4])
        here = slice(top, top + height), slice(left, left + width)
        own = torch.from_numpy(np.equal(labels[here], number)).to(mask)
        yield (float(left), float(top), float(left + width), float(top + height)), mask[here] * own

"""Defines a face and its analysis, and chooses the faces of each picture to use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from torch import Tensor
from torch.nn.functional import normalize

from ..boxes import Box
from ..errors import ConsistentFaceError, FaceTooSmallError, NoFaceError

TURNED = 45.0  # degrees from which a report mentions a rotated head


@dataclass(frozen=True, eq=False)
class Face:
    """One face; `box` (left, top, right, bottom) and `points` are in pixels of its picture."""

    box: Box
    points: np.ndarray  # [5,2]: the eyes, the nose and the corners of the mouth, each from the left of the upright face
    score: float  # the detector's, 0..1
    embedding: Tensor  # [512] float32, as the recognizer gives it
    crop: Tensor  # [224,224,3] float32 0..1 RGB, aligned by the five points
    turn: float = 0.0  # of the head in the picture plane, in degrees clockwise from upright

    @property
    def size(self) -> float:
        """The shorter side of the box in pixels."""
        left, top, right, bottom = self.box
        return min(right - left, bottom - top)

    @property
    def unit(self) -> Tensor:
        return normalize(self.embedding, dim=0)

    @property
    def is_turned(self) -> bool:
        """Whether the photo shows the head on its side or upside down."""
        return abs(self.turn) >= TURNED


@dataclass(frozen=True)
class Recognizer:
    """The model that made the embeddings; only embeddings of the same model can be compared."""

    name: str
    sha256: str


@dataclass(frozen=True, eq=False)
class PhotoFaces:
    """The faces of one picture from left to right, and the positions of the chosen ones."""

    width: int
    height: int
    faces: tuple[Face, ...]
    chosen: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        ordered = sorted(self.faces, key=lambda face: face.box[0] + face.box[2])
        object.__setattr__(self, "faces", tuple(ordered))


@dataclass(frozen=True, eq=False)
class Faces:
    """The pictures with a chosen face; empty if there was no picture."""

    photos: tuple[PhotoFaces, ...]
    recognizer: Recognizer

    @property
    def chosen(self) -> list[Face]:
        return [photo.faces[position] for photo in self.photos for position in photo.chosen]


class Select(Enum):
    largest = "largest"
    left_to_right = "left to right"
    index = "index"
    all = "all"


class WithoutFace(Enum):
    error = "error"
    skip = "skip"
    bypass = "bypass"


@dataclass(frozen=True)
class Choice:
    """Which faces of a picture are used. `index` holds numbers from 1, as on the overlay."""

    select: Select = Select.largest
    index: str = "1"
    min_size: int = 64


def choose_faces(
    found: Sequence[PhotoFaces], choice: Choice, without_face: WithoutFace
) -> tuple[list[PhotoFaces], str]:
    """Marks the chosen faces of each picture and reports on every picture in one line.

    A picture without a usable face raises NoFaceError (`error`) or gets no chosen face (`skip`, `bypass`); `skip`
    raises NoFaceError when no picture is left.
    """
    marked, lines = [], []
    for number, photo in enumerate(found, 1):
        where = f"picture {number} of {len(found)}"
        try:
            marked.append(replace(photo, chosen=choose(photo, choice, where)))
            lines.append(_describe(marked[-1], where))
        except NoFaceError as error:
            if without_face is WithoutFace.error:
                raise
            marked.append(photo)
            lines.append(f"Left out: {error}")
    if without_face is WithoutFace.skip and found and not any(photo.chosen for photo in marked):
        raise NoFaceError(f"No picture is left to identify anyone by. {lines[0]}")
    return marked, "\n".join(lines)


def choose(photo: PhotoFaces, choice: Choice, where: str) -> tuple[int, ...]:
    """Returns the positions of the chosen faces in `photo.faces`, at least one; NoFaceError names `where`."""
    if not photo.faces:
        raise NoFaceError(
            f"No face was found in {where} ({photo.width}x{photo.height}); use a photo that shows the face from the "
            f"front and in focus, or lower detection_threshold."
        )
    wanted = _indexed(photo, choice.index, where) if choice.select is Select.index else range(len(photo.faces))
    usable = [position for position in wanted if photo.faces[position].size >= choice.min_size]
    if not usable:
        largest = max(photo.faces[position].size for position in wanted)
        raise FaceTooSmallError(
            f"The face in {where} is too small to identify: {largest:.0f} pixels where min_size asks for "
            f"{choice.min_size} ({len(photo.faces)} found); use a closer or larger photo of one person."
        )
    if choice.select is Select.largest:
        return (max(usable, key=lambda position: photo.faces[position].size),)
    return tuple(usable[:1] if choice.select is Select.left_to_right else usable)


def _indexed(photo: PhotoFaces, index: str, where: str) -> list[int]:
    numbers = index.replace(",", " ").split()
    if not numbers or not all(number.isdecimal() for number in numbers):
        raise ConsistentFaceError(
            f"The index {index!r} is no list of face numbers; write the numbers drawn on the overlay, as in '1, 3'."
        )
    for number in map(int, numbers):
        if not 1 <= number <= len(photo.faces):
            raise NoFaceError(
                f"Face {number} was asked for in {where}, which has {len(photo.faces)}; "
                f"choose a number that is drawn on the overlay."
            )
    return list(dict.fromkeys(int(number) - 1 for number in numbers))


def _describe(photo: PhotoFaces, where: str) -> str:
    chosen = ", ".join(
        f"face {position + 1} ({photo.faces[position].size:.0f} pixels, score {photo.faces[position].score:.2f})"
        for position in photo.chosen
    )
    turned = ", ".join(
        f"face {position + 1} is {turned_by(photo.faces[position].turn)}"
        for position in photo.chosen
        if photo.faces[position].is_turned
    )
    read = f"\n{where.capitalize()}: {turned} in the photo, and was read upright." if turned else ""
    return f"{where.capitalize()}: {len(photo.faces)} found, using {chosen}.{read}"


def turned_by(turn: float) -> str:
    """Describes a clockwise rotation in degrees."""
    return f"turned by {abs(turn):.0f} degrees {'clockwise' if turn > 0 else 'counterclockwise'}"

"""Finds and recognizes faces by InsightFace: pictures in, faces out."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..image import on_white
from .alignment import align
from .detection import Face, PhotoFaces
from .model_pack import Provider, load_pack
from .rotation import SMALLEST, Detection, detections, set_upright

# A face that fills the picture is missed at 640 and found at 320; small faces need 640, and those of a large picture
# 1280: measured on close-ups, a group, and faces of 50 in 4000 pixels. When no size finds one: a border around the
# picture, then 1280 where it was not yet tried.
USUAL_SIZES = [(320, 320), (640, 640)]
LARGE_SIZE = (1280, 1280)
BORDER = 0.25
FAINT, FAINTEST = 0.3, 0.2  # scores of upside-down faces
MISSED = 60.0  # degrees of turn from which faces are missed
LARGER = 1.5  # times the largest face: what the faintest must have, since it would be chosen
TURNED = 0.1  # extra score for a rotated face: four rotations give four times as many false detections
CROP_SIZE = 224


class FaceAnalyzer:
    """A detector and a recognizer."""

    def __init__(self, folder: Path, provider: Provider = Provider.auto) -> None:
        """`folder` holds an InsightFace pack; raises the errors of `load_pack`."""
        self._detector, self._arcface, self.recognizer = load_pack(folder, provider)

    def analyze(self, images: Tensor, threshold: float = 0.5) -> list[PhotoFaces]:
        """Finds and recognizes the visible faces of [B,H,W,3 or 4] in 0..1 RGB; returns one PhotoFaces per picture."""
        pictures = [_bgr(image) for image in images]
        found = [self._find(bgr, threshold) for bgr in pictures]
        side = self._arcface.input_size[0]
        each = [(bgr, face) for bgr, faces in zip(pictures, found, strict=True) for face in faces]
        embeddings = iter(self._embed([align(bgr, face.points, side) for bgr, face in each]))
        height, width = images.shape[1:3]
        return [
            PhotoFaces(width, height, tuple(_face(bgr, face, next(embeddings)) for face in faces))
            for bgr, faces in zip(pictures, found, strict=True)
        ]

    def _find(self, bgr: np.ndarray, threshold: float) -> list[Detection]:
        """Finds the faces of a picture at any rotation; searches again where a rotated face is likely."""
        found, faint = self._found(bgr, self._search(bgr, threshold), threshold, [])
        if found and not faint and all(abs(face.turn) < MISSED for face in found):
            return found
        for quarters in (1, 2, 3):
            turned = np.ascontiguousarray(np.rot90(bgr, quarters))
            seen = [_turned_back(face, quarters, turned) for face in self._search(turned, threshold)]
            found, _ = self._found(bgr, seen, threshold, found)
        return found

    def _found(
        self, bgr: np.ndarray, seen: Sequence[Detection], threshold: float, known: Sequence[Detection]
    ) -> tuple[list[Detection], list[Detection]]:
        """Returns the known faces plus the new ones, and the low-score detections that may be rotated faces."""
        found = self._upright(bgr, [face for face in seen if face.score >= threshold], threshold, known)
        faint = [face for face in seen if face.score < threshold and _may_be_turned(face, found)]
        return self._upright(bgr, faint, threshold, found), faint

    def _upright(
        self, bgr: np.ndarray, seen: Sequence[Detection], threshold: float, known: Sequence[Detection]
    ) -> list[Detection]:
        """Returns the known faces plus the new detections with enough score."""
        found, (height, width) = list(known), bgr.shape[:2]
        for face in seen:
            if any(_same_place(face, other) for other in found):
                continue
            upright = set_upright(self._detector, bgr, face).within(width, height)
            score, least = (upright.score, threshold + TURNED) if upright.is_turned else (face.score, threshold)
            if score >= least and not any(_same_place(upright, other) for other in found):
                found.append(upright)
        return found

    def _search(self, bgr: np.ndarray, threshold: float) -> list[Detection]:
        """Returns all faces of a picture or, if none has enough score, the low-score detections."""
        longer = max(bgr.shape[:2])
        found = self._detect(bgr, threshold, [*USUAL_SIZES, LARGE_SIZE] if longer > LARGE_SIZE[0] else USUAL_SIZES)
        if not _any(found, threshold):
            y, x = (round(side * BORDER) for side in bgr.shape[:2])
            padded = self._detect(np.pad(bgr, ((y, y), (x, x), (0, 0))), threshold, USUAL_SIZES)
            found = [face.moved(-x, -y) for face in padded] or found
        if not _any(found, threshold) and USUAL_SIZES[-1][0] < longer <= LARGE_SIZE[0]:
            found = self._detect(bgr, threshold, [LARGE_SIZE]) or found
        height, width = bgr.shape[:2]
        return [face.within(width, height) for face in found]

    def _detect(self, bgr: np.ndarray, threshold: float, sizes: list[tuple[int, int]]) -> list[Detection]:
        # insightface >= 1.0 ignores `input_size` set on the detector: it has to be passed
        self._detector.det_thresh = min(threshold, FAINTEST)
        return detections(*self._detector.detect(bgr, input_size=sizes))

    def _embed(self, aligned: list[np.ndarray]) -> Tensor:
        if not aligned:
            return torch.zeros(0, 512)
        fixed_batch = isinstance(self._arcface.input_shape[0], int)
        runs = [[crop] for crop in aligned] if fixed_batch else [aligned]
        return torch.from_numpy(np.concatenate([self._arcface.get_feat(run) for run in runs]))


def _bgr(image: Tensor) -> np.ndarray:
    """[H,W,3 or 4] in 0..1 RGB, on white, to 8 bits in insightface's channel order; other values become 0 or 255."""
    import cv2

    # One pass of OpenCV: torch's threads would keep the cores busy while the detector's threads start.
    rgb = cv2.multiply(on_white(image).cpu().numpy(), np.full(4, 255.0), dtype=cv2.CV_8U)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


def _face(bgr: np.ndarray, found: Detection, embedding: Tensor) -> Face:
    crop = align(bgr, found.points, CROP_SIZE)[..., ::-1]
    rgb = torch.from_numpy(crop.astype(np.float32) / 255)
    return Face(found.box, found.points, found.score, embedding, rgb, found.turn)


def _may_be_turned(faint: Detection, found: Sequence[Detection]) -> bool:
    """Returns whether a low-score face is large enough to identify, and has enough score or would be chosen by size."""
    largest = max((face.side for face in found), default=0.0)
    matters = faint.score >= FAINT or faint.side > LARGER * largest
    return faint.side >= SMALLEST and matters and not any(_same_place(faint, other) for other in found)


def _any(found: Sequence[Detection], threshold: float) -> bool:
    return any(face.score >= threshold for face in found)


def _turned_back(found: Detection, quarters: int, turned: np.ndarray) -> Detection:
    """Maps a face from a picture that numpy.rot90 rotated back to pixels of the original picture."""
    height, width = turned.shape[:2]
    for _ in range(quarters):
        found = found.quarter_back(height)
        height, width = width, height
    return found


def _same_place(one: Detection, other: Detection) -> bool:
    return math.dist(one.middle, other.middle) < max(one.side, other.side) / 2

"""InsightFace behind one value: pictures in, faces out."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .faces import Face, PhotoFaces
from .pack import Provider, load_pack

# A face that fills the picture is missed at 640 and found at 320; small faces need 640, and those of a large picture
# 1280: measured on close-ups, a group, and faces of 50 in 4000 pixels. When no size finds one: a border around the
# picture, then 1280 where it was not yet tried.
USUAL_SIZES = [(320, 320), (640, 640)]
LARGE_SIZE = (1280, 1280)
BORDER = 0.25

CROP_SIZE = 224
# Where ArcFace expects the five points in a crop of 112 pixels (insightface, `face_align.arcface_dst`).
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


class Detection(NamedTuple):
    photo: int
    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float


class FaceAnalyzer:
    """A detector and a recogniser."""

    def __init__(self, folder: Path, provider: Provider = Provider.auto) -> None:
        """`folder` holds an InsightFace pack; raises as `load_pack`."""
        self._detector, self._arcface, self.recogniser = load_pack(folder, provider)

    def analyze(self, images: Tensor, threshold: float = 0.5) -> list[PhotoFaces]:
        """Finds and recognises the faces of a batch [B,H,W,3] in 0..1 RGB; one PhotoFaces for each picture."""
        pictures = [_bgr(image) for image in images]
        found = [detection for photo, bgr in enumerate(pictures) for detection in self._detect(photo, bgr, threshold)]
        side = self._arcface.input_size[0]
        embeddings = self._embed([_align(pictures[each.photo], each.points, side) for each in found])
        faces: list[list[Face]] = [[] for _ in pictures]
        for each, embedding in zip(found, embeddings, strict=True):
            crop = _align(pictures[each.photo], each.points, CROP_SIZE)[..., ::-1]
            rgb = torch.from_numpy(crop.astype(np.float32) / 255)
            faces[each.photo].append(Face(each.box, each.points, each.score, embedding, rgb))
        height, width = images.shape[1:3]
        return [PhotoFaces(width, height, tuple(each)) for each in faces]

    def _detect(self, photo: int, bgr: np.ndarray, threshold: float) -> Iterator[Detection]:
        self._detector.det_thresh = threshold
        height, width = bgr.shape[:2]
        boxes, points = self._search(bgr)
        for (*box, score), five in zip(boxes.tolist(), points, strict=True):
            left, top, right, bottom = np.clip(box, 0, [width, height, width, height]).tolist()
            yield Detection(photo, (left, top, right, bottom), five, score)

    def _search(self, bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # insightface >= 1.0 ignores `input_size` set on the detector: it has to be passed
        longer = max(bgr.shape[:2])
        sizes = [*USUAL_SIZES, LARGE_SIZE] if longer > LARGE_SIZE[0] else USUAL_SIZES
        boxes, points = self._detector.detect(bgr, input_size=sizes)
        if len(boxes) == 0:
            y, x = (round(side * BORDER) for side in bgr.shape[:2])
            boxes, points = self._detector.detect(np.pad(bgr, ((y, y), (x, x), (0, 0))), input_size=USUAL_SIZES)
            boxes, points = boxes - [x, y, x, y, 0], points - [x, y]
        if len(boxes) == 0 and USUAL_SIZES[-1][0] < longer <= LARGE_SIZE[0]:
            boxes, points = self._detector.detect(bgr, input_size=[LARGE_SIZE])
        return boxes, points

    def _embed(self, aligned: list[np.ndarray]) -> Tensor:
        if not aligned:
            return torch.zeros(0, 512)
        fixed_batch = isinstance(self._arcface.input_shape[0], int)
        runs = [[crop] for crop in aligned] if fixed_batch else [aligned]
        return torch.from_numpy(np.concatenate([self._arcface.get_feat(run) for run in runs]))


def _bgr(image: Tensor) -> np.ndarray:
    """[H,W,3] in 0..1 RGB to 8 bits in insightface's channel order, rounded; values outside 0..1 become 0 or 255."""
    import cv2

    # One pass of OpenCV: torch's threads would keep the cores busy while those of the detector start.
    rgb = cv2.multiply(image[..., :3].float().cpu().numpy(), np.full(4, 255.0), dtype=cv2.CV_8U)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


def _align(bgr: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
    """The square crop in which the five points lie where ArcFace expects them, as insightface's `norm_crop`.

    Least-squares similarity of Umeyama, 1991; insightface's own calls what scikit-image is about to remove.
    """
    import cv2

    target = ARCFACE_POINTS * (side / 112)
    source_mean, target_mean = points.mean(0), target.mean(0)
    source, centred = points - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(centred.T @ source)
    signs = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    matrix = (u * signs) @ vt * ((singular * signs).sum() / (source**2).sum())
    shift = target_mean - matrix @ source_mean
    return cv2.warpAffine(bgr, np.column_stack([matrix, shift]), (side, side))

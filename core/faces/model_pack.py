"""Loads an InsightFace pack: finds the detector and the recognizer among a folder's ONNX files, and opens them."""

import hashlib
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import ConsistentFaceError, WrongModelError
from .detection import Recognizer

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


class Provider(Enum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Detector(Protocol):
    """The used part of insightface's SCRFD."""

    det_thresh: float

    def detect(self, img: np.ndarray, *, input_size: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]: ...


class ArcFace(Protocol):
    """The used part of insightface's ArcFaceONNX; `input_shape[0]` is a number if the batch size is fixed."""

    input_shape: list[Any]
    input_size: tuple[int, int]

    def get_feat(self, imgs: list[np.ndarray]) -> np.ndarray: ...


class Pack(NamedTuple):
    detector: Detector
    arcface: ArcFace
    recognizer: Recognizer


def load_pack(folder: Path, provider: Provider) -> Pack:
    """Loads the first detector and the first recognizer of a folder and nothing else; never downloads.

    Raises WrongModelError if a file is damaged or one of the two is missing.
    """
    providers = _providers(provider)
    paths = sorted(folder.glob("*.onnx"))
    kinds = {_kind(path): path for path in reversed(paths)}
    for kind in ("detector", "recognizer"):
        if kind not in kinds:
            names = ", ".join(path.name for path in paths) or "no .onnx file"
            raise WrongModelError(
                f"The InsightFace pack {folder.name} has no {kind} ({names} found); "
                f"put a complete pack such as buffalo_l there."
            )
    detector, arcface = (_load(kinds[kind], providers, provider) for kind in ("detector", "recognizer"))
    return Pack(detector, arcface, Recognizer(kinds["recognizer"].stem, _sha256(kinds["recognizer"])))


def _providers(provider: Provider) -> list[str]:
    import onnxruntime

    available = CUDA in onnxruntime.get_available_providers()
    if provider is Provider.cuda and not available:
        raise ConsistentFaceError(
            "The provider cuda was asked for, but the installed onnxruntime has no CUDA; "
            "replace the package onnxruntime by onnxruntime-gpu, or choose auto or cpu."
        )
    return [CUDA, CPU] if available and provider is not Provider.cpu else [CPU]


def _kind(path: Path) -> str | None:
    """Returns the kind of an ONNX file by its graph, with the rules of insightface, without opening a session."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except DecodeError as error:
        raise _damaged(path) from error
    weights = {each.name for each in graph.initializer}  # older files list them among the inputs
    inputs = [each for each in graph.input if each.name not in weights]
    if not inputs or not graph.output:
        raise _damaged(path)
    sides = [each.dim_value for each in inputs[0].type.tensor_type.shape.dim[2:]]
    if len(graph.output) in (9, 15):  # scores, boxes and points of 3 or 5 strides
        return "detector"
    if len(graph.output) == 1 and len(inputs) == 1 and sides == [112, 112]:
        return "recognizer"
    return None


def _load(path: Path, providers: list[str], provider: Provider) -> Any:
    import onnxruntime
    from insightface.model_zoo import get_model
    from onnxruntime.capi import onnxruntime_pybind11_state as ort  # pyright: ignore[reportAttributeAccessIssue]

    options = onnxruntime.SessionOptions()
    # The detector's threads would spin while the recognizer needs the same cores: twice the time on two cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # it warns of every batch: the recognizer's file says that it gives one row
    try:
        model: Any = get_model(str(path), providers=providers, sess_options=options)
    except (ort.Fail, ort.InvalidGraph, ort.InvalidProtobuf, ort.InvalidArgument, ort.NotImplemented) as error:
        raise _damaged(path) from error
    if provider is Provider.cuda and CUDA not in model.session.get_providers():
        raise ConsistentFaceError(
            "The provider cuda was asked for, but onnxruntime could not load its CUDA libraries; "
            "install the CUDA and cuDNN that it names in the log, or choose auto or cpu."
        )
    return model


def _damaged(path: Path) -> WrongModelError:
    return WrongModelError(
        f"{path.name} of the InsightFace pack {path.parent.name} is no readable ONNX model; fetch the file again."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

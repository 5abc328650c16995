"""Turns failed imports of optional packages and unreadable ONNX files into errors with advice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ConsistentFaceError, WrongModelError


@contextmanager
def importing() -> Iterator[None]:
    """Turns a failed import of a package that is not installed into one sentence."""
    try:
        yield
    except ImportError as error:
        raise ConsistentFaceError(
            f"The Python package {error.name} cannot be imported ({error}); install the pack's requirements.txt into "
            f"ComfyUI's Python and start it again."
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns the errors of onnxruntime on an unreadable ONNX file into WrongModelError."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort  # pyright: ignore[reportAttributeAccessIssue]

    try:
        yield
    except (ort.Fail, ort.InvalidGraph, ort.InvalidProtobuf, ort.InvalidArgument, ort.NotImplemented) as error:
        raise WrongModelError(f"{path.name} is no readable ONNX model; fetch the file again.") from error

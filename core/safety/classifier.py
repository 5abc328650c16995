"""Loads safety classifiers from ONNX files: Yahoo's open_nsfw, or any other with a description file beside it."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import WrongModelError
from ..image import to_picture
from ..runtime import importing, reading

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True)
class Recipe:
    """A classifier's preprocessing and the position of its result; also the keys of a description file.

    A picture is resized to a square of `resize` pixels and cut to `crop`; `mean` and `std` are in 0..255. `unsafe` are
    the positions of the unsafe classes, `softmax` is for outputs that are logits.
    """

    resize: int
    crop: int
    channels: Literal["rgb", "bgr"]
    layout: Literal["nchw", "nhwc"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    unsafe: tuple[int, ...]
    softmax: bool = False
    jpeg: bool = False


# The published preprocessing of open_nsfw (yahoo/open_nsfw, 2016), which went through JPEG.
OPEN_NSFW = Recipe(256, 224, "bgr", "nhwc", (104, 117, 123), (1, 1, 1), unsafe=(1,), jpeg=True)
KNOWN = {"864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa": OPEN_NSFW}


class OnnxClassifier:
    """A `core.safety.check.Classifier` on the CPU, where open_nsfw takes about 12 ms for a picture."""

    def __init__(self, session: InferenceSession, recipe: Recipe) -> None:
        self._session = session
        self._recipe = recipe

    @classmethod
    def load(cls, path: Path) -> OnnxClassifier:
        """Opens an ONNX file that is known by its sha256, or described in a .json of the same name beside it.

        Raises WrongModelError for any other file, a wrong description, and a damaged file.
        """
        with importing():
            import onnxruntime
        recipe = KNOWN.get(_sha256(path)) or _described(path)
        with reading(path):
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        classifier = cls(session, recipe)
        classifier._try(path)
        return classifier

    def scores(self, images: Tensor) -> list[float]:
        """The probability that each picture of [B,H,W,3] in 0..1 is unsafe."""
        return [self._score(image) for image in images]

    def _score(self, image: Tensor) -> float:
        name = self._session.get_inputs()[0].name
        (answer,) = self._session.run(None, {name: prepare(image, self._recipe)})[:1]
        values = torch.from_numpy(np.asarray(answer)).float()[0]
        if self._recipe.softmax:
            values = values.softmax(dim=0)
        return values[list(self._recipe.unsafe)].sum().item()

    def _try(self, path: Path) -> None:
        """Runs one black picture, so that a wrong description fails at loading and not at the first check."""
        from onnxruntime.capi import onnxruntime_pybind11_state as ort  # pyright: ignore[reportAttributeAccessIssue]

        try:
            self._score(torch.zeros(64, 64, 3))
        except (ort.Fail, ort.InvalidArgument, ort.RuntimeException, IndexError, TypeError) as error:
            raise WrongModelError(
                f"{path.stem}.json does not fit {path.name} ({error}); correct sizes, layout and classes in it."
            ) from error


def prepare(image: Tensor, recipe: Recipe) -> np.ndarray:
    """Converts a picture [H,W,3] in 0..1 to the classifier's input, a float32 batch of one."""
    picture = to_picture(image)
    picture = picture.resize((recipe.resize, recipe.resize), Image.Resampling.BILINEAR)
    edge = (recipe.resize - recipe.crop) // 2
    picture = picture.crop((edge, edge, edge + recipe.crop, edge + recipe.crop))
    if recipe.jpeg:
        file = io.BytesIO()
        picture.save(file, format="JPEG")
        picture = Image.open(file)
    pixels = np.asarray(picture, dtype=np.float32)[..., :: -1 if recipe.channels == "bgr" else 1]
    pixels = (pixels - np.array(recipe.mean, np.float32)) / np.array(recipe.std, np.float32)
    return np.ascontiguousarray((pixels if recipe.layout == "nhwc" else pixels.transpose(2, 0, 1))[None])


def _described(path: Path) -> Recipe:
    description = path.with_suffix(".json")
    if not description.is_file():
        raise WrongModelError(
            f"{path.name} is not the published open-nsfw.onnx (its sha256 differs) and has no description; fetch the "
            f"file again, or describe another classifier in {description.name} beside it."
        )
    try:
        given: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
        values: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in given.items()}
        recipe = Recipe(**values)
        fits = recipe.channels in ("rgb", "bgr") and recipe.layout in ("nchw", "nhwc") and len(recipe.unsafe) > 0
        prepare(torch.zeros(8, 8, 3), recipe)
    except (ValueError, TypeError, AttributeError) as error:
        raise WrongModelError(f"{description.name} is no description of a classifier ({error}); correct it.") from error
    if not fits:
        raise WrongModelError(
            f"{description.name} is no description of a classifier: channels is {recipe.channels!r} (rgb or bgr), "
            f"layout {recipe.layout!r} (nchw or nhwc), unsafe {recipe.unsafe!r} (at least one); correct it."
        )
    return recipe


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Finds the foreground of pictures by rembg's networks, which it loads from local files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import WrongModelError
from ..image import to_picture
from ..runtime import importing, reading

if TYPE_CHECKING:
    from rembg.sessions.base import BaseSession

# rembg's local sessions that return one mask. Its default (bria-rmbg) is not free for commercial use, and its remote
# sessions upload the picture: both are left out.
SESSIONS = (
    *("u2net", "u2netp", "u2net_human_seg", "silueta", "isnet-general-use", "isnet-anime"),
    *("birefnet-general", "birefnet-general-lite", "birefnet-portrait", "birefnet-dis", "birefnet-hrsod"),
    *("birefnet-cod", "birefnet-massive"),
)
# Files of rembg's release whose names differ from their sessions.
RELEASED = {
    "birefnet-general-epoch_244": "birefnet-general",
    "birefnet-general-bb_swin_v1_tiny-epoch_232": "birefnet-general-lite",
    "birefnet-portrait-epoch_150": "birefnet-portrait",
    "birefnet-dis-epoch_590": "birefnet-dis",
    "birefnet-hrsod_dhu-epoch_115": "birefnet-hrsod",
    "birefnet-cod-epoch_125": "birefnet-cod",
    "birefnet-massive-tr_dis5k_tr_tes-epoch_420": "birefnet-massive",
}
SURE = 0.5  # probability that a pixel must reach: flat pictures stay below 0.06, photos of something exceed 0.95


class WatchedSession:
    """An ONNX session that stores the maximum of its output: rembg stretches every answer to 0..1, even noise."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.peak = 0.0

    def get_inputs(self) -> list[Any]:
        return self._session.get_inputs()

    def run(self, names: list[str] | None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        answers = self._session.run(names, feeds)
        self.peak = float(answers[0].max())
        return answers


class BackgroundRemover:
    """One of rembg's networks; nothing is downloaded, written, or read from the environment."""

    def __init__(self, session: BaseSession, watched: WatchedSession, sure: float) -> None:
        self._session = session
        self._watched = watched
        self._sure = sure

    @classmethod
    def load(cls, path: Path) -> BackgroundRemover:
        """Opens an ONNX file; its name decides which of rembg's sessions runs it.

        Raises WrongModelError for any other name and for a damaged file.
        """
        kind = session_kind(path.name)
        session: Any = _open(kind, path)
        session.inner_session = watched = WatchedSession(session.inner_session)
        return cls(session, watched, 0.0 if kind.startswith("birefnet") else SURE)  # BiRefNet outputs logits

    def masks(self, images: Tensor, done: Callable[[int], object] = lambda count: None) -> Tensor:
        """Coverage [B,H,W] of [B,H,W,3+], 1 = foreground; all 0 for a picture without foreground.

        `done(1)` is called after each picture.
        """
        masks = torch.zeros(images.shape[:3])
        for mask, image in zip(masks, images, strict=True):
            answer = self._session.predict(to_picture(image))[0]
            if self._watched.peak > self._sure:
                mask.copy_(torch.from_numpy(np.array(answer).astype(np.float32) / 255))
            done(1)
        return masks


def session_kind(name: str) -> str:
    """Returns the name of the rembg session of an ONNX file, by the file's name."""
    stem = name.lower().removesuffix(".onnx")
    kind = RELEASED.get(stem, stem)
    if kind not in SESSIONS:
        raise WrongModelError(
            f"{name} is none of rembg's local models by its name; "
            f"name the file after the one that it is: {', '.join(SESSIONS)}."
        )
    return kind


def _open(kind: str, path: Path) -> BaseSession:
    with importing():
        import onnxruntime  # first: without it rembg ends the whole process
        from rembg.sessions import sessions

    class LocalSession(sessions[kind]):
        @classmethod
        def download_models(cls, *args: object, **kwargs: object) -> str:
            return str(path)

    with reading(path):
        return LocalSession(kind, onnxruntime.SessionOptions())

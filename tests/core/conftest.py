"""The small InsightFace pack at work, and the photos."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from consistent_face.core.faces.analysis import FaceAnalyzer
from consistent_face.core.image import load_photo

PHOTOS = Path(__file__).resolve().parents[1] / "photos"


@pytest.fixture(scope="session")
def analyzer(face_pack: Path) -> FaceAnalyzer:
    return FaceAnalyzer(face_pack)


@pytest.fixture(scope="session")
def photo() -> Callable[[str], Tensor]:
    """Loads one of `tests/photos` by its stem: [1,H,W,3]."""

    def load(stem: str) -> Tensor:
        return load_photo(str(PHOTOS / f"{stem}.jpg"), f"{stem}.jpg")[0]

    return load

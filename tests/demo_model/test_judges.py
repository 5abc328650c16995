"""The judges of `bench likeness`: their similarities for photos, and the figures computed from them."""

from pathlib import Path

import pytest
import torch

from consistent_face.benchmarks.likeness import Drawn, told
from consistent_face.core.faces.analysis import FaceAnalyzer
from consistent_face.core.image import load_photo
from consistent_face.demo_model.sface import SFace

PHOTOS = Path(__file__).resolve().parent.parent / "photos"


def test_sface_tells_people_apart(face_pack: Path) -> None:
    analyzer, sface = FaceAnalyzer(face_pack), SFace()
    seen = []
    for name in ("person0_v0", "person0_v1", "person1_v0", "person1_v1", "person2_v0", "astronaut"):
        photo = load_photo(str(PHOTOS / f"{name}.jpg"), name)[0]
        seen.append(sface(photo[0, ..., :3], analyzer.analyze(photo)[0].faces[0]))
    alike = torch.stack(seen) @ torch.stack(seen).T
    assert min(alike[0, 1], alike[2, 3]) > 0.85
    assert max(alike[0, 2], alike[0, 4], alike[2, 4]) < 0.7, "the generator's people are alike, to w600k_mbf too"
    assert alike[:5, 5].max() < 0.35


def drawn(person: int, weight: float, seen: torch.Tensor) -> Drawn:
    return Drawn(torch.zeros(1, 1, 3), person, weight, {"w600k": seen, "sface": seen})


def test_figures_are_means_and_shares() -> None:
    known = torch.eye(3)
    nothing = torch.zeros(3)
    some = [drawn(0, 1.0, known[0]), drawn(1, 1.0, known[2]), drawn(2, 1.0, nothing), drawn(0, 0.0, known[1])]
    figures = told(some, {"w600k": known, "sface": known})
    assert figures["cosine_same"] == figures["sface_same"] == pytest.approx(1 / 3)
    assert figures["cosine_other"] == pytest.approx(1 / 6)
    assert figures["nearest_rate"] == pytest.approx(1 / 3), "no face is no nearest one"
    assert figures["cosine_same_0"] == 0 and figures["cosine_other_0"] == 0.5 and figures["nearest_rate_0"] == 0
    assert not some[2].has_face and some[0].has_face

"""The generator makes the same people again."""

from pathlib import Path

import numpy as np
import torch

from consistent_face.core.faces.analysis import FaceAnalyzer
from consistent_face.demo_model import make_people, people


def test_a_number_is_the_same_person_wherever_it_is_made(face_pack: Path, tmp_path: Path) -> None:
    kept = people.read([people.HELD_OUT])
    first = int(kept.seeds[0])
    path = tmp_path / "people_000000.npz"
    make_people.make_shard(path, range(first, first + 1), make_people.Generator(), FaceAnalyzer(face_pack))
    made = people.read([path])
    assert list(made.seeds) == [first]
    difference = made.pictures()[0].float() - kept.pictures()[0].float()
    assert difference.abs().mean() < 6, "of 255: WebP, and an average face of other samples"
    np.testing.assert_allclose(made.points[0], kept.points[0], atol=2)
    with np.load(path) as shard:
        assert torch.from_numpy(shard["embedding"][0]).float().norm().sub(1).abs() < 0.01
        assert shard["score"][0] >= make_people.SURE

"""Training's data: shards, the networks in torch, views and their words."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from consistent_face.core.background.remover import BackgroundRemover
from consistent_face.core.faces.alignment import align
from consistent_face.core.faces.analysis import FaceAnalyzer
from consistent_face.demo_model import captions, data, faces, people, styles, views
from consistent_face.tools.paths import OFFLINE

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def some() -> people.People:
    return people.read([people.HELD_OUT]).only(range(4))


@pytest.fixture(scope="module")
def folder(small_models: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two networks, converted."""
    into = tmp_path_factory.mktemp("data")
    data.pack_networks(into)
    return into


@pytest.fixture(scope="module")
def batch(some: people.People, folder: Path) -> views.Batch:
    remover = faces.Remover(folder / data.REMOVER, CPU)
    return views.batch_of(some.pictures(), torch.from_numpy(some.points), remover)


def test_the_recognizer_says_the_same_in_torch(some: people.People, folder: Path, face_pack: Path) -> None:
    bgr = [picture.permute(1, 2, 0).numpy()[..., ::-1] for picture in some.pictures()]
    crops = [align(np.ascontiguousarray(x), points, 112) for x, points in zip(bgr, some.points, strict=True)]
    expected = torch.nn.functional.normalize(FaceAnalyzer(face_pack)._embed(crops), dim=1)
    found = faces.Recogniser(folder / data.RECOGNISER, CPU)(some.pictures() / 255, torch.from_numpy(some.points))
    assert (found * expected).sum(1).min() > 0.998


def test_the_background_remover_says_the_same_in_torch(batch: views.Batch, face_pack: Path) -> None:
    expected = BackgroundRemover.load(OFFLINE / "rembg/u2netp.onnx").masks(batch.pictures[:2].permute(0, 2, 3, 1))
    assert (batch.coverage[:2, 0] - expected).abs().mean((1, 2)).max() < 0.02


def test_a_recognizer_can_be_learnt_from(batch: views.Batch, folder: Path) -> None:
    picture = batch.pictures[:1].clone().requires_grad_()
    faces.Recogniser(folder / data.RECOGNISER, CPU)(picture, batch.points[:1]).sum().backward()
    assert picture.grad is not None and picture.grad.abs().max() > 0


def test_the_held_out_are_never_packed(some: people.People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "pack_networks", lambda into: None)
    monkeypatch.setattr(data, "pack_captions", lambda path: None)
    last = people.HELD_OUT_FROM
    seeds = np.array([last - 1, last, 5, last + 1])
    people.write(tmp_path / "people_000000.npz", people.People(some.webp, some.points, seeds), score=np.ones(4))
    limit = max(len(some.webp[i]) for i in (0, 2)) / 1e6
    packed = people.read(data.pack(tmp_path, tmp_path / "into", limit + 1e-6))
    assert len(list((tmp_path / "into").glob("people-*.npz"))) == 2
    assert sorted(packed.seeds) == [5, last - 1]
    assert set(packed.webp) == {some.webp[0], some.webp[2]}


def test_every_set_of_facts_has_its_number_and_its_words() -> None:
    every = captions.every()
    assert [known.number for known in every] == list(range(captions.COUNT))
    chance = random.Random(0)
    texts = [captions.caption(captions.Known(style=2, ground=8), chance, ["house"] * 8) for _ in range(40)]
    assert all("pencil" in text or "sketch" in text for text in texts)
    assert sum("blue background" in text or "blue" in text for text in texts) > 20


def test_facts_follow_the_mirror(batch: views.Batch) -> None:
    every, flipped = captions.every(), batch.flipped()
    for own, other in zip(views.facts(batch.points, 1), views.facts(flipped.points, 1), strict=True):
        known, mirrored = every[own], every[other]
        assert (known.style, known.mood, 2 - known.turn) == (1, mirrored.mood, mirrored.turn)


def test_points_move_with_their_picture(batch: views.Batch) -> None:
    dots = torch.zeros_like(batch.pictures)
    for dot, points in zip(dots, batch.points.round().long(), strict=True):
        for x, y in points.tolist():
            dot[:, y - 2 : y + 3, x - 2 : x + 3] = 1
    moved = views.near(views.Batch(dots, batch.points.round(), dots[:, :1]), 0.8, 1.1, torch.Generator().manual_seed(1))
    for picture, points in zip(moved.pictures, moved.points.round().long(), strict=True):
        assert all(picture[0, y, x] > 0.5 for x, y in points.tolist() if 2 < x < 253 and 2 < y < 253)


def test_a_plain_background_has_the_colour_of_its_caption(batch: views.Batch) -> None:
    view = views.plain(batch, torch.Generator().manual_seed(2))
    colours = list(captions.GROUNDS.values())
    for picture, number, cover in zip(view.pictures, view.facts.tolist(), batch.coverage, strict=True):
        ground = captions.every()[number].ground
        behind = picture[:, cover[0] < 0.05]
        assert ground and behind.shape[1] > 1000
        torch.testing.assert_close(behind.mean(1), torch.tensor(colours[ground]), atol=1e-4, rtol=0)


def test_styles_are_drawings(batch: views.Batch) -> None:
    drawn = styles.pencil(batch.pictures)
    assert torch.equal(drawn[:, 0], drawn[:, 2]) and drawn.mean() > 0.6, "grey on white paper"
    flat = styles.cartoon(batch.pictures)
    light = [(styles.grey(x) * 255).round().int() for x in (flat, batch.pictures)]
    most = [torch.stack([x[i].unique(return_counts=True)[1].topk(16)[0].sum() for i in range(4)]) for x in light]
    assert (most[0] > 1.3 * most[1]).all(), "a few tones cover more of a cartoon than of the photo"

"""A smoke run of the training: it learns, stops, goes on, and exports what ComfyUI's loaders take."""

import json
import random
from pathlib import Path

import pytest
import torch

from consistent_face.demo_model import captions, data, people, preview, recipe, train, unet_stage
from consistent_face.demo_model.bank import Bank, Texts
from consistent_face.demo_model.diffusion import cleaned, noised, sample, shares
from consistent_face.tools import trained_weights as export

pytestmark = pytest.mark.usefixtures("one_thread")
SMOKE = recipe.Recipe(
    warm_up=2,
    vae_steps=6,
    vae_batch=1,
    vae_rate=2e-3,
    unet_steps=6,
    batch=3,
    rate_at_best=1e-3,
    likeness_from=0.8,
    likeness_rows=1,
)


@pytest.fixture(scope="module")
def packed(small_models: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One person and few captions."""
    folder = tmp_path_factory.mktemp("packed")
    people.write(folder / "people-0.npz", people.read([people.HELD_OUT]).only([0]))
    data.pack_networks(folder)
    data.pack_captions(folder / data.CAPTIONS, ways=1, negatives=2)
    return folder


def figures(state: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (state / "log.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def test_a_smoke_run_learns_stops_and_goes_on(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "SLICE", 0.01)  # a line of the log for each step
    half = recipe.Recipe(**{**vars(SMOKE), "unet_steps": 3})
    first, _ = train.train(packed, tmp_path, 1000.0, half)
    assert (first.spent.vae_steps, first.spent.unet_steps) == (6, 3)
    last, texts = train.train(packed, tmp_path, 1000.0, SMOKE)
    assert last.spent.unet_steps == 6 and last.done
    looked, found = figures(tmp_path, "vae_loss"), figures(tmp_path, "unet_error")
    assert len(looked) == 6 and looked[-1] < looked[0]
    assert len(found) == 6 and min(found[3:]) < found[0]
    likeness = figures(tmp_path, "likeness")
    assert -1 <= likeness[-1] <= 1 and likeness[0] != likeness[0], "judged from its time on, NaN before"

    paths = last.export()
    about = export.read(tmp_path / "weights")
    assert sum(path.stat().st_size for path in paths) <= 40e6
    torch.testing.assert_close(
        about["ip_adapter.1.to_k_ip.weight"],
        last.average.adapter.state_dict()["ip_adapter.1.to_k_ip.weight"],
        atol=0.01,
        rtol=0.08,
    )
    assert texts is not None
    person = torch.nn.functional.normalize(torch.randn(1, 512), dim=1)
    monkeypatch.setattr(preview, "sample", lambda predict, noise: sample(predict, noise, 1))
    drawn = preview.draw(last.average, last.vae, texts, person, captions.Known().number, 0)
    assert drawn.shape == (1, 3, 256, 256) and drawn.isfinite().all()


def bank(count: int = 5) -> Bank:
    views = 2 * len(unet_stage.views.CHANGES)
    facts = torch.arange(views * count).view(views, count) % captions.COUNT
    embeddings = torch.nn.functional.normalize(torch.randn(6, count, 512), dim=2)
    return Bank(torch.randn(views, count, 4, 4, 4), facts, torch.rand(views, count, 5, 2), embeddings)


def test_a_batch_has_each_kind_of_condition() -> None:
    """CFG's other prompt has nobody, weight 0 has the adapter off; judged rows have their person, and little noise."""
    made, marks = bank(), torch.arange(captions.COUNT).view(-1, 1, 1, 1).expand(-1, 1, 77, 1).float()
    texts = Texts(marks, torch.full((2, 77, 1), -1.0))
    many = recipe.Recipe(batch=4000, likeness_rows=500)
    batch = unet_stage.draw(made, texts, many, 3)
    negative, off = batch.text[:, 0, 0] < 0, batch.strength == 0
    nobody = ~batch.embedding.any(1)
    free = slice(500, None)
    for kind, share in (((nobody & negative), 0.1), ((nobody & ~negative), 0.08), ((off & ~negative), 0.08)):
        assert kind[free].float().mean().item() == pytest.approx(share, abs=0.02)
    assert not (nobody | off | negative)[:500].any() and batch.time[:500].max() < unet_stage.CLEAN
    assert not (nobody & off).any()
    again, other = (unet_stage.draw(made, texts, many, step) for step in (3, 4))
    assert torch.equal(again.noise, batch.noise) and not torch.equal(other.noise, batch.noise)


def test_noise_is_sd15s_and_can_be_taken_away() -> None:
    left = shares(torch.device("cpu"))
    assert left[0].item() == pytest.approx(1 - 0.00085, abs=1e-6) and left[-1].item() == pytest.approx(
        0.00466, abs=1e-4
    )
    clean, noise, share = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), left[[10, 500, 900]]
    torch.testing.assert_close(cleaned(noised(clean, noise, share), noise, share), clean, atol=1e-4, rtol=0)
    found = sample(
        lambda x, time: (
            (x - left[time][:, None, None, None].sqrt() * clean.clamp(-4, 4))
            / (1 - left[time][:, None, None, None]).sqrt()
        ),
        torch.randn(3, 4, 8, 8),
        10,
    )
    torch.testing.assert_close(found, clean.clamp(-4, 4), atol=0.15, rtol=0)


def test_the_rate_rises_and_falls() -> None:
    made = recipe.Recipe()
    assert made.rate(0, 0.0) < 0.01 and made.rate(1000, 0.5) == 1 and made.rate(10**6, 0.99) < 0.05


def test_another_text_model_is_told(packed: Path, tmp_path: Path) -> None:
    """A machine whose random numbers differ would train on words that ComfyUI does not know."""
    import numpy as np

    from consistent_face.demo_model.bank import encode_texts

    with np.load(packed / data.CAPTIONS) as file:
        np.savez(tmp_path / data.CAPTIONS, known=file["known"], negative=file["negative"], check=file["check"] + 0.1)
    with pytest.raises(RuntimeError, match="differs from the one that packed the captions"):
        encode_texts(tmp_path, torch.tensor([0]))


def test_words_are_mixed_in_at_random() -> None:
    chance = random.Random(1)
    texts = {captions.caption(captions.Known(), chance, ["lamp"] * 9) for _ in range(30)}
    assert len(texts) > 25 and any("lamp" in text for text in texts)

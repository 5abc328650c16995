"""Check Safety as ComfyUI calls it: verdicts on sockets and as text, and nothing that passes unchecked."""

import os
from pathlib import Path

import folder_paths
import pytest
import torch
from torch import Tensor

from consistent_face.core.errors import ModelMissingError, WrongModelError
from consistent_face.core.image import load_photo, no_photo
from consistent_face.core.safety.check import Classifier, Verdict
from consistent_face.core.safety.conceal import Concealment, conceal
from consistent_face.nodes.comfy import folders
from consistent_face.nodes.safety import STANDARD, CheckSafety, LoadSafetyClassifier
from consistent_face.tools.paths import model_roots

PHOTOS = Path(__file__).resolve().parents[1] / "photos"


class Fixed:
    """A classifier that answers what it was told to."""

    def __init__(self, *scores: float) -> None:
        self._scores = list(scores)

    def scores(self, images: Tensor) -> list[float]:
        return self._scores


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [str(root / folders.SAFETY) for root in model_roots()]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, folders.SAFETY, (places, {".onnx"}))


@pytest.fixture
def classifier() -> Classifier:
    (value,) = LoadSafetyClassifier.execute(STANDARD).args
    return value


def test_a_photo_is_scored_and_passes(classifier: Classifier) -> None:
    image = load_photo(str(PHOTOS / "astronaut.jpg"), "astronaut.jpg")[0]
    output = CheckSafety.execute(image, classifier, True, "sensitive_content_text", 0.5)
    safe, verdicts, unsafe, report = output.args
    assert safe is image and unsafe is False
    (verdict,) = verdicts
    assert verdict.score < 0.2 and report == f"picture 1 of 1: safe ({verdict.score:.3f})"
    assert output.ui == {"text": [report], "safety": [{"score": verdict.score, "unsafe": False}]}


def test_the_real_score_decides_at_the_threshold(classifier: Classifier) -> None:
    image = load_photo(str(PHOTOS / "astronaut.jpg"), "astronaut.jpg")[0]
    (score,) = classifier.scores(image)
    assert score > 0
    safe, _, unsafe, _ = CheckSafety.execute(image, classifier, True, "black", score).args
    assert unsafe is True and safe.max() == 0


@pytest.mark.parametrize("mode", [each.value for each in Concealment])
def test_each_mode_conceals_the_unsafe_picture_alone(mode: str) -> None:
    images = torch.rand(2, 64, 96, 3)
    output = CheckSafety.execute(images, Fixed(0.1, 0.9), True, mode, 0.5)
    safe, verdicts, unsafe, report = output.args
    assert safe.shape == images.shape and unsafe is True
    assert torch.equal(safe[0], images[0]) and torch.equal(safe[1], conceal(images[1], Concealment(mode)))
    assert verdicts == (Verdict(0.1, False), Verdict(0.9, True))
    assert report.splitlines()[1] == "picture 2 of 2: unsafe (0.900)"
    assert isinstance(output.ui, dict)
    assert output.ui["safety"] == [{"score": 0.1, "unsafe": False}, {"score": 0.9, "unsafe": True}]


def test_report_lets_pictures_pass_and_tells() -> None:
    images = torch.rand(1, 64, 64, 4)
    safe, verdicts, unsafe, _ = CheckSafety.execute(images, Fixed(0.9), True, "report", 0.5).args
    assert safe is images and unsafe is True and verdicts[0].unsafe


def test_without_the_check_pictures_pass_without_a_verdict() -> None:
    images = torch.rand(1, 64, 64, 3)
    output = CheckSafety.execute(images, None, False, "black", 0.5)
    safe, verdicts, unsafe, report = output.args
    assert safe is images and verdicts == () and unsafe is False and report == "not checked"
    assert output.ui == {"text": ["not checked"], "safety": []}


def test_an_empty_batch_passes() -> None:
    image, _ = no_photo()
    safe, verdicts, unsafe, report = CheckSafety.execute(image, None, True, "black", 0.5).args
    assert safe is image and verdicts == () and unsafe is False and report == ""


def test_the_classifier_is_asked_for_only_for_a_check() -> None:
    image, nothing = torch.rand(1, 8, 8, 3), no_photo()[0]
    more = {"mode": "black", "threshold": 0.5, "safety_classifier": None}
    assert CheckSafety.check_lazy_status(image=image, check=True, **more) == ["safety_classifier"]
    assert CheckSafety.check_lazy_status(image=image, check=False, **more) == []
    assert CheckSafety.check_lazy_status(image=nothing, check=True, **more) == []


@pytest.mark.parametrize("mode", ["black", "report"])
def test_a_checker_that_cannot_run_lets_nothing_pass(mode: str) -> None:
    with pytest.raises(WrongModelError, match="none is passed on"):
        CheckSafety.execute(torch.rand(1, 8, 8, 3), Fixed(float("nan")), True, mode, 0.5)
    with pytest.raises(ModelMissingError, match="connect Load Safety Classifier"):
        CheckSafety.execute(torch.rand(1, 8, 8, 3), None, True, mode, 0.5)


def test_a_missing_classifier_is_told_where_it_belongs() -> None:
    assert LoadSafetyClassifier.validate_inputs("gone.onnx") is True
    with pytest.raises(ModelMissingError, match="models/safety") as refused:
        LoadSafetyClassifier.execute("gone.onnx")
    assert "\n" not in str(refused.value)


def test_a_description_that_was_edited_is_read_again(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(folders.find(folders.SAFETY, STANDARD))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, folders.SAFETY, ([str(tmp_path)], {".onnx"}))
    fingerprint = LoadSafetyClassifier.fingerprint_inputs
    assert fingerprint("mine.onnx") is None
    (tmp_path / "mine.onnx").write_bytes(source.read_bytes())
    seen = [fingerprint("mine.onnx")]
    for text in ("{}", '{"resize": 8}'):
        (tmp_path / "mine.json").write_text(text)
        seen.append(fingerprint("mine.onnx"))
    os.utime(tmp_path / "mine.onnx", ns=(1, 1))
    assert len({*seen, fingerprint("mine.onnx")}) == 4 and None not in seen
    assert fingerprint("mine.onnx") == fingerprint("mine.onnx")


def test_the_limits_are_told_where_the_choice_is_made() -> None:
    _, options = LoadSafetyClassifier.INPUT_TYPES()["required"]["model"]
    assert "photographs" in options["tooltip"] and "drawings" in options["tooltip"]


def test_verdicts_are_in_the_history_of_cached_runs_too() -> None:
    """ComfyUI 0.30.0 repeats what a cached node told only where the node is an output."""
    assert CheckSafety.GET_SCHEMA().is_output_node


def test_the_documented_modes_and_their_default() -> None:
    _, options = CheckSafety.INPUT_TYPES()["required"]["mode"]
    assert options["options"] == ["blur", "sensitive_content_text", "pixelate", "black", "report"]
    assert options["default"] == "sensitive_content_text"

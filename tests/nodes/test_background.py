"""Remove Background as ComfyUI calls it: colours, alpha, masks from elsewhere, and the model only where needed."""

from collections.abc import Callable
from pathlib import Path

import folder_paths
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import nodes
from consistent_face.core.background.remover import BackgroundRemover
from consistent_face.core.errors import ConsistentFaceError, ModelMissingError
from consistent_face.core.image import load_photo, no_photo
from consistent_face.nodes.background import STANDARD, LoadBackgroundRemover, RemoveBackground
from consistent_face.nodes.comfy import folders
from consistent_face.tools.paths import model_roots

PHOTOS = Path(__file__).resolve().parents[1] / "photos"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [str(root / folders.BACKGROUND) for root in model_roots()]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, folders.BACKGROUND, (places, {".onnx"}))


@pytest.fixture
def astronaut() -> Tensor:
    return load_photo(str(PHOTOS / "astronaut.jpg"), "astronaut.jpg")[0]


@pytest.fixture
def remover() -> BackgroundRemover:
    (value,) = LoadBackgroundRemover.execute("u2netp.onnx").args
    return value


def test_the_loader_offers_its_standard_model_even_where_it_is_missing() -> None:
    _, options = LoadBackgroundRemover.INPUT_TYPES()["required"]["model"]
    assert {"u2netp.onnx", STANDARD} <= set(options["options"]) and options["default"] == STANDARD


def test_a_missing_model_is_told_where_it_belongs() -> None:
    assert LoadBackgroundRemover.validate_inputs("gone.onnx") is True
    with pytest.raises(ModelMissingError, match="models/rembg") as refused:
        LoadBackgroundRemover.execute("gone.onnx")
    assert "\n" not in str(refused.value)


def test_no_path_leads_out_of_the_folder() -> None:
    with pytest.raises(ModelMissingError):
        LoadBackgroundRemover.execute("../../../../etc/u2netp.onnx")


@pytest.mark.parametrize(
    ("remove", "colour", "channels"), [(True, "", 4), (True, "#0F0", 3), (False, "#0F0", 3), (False, "00ff00", 3)]
)
def test_removing_and_colouring(
    astronaut: Tensor, remover: BackgroundRemover, remove: bool, colour: str, channels: int
) -> None:
    image, mask, report = RemoveBackground.execute(astronaut, remove, colour, remover).args
    assert image.shape == (1, 512, 512, channels) and mask.shape == (1, 512, 512)
    assert mask[0, 60, 225] > 0.95 and mask[0, 20, 440] < 0.05  # hair, and the wall behind
    assert (image[0, 60, 225, :3] - astronaut[0, 60, 225]).abs().max() < 0.05
    if channels == 3:
        assert image[0, 20, 440] == pytest.approx([0, 1, 0], abs=0.05)
    else:
        assert torch.equal(image[..., 3], mask)
    assert report.endswith("foreground")


def test_without_either_the_picture_passes(astronaut: Tensor) -> None:
    image, mask, report = RemoveBackground.execute(astronaut, False, "").args
    assert image is astronaut and mask.min() == 1 and mask.shape == (1, 512, 512) and report == ""


def test_an_empty_batch_passes() -> None:
    image, _ = no_photo()
    cut, mask, report = RemoveBackground.execute(image, True, "#FFF").args
    assert cut.shape == (0, 1, 1, 3) and mask.shape == (0, 1, 1) and report == ""


def test_a_mask_of_comfyuis_own_takes_the_place_of_the_model(astronaut: Tensor) -> None:
    mask = torch.zeros(1, 512, 512)
    mask[:, 100:200, 100:200] = 1
    image, used, _ = RemoveBackground.execute(astronaut, True, "#00F", mask=mask).args
    assert torch.equal(used, mask)
    assert torch.equal(image[:, 100:200, 100:200], astronaut[:, 100:200, 100:200])
    assert (image[0, 0, 0] == torch.tensor([0.0, 0.0, 1.0])).all()


def test_neither_model_nor_mask_is_told(astronaut: Tensor) -> None:
    with pytest.raises(ConsistentFaceError, match="neither a background remover nor a mask"):
        RemoveBackground.execute(astronaut, True, "")


def test_the_model_is_asked_for_only_where_it_has_work(astronaut: Tensor) -> None:
    needs: Callable[..., list[str]] = RemoveBackground.check_lazy_status
    model = {"background_remover": None}
    assert needs(image=astronaut, remove_background=True, bg_color="", **model) == ["background_remover"]
    assert needs(image=astronaut, remove_background=False, bg_color="#FFF", **model) == ["background_remover"]
    assert needs(image=astronaut, remove_background=False, bg_color="", **model) == []
    assert needs(image=astronaut, remove_background=True, bg_color="", mask=astronaut[..., 0], **model) == []
    assert needs(image=no_photo()[0], remove_background=True, bg_color="", **model) == []
    assert needs(image=astronaut, remove_background=True, bg_color="") == []  # none is connected


def test_a_wrong_colour_is_refused_before_anything_runs() -> None:
    told = RemoveBackground.validate_inputs("reddish")
    assert isinstance(told, str) and "'reddish'" in told and "#RRGGBB" in told
    assert RemoveBackground.validate_inputs("#FFF") is True
    assert RemoveBackground.validate_inputs(None) is True  # linked: not known yet


def test_saved_pictures_keep_their_alpha(
    astronaut: Tensor, remover: BackgroundRemover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    image, mask, _ = RemoveBackground.execute(astronaut, True, "", remover).args
    # ComfyUI's module `nodes`, not our room of that name.
    nodes.SaveImage().save_images(image, "avatar")  # pyright: ignore[reportAttributeAccessIssue]
    (file,) = tmp_path.glob("*.png")
    with Image.open(file) as saved:
        assert saved.mode == "RGBA"
        alpha = np.asarray(saved)[..., 3].astype(int)
    assert np.abs(alpha - mask[0].numpy() * 255).max() <= 1

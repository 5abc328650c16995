"""Load Photo and Fit Photo as ComfyUI calls them."""

import shutil
from pathlib import Path

import folder_paths
import numpy as np
import pytest
import torch
from PIL import Image

from consistent_face.api.comfyui.workflow import FOLDER
from consistent_face.api.media.pictures import LARGEST_PHOTO
from consistent_face.core.errors import PhotoError
from consistent_face.core.image import MAX_BYTES
from consistent_face.nodes.photo import NODES, SERVICE_FOLDER, SERVICE_MAX_BYTES, FitPhoto, LoadPhoto

PHOTOS = Path(__file__).resolve().parents[1] / "photos"


@pytest.fixture(autouse=True)
def input_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "input"
    (folder / "anna").mkdir(parents=True)
    (folder / "clipspace").mkdir()
    shutil.copy(PHOTOS / "astronaut.jpg", folder)
    shutil.copy(PHOTOS / "exif_orientation_6.jpg", folder / "anna" / "front.jpg")
    shutil.copy(PHOTOS / "cat.jpg", folder / "clipspace")
    (folder / "notes.txt").write_text("no picture")
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(folder))
    return folder


@pytest.mark.parametrize("node", NODES)
def test_schemas_are_whole(node: type) -> None:
    schema = node.GET_SCHEMA()
    assert schema.node_id == f"ConsistentFace_{node.__name__}"
    assert schema.description and schema.search_aliases and schema.category == "consistent face/photo"
    assert (Path(__file__).resolve().parents[2] / "web" / "docs" / f"{schema.node_id}.md").exists()


def test_pictures_are_offered_and_none_is_last() -> None:
    (image,) = LoadPhoto.define_schema().inputs
    assert image.as_dict()["options"] == ["anna/front.jpg", "astronaut.jpg", "none"]
    assert image.as_dict()["image_upload"] is True and image.as_dict()["image_folder"] == "input"


def test_a_photo() -> None:
    image, mask = LoadPhoto.execute("astronaut.jpg").args
    assert image.shape == (1, 512, 512, 3) and image.dtype == torch.float32
    assert mask.shape == (1, 512, 512) and not mask.any()


@pytest.mark.parametrize("name", ["anna/front.jpg", "anna/front.jpg [input]"])
def test_a_photo_of_a_subfolder(name: str) -> None:
    assert LoadPhoto.validate_inputs(name) is True
    assert LoadPhoto.execute(name).args[0].shape == (1, 128, 128, 3)


@pytest.fixture
def erased(input_folder: Path) -> Path:
    """A person of whom the upper half was erased, as most tools do: the colours stay under the transparency."""
    picture = Image.open(PHOTOS / "astronaut.jpg").convert("RGBA")
    alpha = np.full((512, 512), 255, np.uint8)
    alpha[:256] = 0
    picture.putalpha(Image.fromarray(alpha))
    for folder in (input_folder, input_folder / "clipspace"):
        picture.save(folder / "erased.png")
    return input_folder


def test_what_was_erased_is_not_shown(erased: Path) -> None:
    image, mask = LoadPhoto.execute("erased.png").args
    assert (image[:, :256] == 1).all() and (mask[:, :256] == 1).all() and not mask[:, 256:].any()
    assert torch.equal(image[:, 256:], LoadPhoto.execute("astronaut.jpg").args[0][:, 256:])


def test_a_mask_of_the_mask_editor_leaves_the_picture_whole(erased: Path) -> None:
    image, mask = LoadPhoto.execute("clipspace/erased.png [input]").args
    assert torch.equal(image, LoadPhoto.execute("astronaut.jpg").args[0]) and mask[:, :256].all()


def test_none_is_an_empty_batch() -> None:
    assert LoadPhoto.validate_inputs("none") is True
    image, mask = LoadPhoto.execute("none").args
    assert image.shape == (0, 1, 1, 3) and mask.shape == (0, 1, 1)
    assert FitPhoto.execute(image, 64, 64).args[0].shape == (0, 1, 1, 3)
    assert LoadPhoto.fingerprint_inputs("none") == "none"


@pytest.mark.parametrize("name", ["../me.jpg", "/etc/passwd", "anna/../../x.jpg", "me.jpg", "me.jpg [output]", "anna"])
def test_files_that_are_refused(name: str) -> None:
    assert isinstance(LoadPhoto.validate_inputs(name), str)
    with pytest.raises(PhotoError):
        LoadPhoto.execute(name)


def test_photos_of_the_service_may_have_more_bytes(input_folder: Path) -> None:
    """It encodes them anew without loss. Nothing else counts as its photo: neither a link nor a name like it."""
    large = (PHOTOS / "astronaut.jpg").read_bytes() + bytes(MAX_BYTES)
    names = ("consistent-face/job/photo.jpg", "consistent-face-2/photo.jpg", "anna/consistent-face/photo.jpg")
    for name in names:
        (input_folder / name).parent.mkdir(parents=True)
        (input_folder / name).write_bytes(large)
    (input_folder / "consistent-face" / "link.jpg").symlink_to(input_folder / names[1])
    assert LoadPhoto.execute(names[0]).args[0].shape == (1, 512, 512, 3)
    for name in (*names[1:], "consistent-face/link.jpg", "consistent-face/../consistent-face-2/photo.jpg"):
        with pytest.raises(PhotoError, match="at most 20 MB are read"):
            LoadPhoto.execute(name)
    (input_folder / names[0]).write_bytes(large + bytes(SERVICE_MAX_BYTES))
    with pytest.raises(PhotoError, match="at most 100 MB are read"):
        LoadPhoto.execute(names[0])


def test_the_services_folder_and_limit_are_its_own() -> None:
    assert (SERVICE_FOLDER, SERVICE_MAX_BYTES) == (FOLDER, LARGEST_PHOTO)


def test_the_fingerprint_follows_the_content(input_folder: Path) -> None:
    before = LoadPhoto.fingerprint_inputs("astronaut.jpg")
    (input_folder / "astronaut.jpg").touch()
    assert LoadPhoto.fingerprint_inputs("astronaut.jpg") == before
    shutil.copy(PHOTOS / "cat.jpg", input_folder / "astronaut.jpg")
    assert LoadPhoto.fingerprint_inputs("astronaut.jpg") != before


def test_fit_says_the_size() -> None:
    image, width, height = FitPhoto.execute(torch.rand(2, 1200, 800, 3), 600, 600).args
    assert image.shape == (2, 600, 400, 3) and (width, height) == (400, 600)

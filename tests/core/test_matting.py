"""The foreground, its edges and what is put behind it, with rembg's real u2netp."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from consistent_face.core.background import remover
from consistent_face.core.background.matting import decontaminate, parse_colour, replace_background
from consistent_face.core.background.remover import BackgroundRemover, session_kind
from consistent_face.core.errors import ConsistentFaceError, PhotoError, WrongModelError
from consistent_face.tools.paths import model_roots


@pytest.fixture(scope="module")
def u2netp() -> Path:
    return next(path for root in model_roots() if (path := root / "rembg" / "u2netp.onnx").exists())


@pytest.fixture(scope="module")
def network(u2netp: Path) -> BackgroundRemover:
    return BackgroundRemover.load(u2netp)


def half_covered(image: Tensor, coverage: float = 0.5) -> Tensor:
    """Left third foreground, right third background, between them the given coverage."""
    masks = torch.zeros(image.shape[:3])
    third = image.shape[2] // 3
    masks[:, :, :third] = 1
    masks[:, :, third:-third] = coverage
    return masks


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("#FFFFFF", (1, 1, 1)),
        ("0f0", (0, 1, 0)),
        ("#0F0", (0, 1, 0)),
        ("336699", (0x33 / 255, 0x66 / 255, 0x99 / 255)),
        (" #369 ", (0x33 / 255, 0x66 / 255, 0x99 / 255)),
        ("", None),
        (None, None),
        ("None", None),
        ("#", None),
    ],
)
def test_colours(text: str | None, colour: tuple[float, ...] | None) -> None:
    assert parse_colour(text) == colour


@pytest.mark.parametrize(
    "text", ["white", "#12345", "#1234567", "#GGGGGG", "0x1234", "#١٢٣", "-12", "#FF FF", "#FFFFFFFF"]
)
def test_what_is_no_colour_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ConsistentFaceError, match="#RRGGBB or #RGB") as refused:
        parse_colour(text)
    assert repr(text) in str(refused.value) and "\n" not in str(refused.value)


def test_an_edge_loses_the_old_background() -> None:
    """A red figure before blue, half of it at the edge: on green nothing blue is left."""
    red, blue = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9])
    image = torch.zeros(1, 32, 48, 3)
    masks = half_covered(image)
    image[:] = masks[..., None] * red + (1 - masks[..., None]) * blue
    cut, used, report = replace_background(image, masks, (0, 1, 0))
    green = torch.tensor([0.0, 1.0, 0.0])
    expected = masks[..., None] * red + (1 - masks[..., None]) * green
    assert torch.equal(used, masks)
    assert (cut - expected).abs().max() < 0.02
    assert report == "picture 1 of 1: 50% foreground"


def test_covered_pixels_are_kept_to_the_bit() -> None:
    image = torch.rand(24, 30, 3, generator=torch.Generator().manual_seed(0))
    mask = half_covered(image[None])[0]
    own = decontaminate(image, mask)
    assert torch.equal(own[mask == 1], image[mask == 1])
    assert not torch.equal(own[mask == 0.5], image[mask == 0.5])
    assert own.min() >= 0 and own.max() <= 1


def test_without_colour_the_alpha_is_the_mask(network: BackgroundRemover, photo: Callable[[str], Tensor]) -> None:
    image = photo("astronaut")
    masks = network.masks(image)
    cut, used, _ = replace_background(image, masks, None)
    assert cut.shape == (*image.shape[:3], 4)
    assert torch.equal(cut[..., 3], masks) and torch.equal(used, masks)


@pytest.mark.parametrize(
    ("stem", "inside", "outside"),
    [("astronaut", (60, 225), (20, 440)), ("person0_v0", (500, 500), (60, 60)), ("grace_hopper", (200, 250), (30, 30))],
)
def test_people_are_told_from_what_is_behind(
    network: BackgroundRemover,
    photo: Callable[[str], Tensor],
    stem: str,
    inside: tuple[int, int],
    outside: tuple[int, int],
) -> None:
    mask = network.masks(photo(stem))[0]
    assert mask[inside] > 0.95 and mask[outside] < 0.05


def test_masks_equal_rembgs_own(network: BackgroundRemover, u2netp: Path, photo: Callable[[str], Tensor]) -> None:
    from rembg import remove

    image = photo("cat")
    picture = Image.fromarray((image[0] * 255).round().byte().numpy())
    expected = np.asarray(remove(picture, session=network._session, only_mask=True))
    assert torch.equal((network.masks(image)[0] * 255).round().byte(), torch.from_numpy(expected.copy()))


def test_each_picture_of_a_batch_has_its_own_mask(network: BackgroundRemover, photo: Callable[[str], Tensor]) -> None:
    image = photo("astronaut")
    batch = torch.cat([image, image.flip(2), torch.full_like(image, 0.5)])
    steps: list[int] = []
    masks = network.masks(batch, steps.append)
    assert steps == [1, 1, 1]
    assert torch.equal(masks[0], network.masks(batch[:1])[0])
    assert torch.equal(masks[1], network.masks(batch[1:2])[0])
    assert masks[2].max() == 0


def test_a_picture_of_nothing_is_returned_whole_with_a_word(network: BackgroundRemover) -> None:
    image = torch.full((1, 64, 96, 3), 0.4)
    cut, used, report = replace_background(image, network.masks(image), None)
    assert torch.equal(cut[..., :3], image) and used.min() == 1 and cut[..., 3].min() == 1
    assert report == "picture 1 of 1: no foreground was found, left whole"


def test_a_transparent_picture_stays_transparent_there() -> None:
    image = torch.rand(1, 16, 24, 4, generator=torch.Generator().manual_seed(1))
    image[..., 3] = 1
    image[:, :8, :, 3] = 0
    cut, used, _ = replace_background(image, torch.ones(1, 16, 24), (1, 1, 1))
    assert cut.shape == (1, 16, 24, 3)
    assert (cut[:, :8] == 1).all() and torch.equal(cut[:, 8:], image[:, 8:, :, :3])
    assert used[:, :8].max() == 0


def test_what_alpha_hides_stays_hidden_where_nothing_stands_out() -> None:
    picture = torch.rand(1, 8, 8, 4)
    picture[..., 3] = 0
    picture[:, 2:6, 2:6, 3] = 1
    for colour in (None, (1.0, 1.0, 1.0)):
        done, kept, report = replace_background(picture, torch.zeros(1, 8, 8), colour)
        assert torch.equal(kept, picture[..., 3]) and "left whole" in report
        assert torch.equal(done[:, 2:6, 2:6, :3], picture[:, 2:6, 2:6, :3])
    assert (done[:, 0] == 1).all()


def test_one_mask_serves_a_whole_batch_and_no_other_size() -> None:
    images = torch.rand(3, 16, 24, 3)
    for mask in (torch.ones(1, 16, 24), torch.ones(16, 24)):
        cut, used, _ = replace_background(images, mask, None)
        assert cut.shape == (3, 16, 24, 4) and used.shape == (3, 16, 24)
    for wrong in (torch.ones(1, 24, 16), torch.ones(2, 16, 24)):
        with pytest.raises(PhotoError, match="3 of 24x16 pixels"):
            replace_background(images, wrong, None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("u2netp.onnx", "u2netp"),
        ("ISNet-general-use.onnx", "isnet-general-use"),
        ("BiRefNet-portrait-epoch_150.onnx", "birefnet-portrait"),
        ("BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx", "birefnet-general-lite"),
    ],
)
def test_a_files_name_tells_its_session(name: str, kind: str) -> None:
    assert session_kind(name) == kind


@pytest.mark.parametrize(
    "name", ["bria-rmbg.onnx", "withoutbg.onnx", "atlascloud.onnx", "u2net_custom.onnx", "mine.onnx"]
)
def test_default_remote_and_unknown_sessions_cannot_be_named(name: str) -> None:
    with pytest.raises(WrongModelError, match="isnet-general-use"):
        session_kind(name)


def test_every_session_is_local_and_known_to_rembg() -> None:
    from rembg.sessions import sessions

    assert set(remover.RELEASED.values()) <= set(remover.SESSIONS) <= sessions.keys()
    assert all(sessions[kind].is_local() for kind in remover.SESSIONS)


def test_a_damaged_file_is_refused(tmp_path: Path, u2netp: Path) -> None:
    damaged = tmp_path / "u2netp.onnx"
    damaged.write_bytes(u2netp.read_bytes()[:100_000])
    with pytest.raises(WrongModelError, match=r"u2netp\.onnx is no readable ONNX model; fetch the file again"):
        BackgroundRemover.load(damaged)


def test_rembg_is_not_imported_where_onnxruntime_is_missing(monkeypatch: pytest.MonkeyPatch, u2netp: Path) -> None:
    """It would end the process: SystemExit is no error that ComfyUI reports."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("rembg", "onnxruntime")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConsistentFaceError, match=r"requirements\.txt"):
        BackgroundRemover.load(u2netp)
    assert "rembg" not in sys.modules


def test_loading_touches_no_home_folder_and_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, u2netp: Path
) -> None:
    import socket

    def refuse(*arguments: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("HOME", "U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    BackgroundRemover.load(u2netp).masks(torch.rand(1, 32, 32, 3))
    assert list(tmp_path.iterdir()) == []

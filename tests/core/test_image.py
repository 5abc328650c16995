"""Photos come in upright, whole and within limits; anything else is refused in one sentence."""

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from consistent_face.core import image
from consistent_face.core.errors import PhotoError
from consistent_face.core.image import fit, load_photo, no_photo, on_ground, path_within

# How a stored picture is turned to stand upright, by EXIF orientation (EXIF 2.32, tag 0x0112), on [H,W,C].
TURNS = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}


def pixels(height: int = 24, width: int = 40, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def saved(folder: Path, picture: Image.Image, name: str = "photo.png", **options: Any) -> str:
    picture.save(folder / name, **options)
    return str(folder / name)


def png_of_size(path: Path, width: int, height: int) -> str:
    """A PNG that promises a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
    return str(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["photo.png", "photo.webp", "photo.tiff"])
def test_every_orientation_stands_upright(tmp_path: Path, orientation: int, name: str) -> None:
    stored, exif = pixels(), Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(stored), name, exif=exif, lossless=True)
    expected = torch.from_numpy(TURNS[orientation](stored).copy()).float() / 255
    assert torch.equal(load_photo(path, name)[0][0], expected)


def test_the_seven_files_show_the_same_picture(photo: Callable[[str], Tensor]) -> None:
    upright = [photo(f"exif_orientation_{orientation}") for orientation in range(2, 9)]
    assert all((each - upright[0]).abs().mean() < 0.02 for each in upright)  # they were compressed one by one


@pytest.mark.parametrize("orientation", [0, 9, 60000])
def test_an_orientation_that_does_not_exist_is_none(tmp_path: Path, orientation: int) -> None:
    stored, exif = pixels(), Image.Exif()
    exif[0x0112] = orientation
    assert load_photo(saved(tmp_path, Image.fromarray(stored), exif=exif), "photo.png")[0].shape == (1, 24, 40, 3)


def test_broken_exif_leaves_the_picture_as_stored(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(pixels()), "photo.jpg", exif=b"Exif\0\0nonsense")
    assert load_photo(path, "photo.jpg")[0].shape == (1, 24, 40, 3)


def test_alpha_becomes_the_mask(tmp_path: Path) -> None:
    stored = pixels(channels=4)
    rgb, mask = load_photo(saved(tmp_path, Image.fromarray(stored)), "photo.png")
    assert torch.equal(rgb[0], torch.from_numpy(stored[..., :3]).float() / 255)
    assert torch.equal(mask[0], 1 - torch.from_numpy(stored[..., 3]).float() / 255)


def test_grey_with_alpha(tmp_path: Path) -> None:
    stored = pixels(channels=2)
    rgb, mask = load_photo(saved(tmp_path, Image.fromarray(stored, "LA")), "photo.png")
    assert torch.equal(rgb[0, ..., 1], torch.from_numpy(stored[..., 0]).float() / 255)
    assert torch.equal(mask[0], 1 - torch.from_numpy(stored[..., 1]).float() / 255)


def test_colours_under_transparency_become_white() -> None:
    image, mask = torch.rand(1, 4, 6, 3), torch.zeros(1, 4, 6)
    mask[:, :2], mask[:, 2] = 1, 0.5
    seen = on_ground(image, mask, "photo.png")
    assert (seen[:, :2] == 1).all() and torch.equal(seen[:, 3], image[:, 3])
    torch.testing.assert_close(seen[:, 2], (image[:, 2] + 1) / 2)


def test_one_colour_under_transparency_hides_nothing_and_stays() -> None:
    image, mask = torch.rand(1, 4, 6, 3), torch.zeros(1, 4, 6)
    image[:, :2], mask[:, :2], mask[:, 2] = 0, 1, 0.5
    seen = on_ground(image, mask, "pose.png")
    assert (seen[:, :2] == 0).all()
    torch.testing.assert_close(seen[:, 2], image[:, 2] / 2)


def test_a_ground_that_compression_has_blurred_stays_one_colour() -> None:
    image, mask = torch.rand(1, 40, 60, 3), torch.zeros(1, 40, 60)
    mask[:, :30] = 1
    image[:, :20] = torch.rand(1, 20, 60, 3) * 6 / 255  # black but for noise; below it is somebody who was erased
    seen = on_ground(image, mask, "pose.webp")
    assert seen[:, :30].max() < 0.05 and (seen[:, :30] == seen[:, :1, :1]).all()


def test_hardly_visible_colours_become_white() -> None:
    mask = torch.full((1, 4, 6), 254 / 255)
    assert on_ground(torch.rand(1, 4, 6, 3), mask, "photo.png").min() > 0.99


def test_a_photo_that_is_transparent_all_over_is_refused() -> None:
    with pytest.raises(PhotoError, match=r"photo\.png is transparent all over, so nothing .*; save it without"):
        on_ground(torch.rand(1, 4, 6, 3), torch.ones(1, 4, 6), "photo.png")


@pytest.mark.parametrize("name", ["photo.png", "photo.gif"])
def test_palette_with_a_transparent_colour(tmp_path: Path, name: str) -> None:
    stored = Image.fromarray(np.arange(24 * 40, dtype=np.uint8).reshape(24, 40) % 4, "P")
    stored.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    rgb, mask = load_photo(saved(tmp_path, stored, name, transparency=1), name)
    assert rgb[0, 0, :4].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], pytest.approx([9 / 255] * 3)]
    assert mask[0, 0, :4].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_opaque_modes_have_an_empty_mask(tmp_path: Path, mode: str) -> None:
    rgb, mask = load_photo(saved(tmp_path, Image.new(mode, (40, 24)), "photo.tiff"), "photo.tiff")
    assert rgb.shape == (1, 24, 40, 3) and rgb.dtype == torch.float32
    assert mask.shape == (1, 24, 40) and not mask.any()


@pytest.mark.parametrize("name", ["photo.png", "photo.tiff"])
def test_16_bit_keeps_its_range(tmp_path: Path, name: str) -> None:
    stored = np.linspace(0, 65535, 24 * 40).astype(np.uint16).reshape(24, 40)
    rgb, _ = load_photo(saved(tmp_path, Image.fromarray(stored), name), name)
    assert torch.allclose(rgb[0, ..., 2], torch.from_numpy(stored.astype(np.float32) / 65535))


def test_32_bit_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.zeros((24, 40), np.float32)), "photo.tiff")
    with pytest.raises(PhotoError, match=r"photo\.tiff has 32 bits.*save it with 8 or 16"):
        load_photo(path, "photo.tiff")


@pytest.mark.parametrize("name", ["photo.gif", "photo.webp", "photo.png", "photo.tiff"])
def test_several_frames_give_the_first(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (40, 24), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], lossless=True)
    rgb, _ = load_photo(path, name)
    assert rgb.shape == (1, 24, 40, 3) and rgb[0, 0, 0].tolist() == pytest.approx([1, 0, 0], abs=0.01)


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
def test_too_small(tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved(tmp_path, Image.new("RGB", size))
    with pytest.raises(PhotoError, match=rf"cat\.png is {size[0]}x{size[1]} pixels, too small.*at least 16x16"):
        load_photo(path, "cat.png")


@pytest.mark.parametrize("size", [(20_000, 20), (20, 20_000), (8000, 5001), (20_000, 20_000), (30_000, 30_000)])
def test_too_many_pixels_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(PhotoError, match=r"^big\.png (is|has) .*40 million pixels with sides up to 16384.*reduce"):
        load_photo(png_of_size(tmp_path / "big.png", *size), "big.png")


def test_the_largest_size_is_allowed() -> None:
    image._check_size(8000, 5000, "photo.png")
    image._check_size(16_384, 2000, "photo.png")


def test_too_many_bytes_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.jpg"
    with path.open("wb") as file:
        file.truncate(20_000_001)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(PhotoError, match=r"big\.jpg has 20\.0 MB, and at most 20 MB"):
        load_photo(str(path), "big.jpg")


@pytest.mark.parametrize("content", [b"This is a text.", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7", bytes(1000)])
def test_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "me.jpg").write_bytes(content)
    with pytest.raises(PhotoError, match=r"me\.jpg is (no picture|damaged).*(save it as JPEG|save or upload)"):
        load_photo(str(tmp_path / "me.jpg"), "me.jpg")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "me.jpg").touch()
    with pytest.raises(PhotoError, match=r"me\.jpg is empty"):
        load_photo(str(tmp_path / "me.jpg"), "me.jpg")


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.webp", "photo.bmp", "photo.tiff", "photo.gif"])
def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    whole, chance = Path(saved(tmp_path, Image.fromarray(pixels()), name)).read_bytes(), random.Random(0)
    path, refused = tmp_path / name, 0
    for _ in range(60):
        cut = whole[: chance.randrange(1, len(whole) - 8)]
        flipped = bytearray(whole)
        for _ in range(4):
            flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        for content in (cut, bytes(flipped)):
            path.write_bytes(content)
            try:
                load_photo(str(path), name)
            except PhotoError as error:
                refused += 1
                assert str(error).startswith(name) and "\n" not in str(error)
    assert refused >= 55


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "link.png", "bad\0name.png"])
def test_only_files_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "input"
    (folder / "a").mkdir(parents=True)
    (tmp_path / "secret.png").touch()
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(PhotoError, match="outside ComfyUI's input folder"):
        path_within(str(folder), name)


def test_a_sister_folder_is_outside(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input2").mkdir()
    (tmp_path / "input2" / "me.png").touch()
    with pytest.raises(PhotoError, match="outside"):
        path_within(str(tmp_path / "input"), "../input2/me.png")


def test_files_inside_are_found(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "front.png").touch()
    assert path_within(str(tmp_path), "anna/front.png") == str((tmp_path / "anna" / "front.png").resolve())
    with pytest.raises(PhotoError, match=r"'anna/back\.png' was not found"):
        path_within(str(tmp_path), "anna/back.png")


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [
        ((3000, 2000), (1536, 1536), (1536, 1024)),
        ((2000, 3000), (1536, 1536), (1024, 1536)),
        ((3000, 2000), (1536, 512), (768, 512)),
        ((1536, 1536), (1536, 1536), (1536, 1536)),
        ((640, 480), (1536, 1536), (640, 480)),
        ((4000, 20), (100, 100), (100, 1)),
    ],
)
def test_fit(size: tuple[int, int], limit: tuple[int, int], expected: tuple[int, int]) -> None:
    fitted = fit(torch.rand(1, size[1], size[0], 3), *limit)
    assert fitted.shape == (1, expected[1], expected[0], 3)
    assert fitted.min() >= 0 and fitted.max() <= 1


def test_fit_leaves_small_and_empty_batches_alone() -> None:
    small, (empty, _) = torch.rand(2, 48, 64, 3), no_photo()
    assert fit(small, 64, 64) is small
    assert fit(empty, 64, 64) is empty and empty.shape == (0, 1, 1, 3)


def test_fit_keeps_the_picture() -> None:
    ramp = torch.linspace(0, 1, 600)[None, None, :, None].expand(1, 300, 600, 3)
    expected = torch.linspace(0, 1, 200)[None, None, :, None].expand(1, 100, 200, 3)
    assert torch.allclose(fit(ramp, 200, 200), expected, atol=0.01)

"""Photos are upright, whole, of a known size, encoded anew and without metadata before they go anywhere."""

import contextlib
import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from consistent_face.api.base.errors import PictureError
from consistent_face.api.base.settings import Settings
from consistent_face.api.media.containers import MalformedError, TooMuchError, look
from consistent_face.api.media.metadata import strip
from consistent_face.api.media.pictures import MAX_SIDE, MIN_SIDE, accept, deliverable, low_res
from consistent_face.core import image as core_image
from consistent_face.tests.api import bombs

PHOTOS = Path(__file__).resolve().parent.parent / "photos"
PLACE = b"GPS: 51.5 N"


def made(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    image = Image.effect_noise(size, 80).convert(mode)
    image.save(out, kind, **options)  # type: ignore[arg-type]
    return out.getvalue()


def with_metadata(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = PLACE.decode()
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", PLACE.decode(), zip=False)
    more: dict[str, Any] = {"PNG": {"pnginfo": text}, "JPEG": {"comment": PLACE}, "WEBP": {"xmp": PLACE}}[kind]
    return made(kind, exif=exif, icc_profile=PLACE * 20, **more)


def pixels(content: bytes) -> bytes:
    return Image.open(io.BytesIO(content)).convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_metadata_goes_and_pixels_stay(kind: str) -> None:
    content = with_metadata(kind)
    assert PLACE in content
    photo = accept(content, "image", 10**6, 10**6)
    assert PLACE not in photo.content
    assert kind == "JPEG" or pixels(photo.content) == pixels(content)
    again = Image.open(io.BytesIO(photo.content))
    assert not {"exif", "icc_profile", "xmp", "comment", "prompt"} & set(again.info)


def test_of_a_jpeg_with_several_pictures_the_first_is_taken() -> None:
    """Phones append depth and gain maps."""
    more = Image.effect_noise((20, 15), 80).convert("RGB")
    content = made("MPO", save_all=True, append_images=[more])
    photo = accept(content, "image", 10**6, 10**6)
    image = Image.open(io.BytesIO(photo.content))
    assert (image.format, photo.suffix, image.size) == ("JPEG", ".jpg", (40, 30))
    assert not getattr(image, "is_animated", False)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_photos_are_turned_upright(orientation: int) -> None:
    photo = accept((PHOTOS / f"exif_orientation_{orientation}.jpg").read_bytes(), "image", 10**7, 10**8)
    image = Image.open(io.BytesIO(photo.content))
    upright = Image.open(PHOTOS / "astronaut.jpg")
    assert image.getexif().get(0x0112, 1) == 1
    assert (image.width > image.height) == (upright.width > upright.height) or upright.width == upright.height
    assert (photo.width, photo.height) == image.size


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "I;16"])
def test_every_usual_kind_of_png(mode: str) -> None:
    assert accept(made("PNG", mode=mode), "image", 10**6, 10**6).suffix == ".png"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(40, 30), (300, 17), (16, 2000)])
def test_a_file_says_its_size_before_it_is_decoded(kind: str, size: tuple[int, int]) -> None:
    every: list[dict[str, Any]] = [
        {},
        {"lossless": True},
        {"progressive": True},
        {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"},
    ]
    for options in every:
        found = look(made(kind, size, **options))
        assert (found.kind, found.width, found.height) == (kind, *size)


def as_load_photo_sees_it(path: Path) -> np.ndarray:
    """Colours and mask as one array."""
    colours, mask = core_image.load_photo(str(path), path.name)
    return np.concatenate([colours[0].numpy(), mask[0].numpy()[..., None]], axis=-1)


def with_hidden_colours() -> Image.Image:
    shown = Image.effect_noise((40, 30), 80).convert("RGB").rotate(20)
    shown.putalpha(Image.linear_gradient("L").resize((40, 30)).point([*[0] * 99, *range(99, 256)]))
    return shown


def palette_with_transparency() -> Image.Image:
    return Image.effect_noise((40, 30), 80).convert("RGB").quantize(200)


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.arange(40 * 30, dtype=np.uint16).reshape(30, 40) * 54)


def noise(mode: str) -> Image.Image:
    return Image.effect_noise((40, 30), 80).convert(mode)


LOSSLESS: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
    "RGB": (noise("RGB"), "PNG", {}),
    "RGB with one colour transparent": (noise("RGB"), "PNG", {"transparency": (128, 128, 128)}),
    "RGBA": (with_hidden_colours(), "PNG", {}),
    "grey": (noise("L"), "PNG", {}),
    "grey with one grey transparent": (noise("L"), "PNG", {"transparency": 128}),
    "grey with alpha": (with_hidden_colours().convert("LA"), "PNG", {}),
    "black and white": (noise("1"), "PNG", {}),
    "16 bits": (sixteen_bits(), "PNG", {}),
    "palette": (palette_with_transparency(), "PNG", {}),
    "palette with transparency": (palette_with_transparency(), "PNG", {"transparency": bytes(range(200))}),
    "palette with one colour transparent": (palette_with_transparency(), "PNG", {"transparency": 3}),
    "APNG": (noise("RGB"), "PNG", {"save_all": True, "append_images": [noise("RGB")]}),
    "WebP": (noise("RGB"), "WEBP", {"quality": 70}),
    "lossless WebP": (noise("RGB"), "WEBP", {"lossless": True}),
    "WebP with hidden colours": (with_hidden_colours(), "WEBP", {"lossless": True, "exact": True}),
    "animated WebP": (noise("RGB"), "WEBP", {"save_all": True, "append_images": [noise("RGB")], "lossless": True}),
}


@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("name", LOSSLESS)
def test_png_and_webp_stay_what_load_photo_sees_in_them(tmp_path: Path, name: str, orientation: int) -> None:
    image, kind, options = LOSSLESS[name]
    exif = Image.Exif()
    exif[0x0112] = orientation
    sent, stored = tmp_path / "sent", tmp_path / "stored"
    image.save(sent, kind, exif=exif, **options)
    photo = accept(sent.read_bytes(), "image", 10**6, 10**6)
    stored.write_bytes(photo.content)
    assert np.array_equal(as_load_photo_sees_it(stored), as_load_photo_sees_it(sent))
    again = Image.open(stored)
    assert again.format == kind and again.mode == image.mode and not getattr(again, "is_animated", False)
    assert (photo.width, photo.height) == again.size == ((40, 30) if orientation == 1 else (30, 40))


def interlaced(depth: int, colour: int) -> bytes:
    """A PNG in seven passes, which Pillow reads and does not write."""
    header = struct.pack(">IIBBBBB", 40, 30, depth, colour, 0, 0, 1)
    each = {0: 1, 2: 3, 6: 4}[colour] * depth // 8
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    random = np.random.default_rng(0)
    lines = b""
    for left, top, across, down in steps:
        for _ in range(top, 30, down):
            lines += b"\0" + random.bytes(len(range(left, 40, across)) * each)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    packed = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(("depth", "colour"), [(8, 2), (16, 0), (16, 2), (16, 6)])
def test_interlaced_png_and_16_bits_a_colour(tmp_path: Path, depth: int, colour: int) -> None:
    sent, stored = tmp_path / "sent", tmp_path / "stored"
    sent.write_bytes(interlaced(depth, colour))
    stored.write_bytes(accept(sent.read_bytes(), "image", 10**6, 10**6).content)
    assert np.array_equal(as_load_photo_sees_it(stored), as_load_photo_sees_it(sent))


@pytest.mark.parametrize("path", sorted(PHOTOS.glob("*.jpg")), ids=lambda path: path.stem)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_changes_by_less_than_anyone_sees(tmp_path: Path, path: Path, mode: str) -> None:
    sent, stored = tmp_path / "sent.jpg", tmp_path / "stored.jpg"
    if mode == "RGB":
        sent.write_bytes(path.read_bytes())
    else:
        Image.open(path).convert(mode).save(sent, quality=85)
    photo = accept(sent.read_bytes(), "image", 10**7, 10**8)
    stored.write_bytes(photo.content)
    image = Image.open(stored)
    assert (image.format, image.mode, photo.suffix) == ("JPEG", "L" if mode == "L" else "RGB", ".jpg")
    assert all(sampled[1:3] == (1, 1) for sampled in image.layer)  # type: ignore[attr-defined]
    difference = 255 * np.abs(as_load_photo_sees_it(stored) - as_load_photo_sees_it(sent))
    assert difference.mean() < 1 and np.percentile(difference, 99.9) < 9 and difference.max() < 21


def bomb(side: int) -> bytes:
    """A small PNG of side times side pixels, written without ever holding them."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    packed = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("side", [8000, 12_000, 40_000])
def test_decompression_bombs_are_refused_unread(side: int) -> None:
    content = bomb(side)
    assert len(content) < 300_000
    with pytest.raises(PictureError, match=f"image is {side}x{side}: send a picture of at most 40000000 pixels"):
        accept(content, "image", 10**7, 40_000_000)


def test_a_webp_of_many_pixels_is_refused_before_its_canvas_is_made() -> None:
    content = bytearray(made("WEBP", save_all=True, append_images=[noise("RGB")]))
    content[24:30] = b"\xfe\x3f\0" * 2
    with pytest.raises(PictureError, match="image is 16383x16383: send a picture of at most 40000000 pixels"):
        accept(bytes(content), "image", 10**7, 40_000_000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(8, 8), (15, 40), (400, 1)])
def test_pictures_too_small_to_show_anything_are_refused(kind: str, size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match=f"face_image is {size[0]}x{size[1]}: send a picture of at least 16x16"):
        accept(made(kind, size), "face_image", 10**6, 10**6)


def test_a_side_that_load_photo_refuses_is_refused_before_a_job() -> None:
    with pytest.raises(PictureError, match="image is 16385x16: send a picture of at most 16384 pixels a side"):
        accept(made("PNG", (16_385, 16)), "image", 10**6, 10**6)
    assert accept(made("PNG", (16_384, 16)), "image", 10**6, 10**6).width == 16_384


def test_the_limits_are_those_of_load_photo() -> None:
    assert (MIN_SIDE, MAX_SIDE) == (core_image.MIN_SIDE, core_image.MAX_SIDE)
    assert Settings().max_pixels == core_image.MAX_PIXELS


@pytest.mark.parametrize("name", bombs.REFUSED)
def test_work_without_end_is_refused_before_it_begins(name: str) -> None:
    make, sentence = bombs.REFUSED[name]
    content, started = make(), time.process_time()
    with pytest.raises(PictureError, match=f"^image {sentence}.*save it anew"):
        accept(content, "image", bombs.LARGEST + 1000, 40_000_000)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", bombs.HARMLESS)
def test_what_passes_costs_no_more_than_a_large_photo(name: str) -> None:
    content, started = bombs.HARMLESS[name](), time.process_time()
    with contextlib.suppress(PictureError):
        accept(content, "image", bombs.LARGEST + 1000, 40_000_000)
    assert time.process_time() - started < 8


def test_of_an_mpo_the_first_picture_counts_alone() -> None:
    assert accept(bombs.second_picture(3000), "image", 10**6, 10**6).width == 64
    with pytest.raises(PictureError, match="more than 50 scans"):
        accept(bombs.scans(3000, 64) + bombs.second_picture(1), "image", 10**6, 10**6)


def test_usual_progressive_files_keep_far_from_the_bound() -> None:
    for mode in ("L", "RGB", "CMYK"):
        assert accept(made("JPEG", mode=mode, progressive=True), "image", 10**6, 10**6).suffix == ".jpg"


def test_what_would_be_too_large_for_comfyui_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consistent_face.api.media.pictures.LARGEST_PHOTO", 1000)
    with pytest.raises(
        PictureError, match=r"image has \d+ bytes when it is encoded without loss: send it as a JPEG, or smaller"
    ):
        accept(made("PNG"), "image", 10**6, 10**6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_exif_block_does_not_spoil_a_picture(tmp_path: Path, kind: str) -> None:
    """Load Photo shows such a picture as it is stored."""
    sent = tmp_path / "sent"
    sent.write_bytes(made(kind, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"))
    assert accept(sent.read_bytes(), "image", 10**6, 10**6).width == as_load_photo_sees_it(sent).shape[1] == 40


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(PictureError, match="send a JPEG, PNG or WebP file"):
        accept(made(kind), "image", 10**6, 10**6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_truncated_files_are_refused(kind: str) -> None:
    content = made(kind, (200, 200))
    for end in (1, 10, 60, len(content) // 2):
        with pytest.raises(PictureError):
            accept(content[:end], "image", 10**6, 10**6)


def test_a_result_leaves_in_its_form() -> None:
    content = with_metadata("PNG")
    assert PLACE not in deliverable(content, "png")
    assert Image.open(io.BytesIO(deliverable(content, "jpeg"))).format == "JPEG"
    transparent = made("PNG", mode="RGBA")
    assert Image.open(io.BytesIO(deliverable(transparent, "png"))).mode == "RGBA"
    small = low_res(made("PNG", (1000, 500)))
    assert small is not None and Image.open(io.BytesIO(small)).size == (512, 256)
    assert low_res(made("PNG", (512, 300))) is None


BEGINNINGS = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b""]


@given(st.binary(max_size=400), st.sampled_from(BEGINNINGS))
def test_looking_at_any_bytes_ends_in_a_size_or_one_error(content: bytes, beginning: bytes) -> None:
    with contextlib.suppress(MalformedError, TooMuchError):
        assert min(look(beginning + content).width, look(beginning + content).height) >= 0


@given(st.binary(max_size=400))
def test_stripping_any_bytes_ends_in_bytes_or_one_error(content: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert isinstance(strip(content), bytes)


@given(st.data(), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_any_damage_is_refused_or_survived(data: st.DataObject, kind: str) -> None:
    content = bytearray(SAMPLES[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        photo = accept(bytes(content), "image", 10**6, 10**6)
    except PictureError:
        return
    Image.open(io.BytesIO(photo.content)).load()


SAMPLES = {kind: with_metadata(kind) for kind in ("JPEG", "PNG", "WEBP")}

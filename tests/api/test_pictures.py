"""Photos are upright, whole, of a known size, and without metadata before they go anywhere."""

import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from consistent_face.api.errors import PictureError
from consistent_face.api.metadata import MalformedError, strip
from consistent_face.api.pictures import accept, deliverable, low_res

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
    assert pixels(photo.content) == pixels(content)
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
    with pytest.raises(PictureError, match=r"pixels|cannot be read"):
        accept(content, "image", 10**7, 40_000_000)


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


@given(st.binary(max_size=400), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_stripping_any_bytes_ends_in_bytes_or_one_error(content: bytes, kind: str) -> None:
    with contextlib.suppress(MalformedError):
        assert isinstance(strip(content, kind), bytes)


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

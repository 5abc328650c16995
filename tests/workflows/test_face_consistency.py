"""The shipped workflow on a real ComfyUI with the small models: photo in, pictures out, and what bad input says."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from consistent_face.api.base.order import Job, Value
from consistent_face.api.comfyui.client import Comfy, RefusedError
from consistent_face.tests.workflows.runs import PHOTOS, images, order


async def run(client: Comfy, photo: Path, **values: Value) -> Job:
    return await client.run(order("face_consistency", photo, prompt="portrait photo", **values), timeout=120)


async def pixels(client: Comfy, job: Job) -> list[np.ndarray]:
    return [np.asarray(picture.convert("RGB")) for picture in await images(client, job)]


async def test_a_photo_becomes_pictures(client: Comfy) -> None:
    job = await run(client, PHOTOS / "astronaut.jpg", batch=2)
    first, second = await pixels(client, job)
    assert job.unsafe == (False, False)
    assert first.shape == second.shape == (256, 256, 3)
    assert first.std() > 10  # neither black nor one colour
    assert not np.array_equal(first, second)


async def test_the_person_and_the_strength_matter_and_the_seed_repeats(client: Comfy) -> None:
    async def picture(photo: str, strength: float) -> np.ndarray:
        return (await pixels(client, await run(client, PHOTOS / photo, strength=strength)))[0]

    full, again = await picture("astronaut.jpg", 1.0), await picture("astronaut.jpg", 1.0)
    assert np.array_equal(full, again)
    assert not np.array_equal(full, await picture("astronaut.jpg", 0.5))
    assert not np.array_equal(full, await picture("grace_hopper.jpg", 1.0))


async def test_a_photo_without_a_face_says_so_and_the_next_prompt_runs(client: Comfy) -> None:
    job = await run(client, PHOTOS / "cat.jpg")
    assert job.failure is not None and job.failure.kind == "NoFaceError"
    assert "picture 1 of 1" in job.failure.message.lower()
    assert (await run(client, PHOTOS / "astronaut.jpg")).state == "completed"


async def test_faces_too_small_to_identify_are_refused(client: Comfy) -> None:
    job = await run(client, PHOTOS / "group_solvay_1927.jpg")
    assert job.failure is not None and job.failure.kind == "FaceTooSmallError"
    assert "29" in job.failure.message


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10)], ids=["1x1", "20,000 pixels wide"])
async def test_pictures_of_impossible_size_are_refused_by_name(
    client: Comfy, tmp_path: Path, size: tuple[int, int]
) -> None:
    photo = tmp_path / "odd.png"
    Image.new("RGB", size).save(photo)
    job = await run(client, photo)
    assert job.failure is not None and job.failure.kind in ("PhotoError", "NoFaceError")
    assert f"{size[0]}" in job.failure.message


async def test_a_corrupt_photo_is_refused_by_name(client: Comfy, tmp_path: Path) -> None:
    photo = tmp_path / "torn.jpg"
    photo.write_bytes((PHOTOS / "astronaut.jpg").read_bytes()[:2000])
    job = await run(client, photo)
    assert job.failure is not None and job.failure.kind == "PhotoError"
    assert "photo.jpg" in job.failure.message  # the name under which the client uploaded it


async def test_a_text_file_named_bin_is_refused_by_name(client: Comfy, bad_adapter: str) -> None:
    job = await run(client, PHOTOS / "astronaut.jpg", adapter=bad_adapter)
    assert job.failure is not None and job.failure.kind == "WrongModelError"
    assert bad_adapter in job.failure.message


async def test_a_missing_adapter_is_refused_with_its_source(client: Comfy) -> None:
    with pytest.raises(RefusedError, match=r"ip-adapter-faceid-plusv2_sdxl\.bin.*https://"):
        await run(client, PHOTOS / "astronaut.jpg", adapter="ip-adapter-faceid-plusv2_sdxl.bin")

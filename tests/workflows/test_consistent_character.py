"""The shipped workflow on a real ComfyUI with the small models: poses in, a refined sheet out, what bad input says."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from consistent_face.api.base.order import Job, Order, OrderError, Picture, Value
from consistent_face.api.comfyui import workflow
from consistent_face.api.comfyui.client import Comfy, RefusedError
from consistent_face.api.comfyui.parameters import PARAMETERS
from consistent_face.api.vendors import segmind
from consistent_face.api.vendors.examples import SEGMIND_EXAMPLE
from consistent_face.tests.workflows.runs import PHOTOS, by_title, images
from consistent_face.tools.demo import small_values

NAME = "consistent_character"
SHEETS = Path(__file__).parent.parent / "golden" / "pose"
SEED = 7
# One step a stage, without guidance: half of a usual step.
QUICK: dict[str, Value] = {
    **{name: 1 for name in PARAMETERS[NAME] if name.endswith(("steps", "guidance"))},
    "prompt": "a character sheet",
    "seed": SEED,
    "upscale_mode": "None",
}


def order(values: Mapping[str, Value], **photos: Path) -> Order:
    return Order(NAME, {**small_values(NAME), **QUICK, **values}, photos)


async def run(client: Comfy, values: Mapping[str, Value] | None = None, **photos: Path) -> Job:
    return await client.run(order(values or {}, **photos), timeout=240)


async def pixels(client: Comfy, picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(await client.picture(picture))).convert("RGB"))


async def shown(client: Comfy, job: Job, title: str) -> np.ndarray:
    assert job.failure is None, job.failure
    return await pixels(client, job.outputs[title][0])


def test_the_workflow_has_the_documented_samples_values() -> None:
    shipped, sample = workflow.load(NAME), {**SEGMIND_EXAMPLE, "negative_prompt": segmind.NEGATIVE}
    for field, parameter in segmind.PARAMETERS.items():
        slot = PARAMETERS[NAME][parameter]
        assert shipped[by_title(shipped, slot.title)]["inputs"][slot.input] == sample[field], field


async def test_a_sheet_becomes_a_picture_of_twice_its_size(client: Comfy) -> None:
    job = await run(client, {"upscale_mode": "Linear", "tile_size": 320})
    sheet, result = await shown(client, job, "Drawn Sheet"), await shown(client, job, "Result")
    assert sheet.shape == (256, 256, 3) and result.shape == (512, 512, 3)
    assert result.std() > 10  # neither black nor one colour


async def test_the_poses_reach_the_picture_as_strongly_as_is_asked(client: Comfy) -> None:
    posed = await run(client, {"steps": 4, "upscale_by": 1, "strength": 1.0})
    free = await run(client, {"steps": 4, "upscale_by": 1, "strength": 0.0})
    change = (await shown(client, posed, "Result")).astype(float) - await shown(client, free, "Result")
    drawn = (await shown(client, posed, "Drawn Sheet")).max(-1) > 128
    assert change[drawn].mean() - change[~drawn].mean() > 15, "the small ControlNet draws the figures in their colours"


async def test_a_sheet_of_the_users_own_keeps_its_aspect(client: Comfy) -> None:
    job = await run(client, {"samples": 2, "upscale_by": 1}, image=SHEETS / "actions.png")
    first, second = await images(client, job)
    assert first.size == second.size == (384, 192)  # 2 to 1, at about 256x256 pixels, multiples of 64
    assert (await shown(client, job, "Drawn Sheet")).shape == (192, 384, 3)


async def test_a_photo_is_not_taken_for_a_pose(client: Comfy) -> None:
    job = await run(client, image=PHOTOS / "astronaut.jpg")
    assert job.failure is not None and job.failure.kind == "PhotoError"
    assert "OpenPose drawing" in job.failure.message


async def test_without_a_photo_nothing_of_the_identity_reaches_the_picture(client: Comfy) -> None:
    without = await shown(client, await run(client), "Result")
    plain = order({})
    filled = workflow.fill(plain, workflow.load(NAME))
    filled[by_title(filled, "Sampler")]["inputs"]["model"] = [by_title(filled, "Checkpoint"), 0]
    del filled[by_title(filled, "Refine")]["inputs"]["encoded_identity"]
    await client.queue(plain.id, filled)
    assert np.array_equal(without, await shown(client, await client.wait(plain.id, timeout=240), "Result"))
    person = await run(client, ip_image=PHOTOS / "astronaut.jpg")
    assert not np.array_equal(without, await shown(client, person, "Result"))


@pytest.mark.parametrize(
    ("name", "node", "some"),
    [
        ("sampler", "Sampler", ("euler", "dpmpp_2m", "uni_pc_bh2")),
        ("upscale_sampler", "Upscale", ("euler", "dpmpp_2m", "uni_pc_bh2")),
        ("fd_scheduler", "Refine", ("karras", "kl_optimal")),
    ],
)
async def test_an_unknown_sampler_is_refused_with_those_there_are(
    client: Comfy, name: str, node: str, some: tuple[str, ...]
) -> None:
    with pytest.raises(RefusedError, match=f"^ComfyUI refused the workflow: {node}: .*'nothing'.*\\.$") as refusal:
        await run(client, {name: "nothing"})
    assert all(one in str(refusal.value) for one in some)


@pytest.mark.parametrize("wrong", [{"upscale_by": 0}, {"upscale_by": 5}, {"upscale_mode": "Diagonal"}, {"samples": 5}])
async def test_values_out_of_range_are_refused_by_name(client: Comfy, wrong: dict[str, Value]) -> None:
    (name,) = wrong
    with pytest.raises(OrderError, match=f"^{name} must be ") as refusal:
        await run(client, wrong)
    assert refusal.value.field == name

"""Face Generator on a real ComfyUI: samples, structure, the four ways to hide a picture, and what bad input says."""

import numpy as np
import pytest
import torch
from PIL import Image

from consistent_face.api.base.order import Order, Value
from consistent_face.api.comfyui import workflow
from consistent_face.api.comfyui.client import Comfy, RefusedError
from consistent_face.api.comfyui.parameters import Slot, whole
from consistent_face.core.safety.conceal import Concealment, conceal
from consistent_face.tests.workflows.runs import (
    PHOTOS,
    again,
    by_title,
    images,
    order,
    run_unsampled,
    texts,
    unsampled,
)

ASTRONAUT = PHOTOS / "astronaut.jpg"
SUSPICIOUS = 0.01  # the least threshold, which the astronaut's photo exceeds


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that can be ordered are 21."""
    monkeypatch.setitem(workflow.PARAMETERS["face_generator"], "steps", Slot("Sampler", "steps", whole(1, 50)))


def photo() -> np.ndarray:
    with Image.open(ASTRONAUT) as opened:
        return np.asarray(opened.convert("RGB"))


async def pictures(client: Comfy, ordered: Order) -> list[np.ndarray]:
    job = await client.run(ordered, timeout=120)
    found = await images(client, job)
    assert job.unsafe == (False,) * len(found)
    return [np.asarray(picture) for picture in found]


async def test_a_photo_becomes_samples_and_the_structure_matters(client: Comfy) -> None:
    ordered = order("face_generator", ASTRONAUT, prompt="pretty woman", samples=2)
    first, second = await pictures(client, ordered)
    assert first.shape == second.shape == (256, 256, 3)
    assert not np.array_equal(first, second)
    (free,) = await pictures(client, again(ordered, samples=1, s_scale=0.0))
    assert np.abs(first.astype(int) - free).mean() > 1


@pytest.mark.parametrize("how", list(Concealment))
async def test_an_unsafe_picture_is_hidden_as_asked(client: Comfy, how: Concealment) -> None:
    values: dict[str, Value] = {"safety_threshold": SUSPICIOUS, "safety_checker_type": how.value}
    job = await run_unsampled(client, order("face_generator", ASTRONAUT, **values))
    (picture,) = await images(client, job)
    assert job.unsafe == (True,)
    assert texts(client, job)["Safety"].startswith("picture 1 of 1: unsafe (0.")
    hidden = conceal(torch.from_numpy(photo().astype(np.float32) / 255), how).numpy() * 255
    assert np.abs(np.asarray(picture) - hidden).max() < 1.5
    assert np.abs(hidden - photo()).mean() > 5


@pytest.mark.parametrize("classifier", ["open-nsfw.onnx", "gone.onnx"])
async def test_all_pass_unchecked_where_no_check_is_asked(client: Comfy, classifier: str) -> None:
    values: dict[str, Value] = {"safety_threshold": SUSPICIOUS, "safety_classifier": classifier}
    job = await run_unsampled(client, order("face_generator", ASTRONAUT, safety_checker=False, **values))
    (picture,) = await images(client, job)
    assert np.array_equal(np.asarray(picture), photo())
    assert job.unsafe == () and texts(client, job)["Safety"] == "not checked"


async def test_nothing_passes_a_check_that_cannot_run(client: Comfy) -> None:
    job = await run_unsampled(client, order("face_generator", ASTRONAUT, safety_classifier="gone.onnx"))
    assert job.failure is not None and job.failure.kind == "ModelMissingError"
    assert "gone.onnx" in job.failure.message and "models/safety" in job.failure.message
    assert job.pictures == ()


async def test_comfyui_refuses_an_unknown_way_to_hide(client: Comfy) -> None:
    ordered = order("face_generator", ASTRONAUT)
    changed = unsampled(ordered)
    changed[by_title(changed, "Safety")]["inputs"]["mode"] = "mosaic"
    with pytest.raises(RefusedError, match=r"Safety: .*mosaic"):
        await client.queue(ordered.id, changed)

"""Which nodes ComfyUI runs again after a change, and identities saved as files, on real servers."""

import copy
import io
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image

from consistent_face.api.base.order import Order, Value
from consistent_face.api.comfyui.client import Comfy
from consistent_face.api.comfyui.workflow import Graph, fill, load
from consistent_face.tools.demo import small_values
from consistent_face.tools.paths import BASE
from consistent_face.tools.server import ComfyServer

PHOTO = Path(__file__).parent.parent / "photos" / "astronaut.jpg"
QUICK: dict[str, Value] = {"steps": 1, "guidance": 1, "seed": 7, "prompt": "portrait photo"}
BEFORE = {"Photo", "Fit Photo", "Face Analysis", "Faces", "Identity", "Adapter", "CLIP Vision", "Encode Identity"}
BEFORE |= {"Checkpoint", "Prompt", "Negative Prompt"}
MASK: Graph = {
    "90": {
        "class_type": "SolidMask",
        "inputs": {"value": 1.0, "width": 64, "height": 64},
        "_meta": {"title": "Mask"},
    }
}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def run(
    server: ComfyServer, session: aiohttp.ClientSession, changes: dict[str, dict[str, Any]], more: Graph | None = None
) -> tuple[np.ndarray, set[str]]:
    """The picture of the workflow with these inputs changed, by node titles, and the titles of the nodes that ran."""
    client, order = Comfy(server.url, session), Order("face_consistency", {**small_values("face_consistency"), **QUICK})
    await client.upload(PHOTO, "consistent-face/tests/identity.jpg")
    graph = fill(order, load(order.workflow)) | copy.deepcopy(more or {})
    quick = {"Photo": {"image": "consistent-face/tests/identity.jpg"}, "Size": {"width": 64, "height": 64}}
    for title, inputs in (quick | changes).items():
        (node,) = (node for node in graph.values() if node["_meta"]["title"] == title)
        node["inputs"] = node["inputs"] | inputs
    await client.queue(order.id, graph)
    job = await client.wait(order.id, timeout=120)
    assert job.failure is None
    async with session.get(f"{server.url}/history/{order.id}") as answer:
        messages = (await answer.json())[order.id]["status"]["messages"]
    cached = {number for kind, told in messages if kind == "execution_cached" for number in told["nodes"]}
    content = await client.picture(job.pictures[0])
    ran = {node["_meta"]["title"] for number, node in graph.items() if number not in cached}
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), ran


async def test_a_setting_runs_apply_identity_again_and_nothing_before_it(
    comfy: ComfyServer, session: aiohttp.ClientSession
) -> None:
    """And going back to the old value, with all before it out of the cache, gives the first picture to the last bit."""
    masked = {"Apply Identity": {"mask": ["90", 0]}}
    first, _ = await run(comfy, session, masked, MASK)
    for name, value in {"weight": 0.5, "structure": 2.0, "start_percent": 0.4, "curve": "peak"}.items():
        _, ran = await run(comfy, session, {"Apply Identity": {"mask": ["90", 0], name: value}}, MASK)
        assert "Apply Identity" in ran and not ran & BEFORE, f"{name} ran {ran}"
    masked_out, ran = await run(comfy, session, {**masked, "Mask": {"value": 0.0}}, MASK)
    assert {"Mask", "Apply Identity"} <= ran and not ran & BEFORE
    again, ran = await run(comfy, session, masked, MASK)
    assert "Sampler" in ran and not ran & BEFORE
    assert np.array_equal(again, first) and not np.array_equal(masked_out, first)


@pytest.fixture
def saved() -> Iterator[str]:
    """A name for an identity's file, which is removed afterwards."""
    name = f"tests-{uuid.uuid4()}"
    yield name
    (BASE / "models" / "identities" / f"{name}.safetensors").unlink(missing_ok=True)


async def test_a_saved_identity_gives_the_same_picture_in_another_comfyui(
    comfy: ComfyServer, comfy_new_front: ComfyServer, session: aiohttp.ClientSession, saved: str
) -> None:
    save = {
        "91": {
            "class_type": "ConsistentFace_SaveIdentity",
            "inputs": {"identity": ["5", 0], "name": saved, "overwrite": False},
            "_meta": {"title": "Save"},
        }
    }
    expected, ran = await run(comfy, session, {}, save)
    assert "Save" in ran
    loaded = {
        "92": {
            "class_type": "ConsistentFace_LoadIdentity",
            "inputs": {"identity": f"{saved}.safetensors"},
            "_meta": {"title": "Load"},
        }
    }
    found, _ = await run(comfy_new_front, session, {"Encode Identity": {"identity": ["92", 0]}}, loaded)
    assert np.array_equal(found, expected)

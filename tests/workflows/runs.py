"""Shared by the tests of workflows: quick orders, their graphs without sampling, and what a job gave."""

import io
import json
import urllib.request
from pathlib import Path

from PIL import Image

from consistent_face.api.base.order import Job, Order, Value
from consistent_face.api.comfyui.client import Comfy
from consistent_face.api.comfyui.workflow import Graph, fill, load, photo_name
from consistent_face.api.jobs.batches import cut, parts
from consistent_face.tools.demo import small_values

PHOTOS = Path(__file__).parent.parent / "photos"


def order(workflow: str, photo: Path, **values: Value | None) -> Order:
    """With the small models, in two steps."""
    return Order(workflow, {**small_values(workflow), "steps": 2, "seed": 7, **values}, {"photo": photo})


def again(ordered: Order, **values: Value | None) -> Order:
    """With other values and the photo that lies in ComfyUI since then, whose identity its cache still has."""
    return Order(ordered.workflow, {**ordered.values, "photo": photo_name(ordered, "photo"), **values})


def by_title(graph: Graph, title: str) -> str:
    return next(node for node, content in graph.items() if content["_meta"]["title"] == title)


def unsampled(ordered: Order) -> Graph:
    """The filled graph with the photo itself in place of what is sampled: the rest runs in a moment."""
    graph = fill(ordered, load(ordered.workflow))
    decoded, photo = [by_title(graph, "Decode"), 0], [by_title(graph, "Fit Photo"), 0]
    for node in graph.values():
        node["inputs"] = {name: photo if value == decoded else value for name, value in node["inputs"].items()}
    return cut(graph, ordered.workflow, parts(ordered, 8)[0])


async def run_unsampled(client: Comfy, ordered: Order) -> Job:
    await client.upload(ordered.photos["photo"], photo_name(ordered, "photo"))
    await client.queue(ordered.id, unsampled(ordered))
    return await client.wait(ordered.id, timeout=60)


async def images(client: Comfy, job: Job) -> list[Image.Image]:
    assert job.failure is None, job.failure
    return [Image.open(io.BytesIO(await client.picture(picture))) for picture in job.pictures]


def texts(client: Comfy, job: Job) -> dict[str, str]:
    """What the nodes that show a text showed, by title."""
    with urllib.request.urlopen(f"{client.url}/api/jobs/{job.id}") as answer:
        content = json.load(answer)
    graph = content["workflow"]["prompt"]
    return {
        graph[node]["_meta"]["title"]: shown["text"][0] for node, shown in content["outputs"].items() if "text" in shown
    }

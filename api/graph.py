"""Fills a workflow: an order and an API graph in, the graph that ComfyUI runs out. No network, no ComfyUI."""

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .order import Order, OrderError, Value

Graph = dict[str, dict]  # ComfyUI's API format: node id -> {"class_type", "inputs", "_meta": {"title"}}
Check = Callable[[str, object], Value]  # (parameter, what was found) -> the value to fill in

FOLDER = "consistent-face"  # below ComfyUI's input and output folders; one folder a job in it
LARGEST_SEED = 2**63 - 1
WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows" / "api"


class TemplateError(ValueError):
    """A workflow file without a node that its parameters name."""


def text(name: str, found: object) -> Value:
    if not isinstance(found, str):
        raise OrderError(name, f"{name} must be a text, but {found!r} was found.")
    return found


def whole(low: int, high: int, multiple: int = 1) -> Check:
    """Whole numbers from `low` to `high`, rounded down to a multiple."""

    def check(name: str, found: object) -> Value:
        if not isinstance(found, int) or isinstance(found, bool) or not low <= found <= high:
            raise OrderError(name, f"{name} must be a whole number from {low} to {high}, but {found!r} was found.")
        return found - found % multiple

    return check


def real(low: float, high: float) -> Check:
    def check(name: str, found: object) -> Value:
        if not isinstance(found, int | float) or isinstance(found, bool) or not low <= found <= high:
            raise OrderError(name, f"{name} must be a number from {low:g} to {high:g}, but {found!r} was found.")
        return found

    return check


def seed(name: str, found: object) -> Value:
    """None and -1 draw a seed."""
    if found is None or found == -1:
        return random.randint(0, LARGEST_SEED)
    return whole(0, LARGEST_SEED)(name, found)


@dataclass(frozen=True)
class Slot:
    """Where a parameter goes: the input of the node with this title."""

    title: str
    input: str
    check: Check


# What can be ordered, by workflow. Titles are ids: the workflow files keep them.
PARAMETERS: dict[str, dict[str, Slot]] = {
    "face_consistency": {
        "photo": Slot("Photo", "image", text),
        "prompt": Slot("Prompt", "text", text),
        "negative_prompt": Slot("Negative Prompt", "text", text),
        "batch": Slot("Size", "batch_size", whole(1, 8)),
        "width": Slot("Size", "width", whole(256, 1536, multiple=8)),
        "height": Slot("Size", "height", whole(256, 1536, multiple=8)),
        "steps": Slot("Sampler", "steps", whole(1, 50)),
        "guidance": Slot("Sampler", "cfg", real(1, 30)),
        "strength": Slot("Apply Identity", "weight", real(0, 1)),
        "seed": Slot("Sampler", "seed", seed),
        "checkpoint": Slot("Checkpoint", "ckpt_name", text),
        "adapter": Slot("Adapter", "adapter", text),
        "clip_vision": Slot("CLIP Vision", "clip_name", text),
        "face_analysis": Slot("Face Analysis", "model", text),
    },
}


def load(workflow: str, folder: Path = WORKFLOWS) -> Graph:
    """The workflow as it is shipped, in API format, or its namesake in another folder."""
    _parameters(workflow)
    return json.loads((folder / f"{workflow}.json").read_text(encoding="utf-8"))


def settle(order: Order) -> Order:
    """The order with every value checked and final: sizes rounded, seed drawn. Settling it again changes nothing.

    Raises OrderError in one sentence, which names the parameter, its range and what was found.
    """
    slots = _parameters(order.workflow)
    for name in (*order.values, *order.photos):
        if name not in slots:
            raise OrderError(name, f"{order.workflow} has no parameter {name}, only {', '.join(slots)}.")
    return replace(order, values={name: slots[name].check(name, found) for name, found in order.values.items()})


def fill(order: Order, graph: Graph) -> Graph:
    """A copy of the graph with the order's values; the photos under the names that `photo_name` gives them.

    The result's file name carries the job's id: ComfyUI's cache would otherwise answer with an older file.
    """
    slots = _parameters(order.workflow)
    photos = {name: photo_name(order, name) for name in order.photos}
    filled = copy.deepcopy(graph)
    for name, value in {**settle(order).values, **photos}.items():
        _put(filled, slots[name].title, slots[name].input, value)
    _put(filled, "Result", "filename_prefix", f"{FOLDER}/{order.id}/result")
    return filled


def photo_name(order: Order, parameter: str) -> str:
    """Where the photo of this parameter lies, as a path below ComfyUI's input folder."""
    return f"{FOLDER}/{order.id}/{parameter}{order.photos[parameter].suffix.lower()}"


def _parameters(workflow: str) -> dict[str, Slot]:
    if workflow not in PARAMETERS:
        raise OrderError("workflow", f"There is no workflow {workflow}, only {', '.join(PARAMETERS)}.")
    return PARAMETERS[workflow]


def _put(graph: Graph, title: str, name: str, value: Value | None) -> None:
    nodes = [node for node in graph.values() if node.get("_meta", {}).get("title") == title and name in node["inputs"]]
    if len(nodes) != 1:
        raise TemplateError(
            f'The workflow has {len(nodes)} nodes titled "{title}" with the input {name} where one is needed: '
            "give the node that title again in the workflow file."
        )
    nodes[0]["inputs"][name] = value

"""Fills a workflow: takes an order and an API graph, returns the graph to run. Needs no network and no ComfyUI."""

import copy
import json
from dataclasses import replace
from pathlib import Path

from ..base.order import Order, OrderError, Value
from .parameters import PARAMETERS, TOGETHER, Slot

Graph = dict[str, dict]  # ComfyUI's API format: node id -> {"class_type", "inputs", "_meta": {"title"}}

FOLDER = "consistent-face"  # in ComfyUI's input and output folders; it has one folder per job
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"


class TemplateError(ValueError):
    """A workflow file lacks a node that a parameter needs."""


def load(workflow: str, folder: Path = WORKFLOWS) -> Graph:
    """Reads a workflow in API format, from the shipped ones or from another folder. Raises OrderError."""
    _parameters(workflow)
    return json.loads((folder / f"{workflow}.json").read_text(encoding="utf-8"))


def settle(order: Order) -> Order:
    """Returns the order with checked, final values: sizes rounded, seed drawn. Settling it again changes nothing.

    Raises OrderError, whose sentence has the parameter, its range and the value found.
    """
    slots = _parameters(order.workflow)
    for name in (*order.values, *order.photos):
        if name not in slots:
            raise OrderError(name, f"{order.workflow} has no parameter {name}, only {', '.join(slots)}.")
    settled = {name: slots[name].check(name, found) for name, found in order.values.items()}
    if order.workflow in TOGETHER:
        TOGETHER[order.workflow](order.values)
    return replace(order, values=settled)


def fill(order: Order, graph: Graph) -> Graph:
    """Returns a copy of the graph with the order's values and the photos' names (`photo_name`).

    The file names of the results contain the job's id: otherwise ComfyUI's cache would answer with older files.
    """
    slots = _parameters(order.workflow)
    photos = {name: photo_name(order, name) for name in order.photos}
    filled = copy.deepcopy(graph)
    for name, value in {**settle(order).values, **photos}.items():
        _put(filled, slots[name].title, slots[name].input, value)
    _put(filled, "Result", "filename_prefix", f"{FOLDER}/{order.id}/result")
    return filled


def photo_name(order: Order, parameter: str) -> str:
    """The path of this parameter's photo below ComfyUI's input folder."""
    return f"{FOLDER}/{order.id}/{parameter}{order.photos[parameter].suffix.lower()}"


def _parameters(workflow: str) -> dict[str, Slot]:
    if workflow not in PARAMETERS:
        raise OrderError("workflow", f"There is no workflow {workflow}, only {', '.join(PARAMETERS)}.")
    return PARAMETERS[workflow]


def _put(graph: Graph, title: str, name: str, value: Value | None) -> None:
    nodes = [node for node in graph.values() if node.get("_meta", {}).get("title") == title and name in node["inputs"]]
    if len(nodes) != 1:
        raise TemplateError(
            f'The workflow has {len(nodes)} nodes titled "{title}" with the input {name}, but needs one: '
            "give the node that title again in the workflow file."
        )
    nodes[0]["inputs"][name] = value

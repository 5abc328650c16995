"""Splits an order into prompts of at most `max_batch` pictures; every picture stays the same as in one prompt."""

import copy
from dataclasses import dataclass
from uuid import UUID, uuid5

from ..base.order import Order
from ..comfyui.workflow import PARAMETERS, Graph

COUNTS = ("batch", "samples")  # the parameter that says how many pictures, by whichever name a workflow has it
# The node that selects a part of a batch, by class of the node that creates the batch; LATENTS for all others.
CUTS = {"EmptyImage": ("ImageFromBatch", "image")}
LATENTS = ("LatentFromBatch", "samples")


@dataclass(frozen=True)
class Part:
    """Pictures `first` to `first + count - 1` of an order's `total`, as the prompt with this id."""

    id: str
    first: int
    count: int
    total: int


def pictures(order: Order) -> int:
    return next((int(order.values[name] or 1) for name in COUNTS if name in order.values), 1)


def parts(order: Order, largest: int) -> list[Part]:
    """Splits an order. The first part has the order's id; the other ids are derived from it, the same every time."""
    total = pictures(order)
    return [
        Part(
            order.id if first == 0 else str(uuid5(UUID(order.id), str(first))),
            first,
            min(largest, total - first),
            total,
        )
        for first in range(0, total, largest)
    ]


def cut(graph: Graph, workflow: str, part: Part) -> Graph:
    """Returns a copy of a filled graph that makes only the part's pictures.

    The graph creates the whole batch and selects the part by index, so that ComfyUI draws each picture's noise as in
    the whole batch. The pictures are the same only with samplers that draw noise once; ancestral ones draw it per step.
    """
    graph = copy.deepcopy(_needed(graph))
    slot = next((slot for name, slot in PARAMETERS[workflow].items() if name in COUNTS), None)
    source = next((node for node, content in graph.items() if slot and content["_meta"]["title"] == slot.title), None)
    if part.total == 1 or source is None:
        return graph
    kind, name = CUTS.get(graph[source]["class_type"], LATENTS)
    for content in graph.values():
        for given, value in content["inputs"].items():
            if value == [source, 0]:
                content["inputs"][given] = ["part", 0]
    inputs = {name: [source, 0], "batch_index": part.first, "length": part.count}
    graph["part"] = {"class_type": kind, "inputs": inputs, "_meta": {"title": "Part"}}
    return graph


def _needed(graph: Graph) -> Graph:
    """Returns the nodes that the result depends on. Previews, scores and comparisons are for the editor: here they
    would take time and leave faces in ComfyUI's temp folder.
    """
    needed: set[str] = set()
    waiting = [node for node, content in graph.items() if content["_meta"]["title"] == "Result"]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += [value[0] for value in graph[node]["inputs"].values() if isinstance(value, list)]
    return {node: content for node, content in graph.items() if node in needed}

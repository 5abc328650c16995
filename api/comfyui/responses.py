"""Parses ComfyUI's answers: the state of a job, the reasons of a refusal, the progress of a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..base.order import Failure, Job, Picture
from .workflow import Graph

LONGEST_REASON = 1000  # characters; a reason may quote every choice of a list

Choices = Mapping[str, Mapping[str, Sequence[str]]]  # node class -> input -> its choices


@dataclass(frozen=True)
class Event:
    """Progress of one node; `node` is None when the run has ended and its job can be read."""

    job_id: str
    node: str | None
    value: float
    maximum: float


def event(message: str) -> Event | None:
    """Parses a websocket message; None if it is not about a run's progress."""
    content = json.loads(message)
    data = content.get("data") or {}
    if content.get("type") == "progress":
        return Event(data["prompt_id"], data["node"], data["value"], data["max"])
    if content.get("type") == "executing":
        return Event(data.get("prompt_id", ""), data["node"], 0, 1)
    return None


def job(answer: bytes) -> Job:
    """Parses the answer of /api/jobs/{id}."""
    content = json.loads(answer)
    start, end = content.get("execution_start_time"), content.get("execution_end_time")
    return Job(
        id=content["id"],
        state=content["status"],
        outputs=_pictures(content),
        unsafe=_verdicts(content),
        failure=_failure(content.get("execution_error")) if content["status"] == "failed" else None,
        seconds=(end - start) / 1000 if start and end else None,
    )


def reasons(answer: bytes, graph: Graph, choices: Choices | None = None) -> str:
    """The reasons for which /prompt refused the graph: node titles and ComfyUI's messages. Empty if it gave none."""
    content = _read(answer)
    found = [
        f"{_title(graph, node)}: {_reason(error, (choices or {}).get(kind, {}))}"
        for node, kind, error in _faults(content)
    ]
    if not found and content.get("error"):
        found = [f"{content['error']['message']}: {content['error']['details']}"]
    return "; ".join(reason.strip(": .\n") for reason in found)[:LONGEST_REASON]


def unlisted(answer: bytes) -> set[str]:
    """The node classes with a refused value whose choices /prompt does not list: ComfyUI lists at most 20."""
    return {kind for _, kind, error in _faults(_read(answer)) if _is_unlisted(error)}


def choices(answer: bytes) -> Choices:
    """Parses the answer of /object_info/{class}: the choices of the inputs that have a list."""
    return {
        kind: {
            name: options
            for group in node["input"].values()
            for name, (type_, *more) in group.items()
            if (options := type_ if isinstance(type_, list) else more[0].get("options") if more else None)
        }
        for kind, node in _read(answer).items()
    }


def _read(answer: bytes) -> dict:
    try:
        return json.loads(answer)
    except ValueError:  # ComfyUI answers an internal error in plain text
        return {}


def _faults(content: dict) -> list[tuple[str, str, dict]]:
    """Node id, class and error of every invalid input."""
    nodes = (content.get("node_errors") or {}).items()
    return [(node, faults.get("class_type", ""), error) for node, faults in nodes for error in faults["errors"]]


def _is_unlisted(error: dict) -> bool:
    return error.get("type") == "value_not_in_list" and not error["extra_info"]["input_config"]


def _reason(error: dict, choices: Mapping[str, Sequence[str]]) -> str:
    if not _is_unlisted(error) or error["extra_info"]["input_name"] not in choices:
        return f"{error['message']}: {error['details']}"
    name, found = error["extra_info"]["input_name"], error["extra_info"]["received_value"]
    return f"{name} must be one of {', '.join(choices[name])}, but {found!r} was found"


def _pictures(content: dict) -> dict[str, tuple[Picture, ...]]:
    graph = content.get("workflow", {}).get("prompt", {})
    return {
        _title(graph, node): tuple(
            Picture(image["filename"], image["subfolder"], image["type"]) for image in shown["images"]
        )
        for node, shown in content.get("outputs", {}).items()
        if "images" in shown
    }


def _verdicts(content: dict) -> tuple[bool, ...]:
    """The verdicts of the node Check Safety, one per picture; empty if nothing was checked."""
    shown = content.get("outputs", {}).values()
    return tuple(verdict["unsafe"] for node in shown for verdict in node.get("safety", ()))


def _failure(error: dict | None) -> Failure:
    if error is None:
        return Failure("Exception", "ComfyUI gave no reason.")
    return Failure(error["exception_type"].rpartition(".")[2], error["exception_message"].strip())


def _title(graph: Graph, node: str) -> str:
    return graph.get(node, {}).get("_meta", {}).get("title", node)

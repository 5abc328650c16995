"""The values that requests and the ComfyUI client exchange: Order in, Job out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import uuid4

Value = str | int | float | bool
State = Literal["pending", "in_progress", "completed", "failed", "cancelled"]  # ComfyUI's own words


class OrderError(ValueError):
    """An order that cannot be carried out as it stands; `field` names the parameter at fault."""

    def __init__(self, field: str, message: str):
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Order:
    """A run of one of the workflows. What is left out of `values` stays as the workflow has it.

    `photos` are files of this machine, by parameter: they are uploaded before the run. `id` is a canonical UUID, and
    becomes ComfyUI's prompt id, so that a run can be found again.
    """

    workflow: str
    values: Mapping[str, Value | None] = field(default_factory=dict)
    photos: Mapping[str, Path] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid4()))


@dataclass(frozen=True)
class Picture:
    """A file in one of ComfyUI's folders, in the words of its /view."""

    filename: str
    subfolder: str
    type: str


@dataclass(frozen=True)
class Failure:
    """Why a run failed: the name of the error's class without its module, and its sentence."""

    kind: str
    message: str


@dataclass(frozen=True)
class Job:
    """How a run stands: its pictures by the title of the node that gave them, and the `seconds` that it ran.

    `unsafe` has the verdict of each picture that was checked.
    """

    id: str
    state: State
    outputs: Mapping[str, tuple[Picture, ...]] = field(default_factory=dict)
    failure: Failure | None = None
    seconds: float | None = None
    unsafe: tuple[bool, ...] = ()

    @property
    def ended(self) -> bool:
        return self.state in ("completed", "failed", "cancelled")

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What was ordered: the pictures of the node titled Result."""
        return self.outputs.get("Result", ())

"""The values that requests and the ComfyUI client exchange: Order in, Job out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import uuid4

Value = str | int | float | bool
State = Literal["pending", "in_progress", "completed", "failed", "cancelled"]  # ComfyUI's terms


class OrderError(ValueError):
    """An order with an invalid parameter, whose name is `field`."""

    def __init__(self, field: str, message: str):
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Order:
    """An order to run a workflow. Parameters that are not in `values` keep the workflow's values.

    `photos` are local files by parameter; they are uploaded before the run. `id` is a canonical UUID and becomes
    ComfyUI's prompt id, so that the run can be found again.
    """

    workflow: str
    values: Mapping[str, Value | None] = field(default_factory=dict)
    photos: Mapping[str, Path] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid4()))


@dataclass(frozen=True)
class Picture:
    """A file in one of ComfyUI's folders; the fields are the parameters of /view."""

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
    """The state of a run. `outputs` are the pictures by the title of their node; `seconds` is the time of the run.

    `unsafe` has one verdict per checked picture.
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
        """The ordered pictures: those of the node titled Result."""
        return self.outputs.get("Result", ())

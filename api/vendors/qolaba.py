"""Qolaba's Face Consistency and Face Avatar, and the status of a task.

Decided where the documents leave it open: both paths accept both models. `app_id` selects the model; without it, fields
that only the avatar has do; without them, the path. Sizes round down to a multiple of 8. `file_url` means `image`.
A failed generation is HTTP 500, every other error has its own code, always in the eight-field envelope. An unknown task
is 404 and FAILED, not PENDING.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from ..base.errors import InputError, NotFoundError, PictureError, ServiceError
from ..database.tables import JobRow
from ..http.requests import Asked, read
from ..http.schemas import ENVELOPE, answers, described, json_content
from ..http.submission import Wanted, submit
from ..jobs.service import Service
from ..media.intake import is_url
from .examples import QOLABA_EXAMPLES
from .values import Fields, Picture, Prompt, Real, Whole, parse, warnings_header

NAME = "qolaba"
NO_FACE = "Unable to detect faces. Please provide a clear image."
NO_FACE_KINDS = ("NoFaceError", "FaceTooSmallError")
AVATAR_ONLY = ("gender", "remove_background", "bg_color")
router = APIRouter(tags=["Qolaba"], responses=answers(ENVELOPE, json_content(ENVELOPE)))


class Common(Fields):
    """The fields of both models."""

    app_id: str | None = None
    image: Picture | None = None
    file_url: Picture | None = None
    batch: Annotated[Whole, Field(ge=1, le=8)] = 1
    height: Annotated[Whole, Field(ge=256, le=1536)] = 1024
    width: Annotated[Whole, Field(ge=256, le=1536)] = 1024
    num_inference_steps: Annotated[Whole, Field(ge=1, le=50)] = 30
    guidance_scale: Annotated[Real, Field(ge=1, le=30)] = 7.5
    negative_prompt: Prompt = ""
    celery: bool = False
    inference_type: Literal["a10g", "a100", "h100"] = "a10g"  # stored and echoed; it has no effect
    ref_id: str | None = Field(default=None, max_length=200)


class Consistency(Common):
    """Face Consistency, `POST /getImagetoImage`."""

    prompt: Prompt
    strength: Annotated[Real, Field(ge=0, le=1)] = 1.0


class Avatar(Common):
    """Face Avatar, `POST /getImageToImage`. Without a prompt the workflow writes the documented one."""

    prompt: Prompt = ""
    gender: str = Field(default="", max_length=40)
    remove_background: bool = False
    bg_color: str = Field(
        default="", pattern=r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$", description="a colour such as #FFFFFF"
    )


class Status(Fields):
    """`POST /getImage`: the documents name the reference in three ways."""

    id: str
    refID: str | None = None
    ref_id: str | None = None
    reference_id: str | None = None


# Request's field -> parameter of the workflow: the whole mapping.
COMMON = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "batch": "batch",
    "width": "width",
    "height": "height",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
}
MODELS: dict[str, tuple[type[Common], dict[str, str]]] = {
    "face_consistency": (Consistency, {**COMMON, "strength": "strength"}),
    "face_avatar": (
        Avatar,
        {**COMMON, "gender": "gender", "remove_background": "remove_background", "bg_color": "bg_color"},
    ),
}


@router.post("/getImagetoImage", **described(Consistency, QOLABA_EXAMPLES["face_consistency"]))
async def face_consistency(request: Request) -> JSONResponse:
    return await _generate(await read(request), "face_consistency")


@router.post("/getImageToImage", **described(Avatar, QOLABA_EXAMPLES["face_avatar"]))
async def face_avatar(request: Request) -> JSONResponse:
    return await _generate(await read(request), "face_avatar")


@router.post("/getImage", **described(Status, QOLABA_EXAMPLES["status"]))
async def status(request: Request) -> JSONResponse:
    asked = await read(request)
    wanted = parse(Status, asked.fields, asked.warnings)
    row = asked.service.store.owned(wanted.id, asked.caller.id)
    if row is None or row.vendor != NAME:
        raise NotFoundError(f"There is no task {wanted.id[:60]} (any more): it is unknown, or its time is over.", "id")
    reference = wanted.refID or wanted.ref_id or wanted.reference_id
    return _answer(row, asked.service, asked.warnings, {"ref_id": reference} if reference else {})


async def _generate(asked: Asked, spelling: str) -> JSONResponse:
    workflow = _workflow(asked, spelling)
    model, mapping = MODELS[workflow]
    body = parse(model, asked.fields, asked.warnings)
    image = body.image or body.file_url
    if image is None:
        raise InputError("image is required", "image")
    row = await submit(asked, _wanted(workflow, body, image, mapping))
    waits = not body.celery
    del body, image  # the picture, while the request waits
    if waits:
        row = await asked.service.waiting.ended(row, asked.service.settings.sync_wait_s)
    return _answer(row, asked.service, asked.warnings, {})


def _workflow(asked: Asked, spelling: str) -> str:
    """Selects the model: by app_id; without one by the fields, then by the path."""
    settings, app_id = asked.service.settings, asked.fields.get("app_id")
    known = {settings.face_consistency_app_id: "face_consistency", settings.face_avatar_app_id: "face_avatar"}
    if isinstance(app_id, str) and app_id not in ("", "None", "null"):
        if app_id not in known:
            raise InputError(f"app_id {app_id[:60]!r} is unknown: send one of {', '.join(known)}.", "app_id")
        return known[app_id]
    return "face_avatar" if any(asked.fields.get(name) is not None for name in AVATAR_ONLY) else spelling


def _wanted(workflow: str, body: Common, image: Picture, mapping: Mapping[str, str]) -> Wanted:
    given = body.model_dump()
    values = {parameter: given[field] for field, parameter in mapping.items()}
    echo = {name: value for name, value in given.items() if name not in ("image", "file_url")}
    echo["image"] = image if isinstance(image, str) and is_url(image) else None
    return Wanted(
        vendor=NAME,
        workflow=workflow,
        values={**values, "seed": None},
        photos={"photo": ("image", image)},
        request=echo,
        low_res=True,
        parameters={parameter: field for field, parameter in mapping.items()},
    )


def _answer(row: JobRow, service: Service, warnings: list[str], reference: Mapping[str, str]) -> JSONResponse:
    status = {"succeeded": "SUCCESS", "failed": "FAILED", "cancelled": "FAILED"}.get(row.state, "PENDING")
    error, data = _fault(row) if status == "FAILED" else (None, None)
    envelope = {
        **_envelope(error, data, status),
        "time_required": _times(row) if status == "SUCCESS" else {},
        "input": {**row.request, **reference},
        "output": _output(row, service) if status == "SUCCESS" else {},
        "app_id": _app_id(row, service),
        "task_id": row.id,
    }
    code = 500 if status == "FAILED" else 200
    return JSONResponse(envelope, code, warnings_header(warnings))


def _app_id(row: JobRow, service: Service) -> str:
    settings = service.settings
    avatar = row.workflow == "face_avatar"
    return settings.face_avatar_app_id if avatar else settings.face_consistency_app_id


def _output(row: JobRow, service: Service) -> dict[str, list[object]]:
    storage = service.storage(row)
    return {
        "result": [storage.link(output["name"], row.expires) for output in row.outputs],
        "Has_NSFW_Content": [output["unsafe"] for output in row.outputs],
        "low_res_urls": [storage.link(output["low"], row.expires) for output in row.outputs],
    }


def _times(row: JobRow) -> dict[str, float]:
    waited = max(0.0, (row.started or row.created) - row.created)
    return {"startup_time": round(waited, 3), "runtime": round(row.seconds or 0.0, 3)}


def _fault(row: JobRow) -> tuple[str, str]:
    """(error, error_data) in Qolaba's own words."""
    if row.error_kind in NO_FACE_KINDS:
        return "Face Consistent Error", NO_FACE
    if row.error_kind == "PhotoError":
        return "Image URL Error", row.error or ""
    return ("Cancelled" if row.state == "cancelled" else "Internal Error"), row.error or ""


def _envelope(error: str | None, data: object, status: str) -> dict[str, object]:
    """The documented eight fields, in their order."""
    return {
        "time_required": {},
        "error": error,
        "error_data": data,
        "input": {},
        "output": {},
        "app_id": None,
        "task_id": None,
        "status": status,
    }


def refuse(request: Request, error: ServiceError) -> JSONResponse:
    titles = {400: "Input Validation Error", 401: "Authentication Error", 500: "Internal Error"}
    title = "Image URL Error" if isinstance(error, PictureError) else titles.get(error.status, "HTTP Exception")
    return JSONResponse(_envelope(title, error.message, "FAILED"), error.status)

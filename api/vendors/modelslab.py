"""ModelsLab's Enterprise Face Generator: make_gen and fetch; update_s3 and reset_s3 are in modelslab_bucket.

Decided where the documents leave it open: values out of range become the nearest documented one, named in x-warnings
(its own client sends s_scale 7.5 and 20 steps). `base64` asks for raw base64 in `output`; a picture sent along is not
echoed. Booleans come back as "yes" and "no" in `meta`, and `meta.seed` is the seed used. Errors are
{"status": "error", "message"} with real codes; while processing, `message` is also spelt `messege`, as older
endpoints do.
"""

import asyncio
import base64
import math
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ..base.errors import BusyError, InputError, NotFoundError, ServiceError
from ..database.tables import JobRow
from ..http.requests import read
from ..http.schemas import answers, described, json_content
from ..http.submission import Wanted, submit
from ..jobs.service import Service
from ..media.intake import is_url
from . import modelslab_bucket
from .examples import MODELSLAB_ANSWER, MODELSLAB_ERROR, MODELSLAB_EXAMPLES
from .values import (
    LARGEST_SEED,
    PHOTO_KINDS,
    Fields,
    Picture,
    Prompt,
    Real,
    Whole,
    address,
    clamped,
    nearest,
    parse,
    warnings_header,
)

NAME = "modelslab"
PREFIX = "/api/v1/enterprise/face_gen"
CLIENTS = "/api/v1/enterprise/image_editing"  # where ModelsLab's own client looks for the face generator
USUAL_SECONDS = 20.0  # the estimate before any run
SHORT, LONG = 512, 768  # the largest picture, in either direction
MESSAGE = "Your request is processing in the background, use the fetch endpoint to get the result"
router = APIRouter(tags=["ModelsLab"], responses=answers(MODELSLAB_ERROR, json_content(MODELSLAB_ANSWER)))


class MakeGen(Fields):
    """`POST /api/v1/enterprise/face_gen/make_gen`."""

    prompt: Prompt
    face_image: Picture
    negative_prompt: Prompt = ""
    width: Annotated[Whole, clamped(256, LONG)] = 512
    height: Annotated[Whole, clamped(256, LONG)] = 512
    samples: Annotated[Whole, clamped(1, 2)] = 1
    num_inference_steps: Annotated[Whole, nearest(21, 31, 41)] = 21
    guidance_scale: Annotated[Real, clamped(1, 20)] = 7.5
    s_scale: Annotated[Real, clamped(0, 2)] = 1.0
    seed: Annotated[Whole, clamped(-1, LARGEST_SEED)] | None = None
    safety_checker: bool = True
    safety_checker_type: Literal["blur", "sensitive_content_text", "pixelate", "black"] = "sensitive_content_text"
    base64: bool = False
    webhook: str | None = None
    track_id: str | int | float | bool | None = None


class Fetch(Fields):
    """`POST /api/v1/enterprise/face_gen/fetch/{id}`: the key alone."""


# Request's field -> parameter of the workflow: the whole mapping.
PARAMETERS = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "width": "width",
    "height": "height",
    "samples": "samples",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "s_scale": "s_scale",
    "seed": "seed",
    "safety_checker": "safety_checker",
    "safety_checker_type": "safety_checker_type",
}


@router.post(f"{CLIENTS}/face_gen", include_in_schema=False)
@router.post(f"{PREFIX}/make_gen", **described(MakeGen, MODELSLAB_EXAMPLES["make_gen"]))
async def make_gen(request: Request) -> JSONResponse:
    asked = await read(request)
    body = parse(MakeGen, asked.fields, asked.warnings)
    _fit(body, asked.warnings)
    if not body.safety_checker and "safety_off" not in asked.caller.scopes:
        body.safety_checker = True
        asked.warnings.append("safety_checker stays on: this key lacks the scope safety_off")
    row = await submit(asked, _wanted(body, address("webhook", body.webhook, asked.service.settings.allow_loopback)))
    del body  # and the picture in it
    row = await asked.service.waiting.ended(row, asked.service.settings.modelslab_sync_wait_s)
    _check(row)
    return JSONResponse(await answer(row, asked.service), headers=warnings_header(asked.warnings))


@router.post(CLIENTS + "/fetch/{number}", include_in_schema=False)
@router.post(PREFIX + "/fetch/{number}", **described(Fetch, MODELSLAB_EXAMPLES["fetch"]))
async def fetch(request: Request, number: str) -> JSONResponse:
    asked = await read(request)
    parse(Fetch, asked.fields, asked.warnings)
    found = asked.service.store.owned(int(number), asked.caller.id) if _is_number(number) else None
    if found is None or found.vendor != NAME:
        raise NotFoundError(f"There is no request {number[:20]} (any more): it is unknown, or its time is over.", "id")
    _check(found)
    return JSONResponse(await answer(found, asked.service), headers=warnings_header(asked.warnings))


router.include_router(modelslab_bucket.router)


def _check(row: JobRow) -> None:
    """A job without a result is an error: the caller's where the photo is at fault, otherwise ours."""
    if row.state in ("failed", "cancelled"):
        kind = InputError if row.error_kind in PHOTO_KINDS else ServiceError
        error = kind(row.error or "The generation failed.")
        error.job = row.number
        raise error


def _fit(body: MakeGen, warnings: list[str]) -> None:
    """Keeps a size within 512x768 or 768x512: of two long sides the width gives way."""
    if min(body.width, body.height) > SHORT:
        side = "width" if body.width <= body.height else "height"
        warnings.append(f"{side} {getattr(body, side)} is out of range: {SHORT} was taken")
        setattr(body, side, SHORT)


def _wanted(body: MakeGen, webhook: str | None) -> Wanted:
    given = body.model_dump()
    image = body.face_image
    request = {name: value for name, value in given.items() if name not in ("face_image", "webhook")}
    return Wanted(
        vendor=NAME,
        workflow="face_generator",
        values={parameter: given[field] for field, parameter in PARAMETERS.items()},
        photos={"photo": ("face_image", image)},
        request={**request, "face_image": image if isinstance(image, str) and is_url(image) else ""},
        webhook=webhook,
        parameters={parameter: field for field, parameter in PARAMETERS.items()},
    )


async def answer(row: JobRow, service: Service) -> dict[str, Any]:
    """The documented answer to make_gen and fetch: success or processing."""
    names = [row.output(number) for number in range(row.pictures)]
    if row.state != "succeeded":
        links = service.links(row, names)
        return {
            "status": "processing",
            "tip": "Poll fetch_result, or give a webhook.",
            "eta": await asyncio.to_thread(_eta, row, service),
            "message": MESSAGE,
            "messege": MESSAGE,
            "fetch_result": f"{service.settings.base_url}{PREFIX}/fetch/{row.number}",
            "id": row.number,
            "output": [],
            "meta": _meta(row),
            "future_links": links,
            "proxy_links": links,
        }
    as_text, storage = row.request["base64"], service.storage(row)
    links = [storage.link(name, row.expires) for name in names]
    return {
        "status": "success",
        "generationTime": row.seconds or 0.0,
        "id": row.number,
        "output": await _raw(row, service) if as_text else links,
        "proxy_links": links,
        "meta": _meta(row),
        "nsfw_content_detected": any(output["unsafe"] for output in row.outputs),
    }


async def webhook(row: JobRow, service: Service) -> dict[str, Any]:
    """What is posted at the end of a job; `track_id` goes back as it came."""
    if row.state == "succeeded":
        return {**await answer(row, service), "track_id": row.request["track_id"]}
    message = row.error or "The generation failed."
    return {"status": "failed", "id": row.number, "message": message, "track_id": row.request["track_id"]}


def refuse(request: Request, error: ServiceError) -> JSONResponse:
    content: dict[str, object] = {"status": "error", "message": error.message}
    if isinstance(error, BusyError):
        content["retry_after"] = error.retry_after
    if error.job is not None:
        content["id"] = error.job
    return JSONResponse(content, error.status)


def _eta(row: JobRow, service: Service) -> int:
    usual = service.store.usual_seconds(row.workflow) or USUAL_SECONDS
    running = time.time() - row.started if row.state == "running" and row.started else 0.0
    return max(1, math.ceil((service.store.ahead(row) + 1) * usual - running))


def _meta(row: JobRow) -> dict[str, object]:
    """Exactly the keys of the documented sample."""
    given, values = row.request, row.values
    return {
        "base64": _yes(given["base64"]),
        "face_image": given["face_image"],
        "file_prefix": row.id,
        "guidance_scale": given["guidance_scale"],
        "height": values["height"],
        "negative_prompt": given["negative_prompt"],
        "num_inference_steps": given["num_inference_steps"],
        "outdir": "out",
        "prompt": given["prompt"],
        "safety_checker": _yes(given["safety_checker"]),
        "safety_checker_type": given["safety_checker_type"],
        "samples": given["samples"],
        "seed": values["seed"],
        "temp": _yes(not row.in_own_bucket),
        "width": values["width"],
    }


async def _raw(row: JobRow, service: Service) -> list[str]:
    storage = service.storage(row)
    return [base64.b64encode(await storage.get(output["name"])).decode() for output in row.outputs]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _yes(found: object) -> str:
    return "yes" if found else "no"

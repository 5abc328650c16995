"""Builds the answers of ModelsLab's Face Generator: success, processing, the webhook's report, and errors."""

import asyncio
import base64
import math
import time
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from ...base.errors import BusyError, InputError, ServiceError
from ...database.tables import JobRow
from ...jobs.service import Service
from ..values import PHOTO_KINDS

NAME = "modelslab"
PREFIX = "/api/v1/enterprise/face_gen"
CLIENTS = "/api/v1/enterprise/image_editing"  # the path that ModelsLab's own client uses
USUAL_SECONDS = 20.0  # the estimate before any run
MESSAGE = "Your request is processing in the background, use the fetch endpoint to get the result"


def check(row: JobRow) -> None:
    """Raises InputError if a job failed because of the photo, ServiceError if it failed otherwise or was cancelled."""
    if row.state in ("failed", "cancelled"):
        kind = InputError if row.error_kind in PHOTO_KINDS else ServiceError
        error = kind(row.error or "The generation failed.")
        error.job = row.number
        raise error


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
    """The body of the webhook at the end of a job; `track_id` is returned unchanged."""
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


def _yes(found: object) -> str:
    return "yes" if found else "no"

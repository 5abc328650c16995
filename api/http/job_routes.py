"""The job routes: list, show, cancel and delete the key's jobs, and serve results behind signed links."""

import asyncio
import time

from fastapi import APIRouter, Query, Request, Response

from ..base.errors import ForbiddenError, NotFoundError
from ..comfyui.client import Comfy
from ..database.tables import JobRow
from ..jobs.retention import purge
from ..jobs.service import Service
from ..media.storage import content_type
from .requests import authenticate
from .schemas import ENVELOPE, answers

router = APIRouter(tags=["Jobs"], responses=answers(ENVELOPE))
PAGE = 50
LARGEST_NUMBER = 2**63 - 1  # the largest integer of SQLite


@router.get("/jobs")
async def list_jobs(
    request: Request,
    limit: int = Query(PAGE, ge=1, le=200),
    before: int | None = Query(None, ge=0, le=LARGEST_NUMBER),
) -> dict:
    """Lists the key's jobs, the latest first. For the next page, send the smallest `number` as `before`."""
    caller = await authenticate(request, {})
    service: Service = request.app.state.service
    rows = await asyncio.to_thread(service.store.jobs, caller.id, limit, before)
    return {"jobs": [_shown(row, service) for row in rows]}


@router.get("/jobs/{job_id}")
async def job(request: Request, job_id: str) -> dict:
    service: Service = request.app.state.service
    return _shown(await _owned(request, job_id), service)


@router.delete("/jobs/{job_id}")
async def delete_job(request: Request, job_id: str) -> dict:
    """Cancels an unfinished job, and deletes its photo, results and row, and its run in ComfyUI."""
    service: Service = request.app.state.service
    row = await _owned(request, job_id)
    await asyncio.to_thread(service.store.expire_at, row.id, time.time())
    cancelled = await asyncio.to_thread(service.store.cancel, row.id, service.settings.retention_s)
    if cancelled is not None:
        service.ended(cancelled)
    current = await asyncio.to_thread(service.store.get, row.id)
    if current is not None and current.is_over:
        await purge(current, service, Comfy(service.settings.comfy_url, service.inside))
        await asyncio.to_thread(service.store.compact)
        current = await asyncio.to_thread(service.store.get, row.id)
    return {"id": row.id, "state": "deleted" if current is None else "deleting"}


@router.get("/files/{name}", include_in_schema=False)
async def file(request: Request, name: str, expires: str = "", signature: str = "") -> Response:
    """Sends a result on disk; the link comes from a vendor's answer."""
    service: Service = request.app.state.service
    if not expires.isdecimal() or len(expires) > 15:
        raise ForbiddenError("This link is not valid, or its time is over.")
    service.disk.check(name, int(expires), signature)
    content = await service.disk.get(name)
    return Response(content, media_type=content_type(name), headers={"Cache-Control": "private"})


async def _owned(request: Request, job_id: str) -> JobRow:
    caller = await authenticate(request, {})
    service: Service = request.app.state.service
    row = await asyncio.to_thread(service.store.owned, job_id, caller.id)
    if row is None:
        raise NotFoundError(f"There is no job {job_id[:60]} (any more).")
    return row


def _shown(row: JobRow, service: Service) -> dict[str, object]:
    return {
        "id": row.id,
        "number": row.number,
        "vendor": row.vendor,
        "workflow": row.workflow,
        "state": row.state,
        "progress": row.progress,
        "attempts": row.attempt,
        "created": row.created,
        "started": row.started,
        "ended": row.ended,
        "expires": row.expires,
        "seconds": row.seconds,
        "seed": row.values.get("seed"),
        "error": row.error,
        "results": service.links(row, [output["name"] for output in row.outputs]),
    }

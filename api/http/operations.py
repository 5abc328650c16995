"""The operator's routes: /healthz, /readyz and /metrics; and the access check of a service without keys."""

import asyncio
import contextlib
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import text

from ..base.errors import ForbiddenError
from ..base.settings import Settings
from ..comfyui.client import Comfy
from ..database.keys import presented
from ..jobs.service import Service

router = APIRouter(include_in_schema=False)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    """Answers "ok" while the process runs."""
    return PlainTextResponse("ok")


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Answers 200 if the store and ComfyUI answer, otherwise 503."""
    service: Service = request.app.state.service
    found = {"store": await asyncio.to_thread(_store_answers, service), "comfyui": await _comfy_answers(service)}
    return JSONResponse(found, 200 if all(found.values()) else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Answers with the Prometheus metrics. If there are keys, the caller's key needs the scope admin."""
    service: Service = request.app.state.service
    service.keys.recognize(presented(request.headers, {})).need("admin")
    return Response(await asyncio.to_thread(service.metrics.text), media_type=CONTENT_TYPE_LATEST)


def is_ours(request: Request) -> bool:
    """Checks a request to a service without keys: any web page could otherwise use it from the user's browser.

    It refuses foreign origins, and foreign host names that resolve to this machine (DNS rebinding).
    """
    service: Service = request.app.state.service
    return (_has_our_name(request) and _comes_from_here(request)) or service.keys.any()


def foreign(request: Request) -> Response:
    error = ForbiddenError(
        "Without keys this service answers only to localhost, and not to web pages of other origins: add a key with "
        "`python -m api keys add`, or add the origin to CONSISTENT_FACE_CORS_ORIGINS."
    )
    service: Service = request.app.state.service
    return service.vendor_of(request.url.path).refuse(request, error)


def _has_our_name(request: Request) -> bool:
    settings: Settings = request.app.state.service.settings
    with contextlib.suppress(ValueError):
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname
        return name in (*LOOPBACK_NAMES, urlsplit(settings.base_url).hostname, settings.host)
    return False


def _comes_from_here(request: Request) -> bool:
    """Checks the Origin header: browsers send it with every request that changes something, other programs do not."""
    origin, host = request.headers.get("origin"), request.headers.get("host")
    allowed = request.app.state.service.settings.cors_origins
    return origin is None or origin in (f"http://{host}", f"https://{host}", *allowed) or "*" in allowed


def _store_answers(service: Service) -> bool:
    with service.store.read() as session:
        return session.scalar(text("SELECT 1")) == 1


async def _comfy_answers(service: Service) -> bool:
    return await Comfy(service.settings.comfy_url, service.inside).is_there()

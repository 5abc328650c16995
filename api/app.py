"""Builds the FastAPI application: the vendors' routes, the job routes, the operator's routes and error handlers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.routing import Match

from .base.background_tasks import keep_going
from .base.errors import BusyError, ContentTypeError, InputError, MethodError, NotFoundError, ServiceError
from .base.settings import Settings
from .comfyui.client import Comfy
from .http import job_routes, operations
from .http.middleware import Observed
from .http.openapi import openapi_of
from .jobs.retention import sweep, sweep_once
from .jobs.service import Service
from .jobs.webhooks import deliver
from .jobs.worker import work
from .vendors import VENDORS

STOP_SECONDS = 10.0  # that running jobs get at a graceful stop; unfinished ones are resumed at the next start
CLEAN_SECONDS = 5.0  # for the cleaning after that; the rest is cleaned after the next start
CORS_HEADERS = ["content-type", "authorization", "x-api-key", "idempotency-key"]
CORS_EXPOSED = ["x-remaining-credits", "x-warnings", "x-image-count", "x-seed-value", "link"]


def create_app(settings: Settings, run_jobs: bool = True) -> FastAPI:
    """Returns the application. Without `run_jobs` it accepts jobs and answers, and another process runs the jobs."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = app.state.service = Service(settings, VENDORS)
        service.decoding.warm_up()
        if run_jobs:
            service.store.recover()
        async with _running(service, run_jobs):
            yield
        await service.close()

    app = FastAPI(title="Consistent Face", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    for vendor in VENDORS:
        app.include_router(vendor.router)
    app.include_router(job_routes.router)
    app.include_router(operations.router)
    openapi_of(app, {vendor.name: vendor.router for vendor in VENDORS})
    _handle_errors(app)
    app.add_middleware(Observed)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=CORS_HEADERS,
            expose_headers=CORS_EXPOSED,
        )
    return app


@contextlib.asynccontextmanager
async def _running(service: Service, run_jobs: bool) -> AsyncIterator[None]:
    """Runs the background tasks. At the end running jobs may finish within STOP_SECONDS, and are cleaned."""
    stopping = asyncio.Event()
    workers = service.settings.workers if run_jobs else 0
    behind = [asyncio.create_task(keep_going(partial(work, service, stopping))) for _ in range(workers)]
    others = [asyncio.create_task(keep_going(partial(act, service))) for act in (deliver, sweep) if run_jobs]
    try:
        yield
    finally:
        stopping.set()
        async with service.bell:
            service.bell.notify_all()
        if busy := {*behind, *service.at_work}:
            await asyncio.wait(busy, timeout=STOP_SECONDS)
        left = (*behind, *service.at_work, *others)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if run_jobs:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLEAN_SECONDS):
                    await sweep_once(service, Comfy(service.settings.comfy_url, service.inside))


def _handle_errors(app: FastAPI) -> None:
    app.add_exception_handler(ServiceError, _refused)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _unmatched)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _faulty)


def _answer(request: Request, error: ServiceError) -> Response:
    """The error in the shape of the vendor that the path belongs to."""
    service: Service = request.app.state.service
    answer = service.vendor_of(request.url.path).refuse(request, error)
    if isinstance(error, BusyError):
        answer.headers["Retry-After"] = str(error.retry_after)
    if getattr(request.state, "broken_off", False):
        answer.headers["Connection"] = "close"  # the rest of the body is not read
    return answer


async def _refused(request: Request, error: ServiceError) -> Response:
    return _answer(request, error)


async def _unmatched(request: Request, error: HTTPException) -> Response:
    """Answers the framework's refusals: unknown paths, wrong methods, incomplete bodies."""
    path = request.url.path[:100]
    kinds: dict[int, ServiceError] = {
        404: NotFoundError(f"The requested URL does not exist: {path}."),
        405: MethodError(f"The requested HTTP method is not allowed: {request.method} {path}."),
        415: ContentTypeError("Invalid content type."),
    }
    answer = _answer(request, kinds.get(error.status_code, InputError(str(error.detail))))
    if error.status_code == 405:
        answer.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return answer


def _methods(request: Request) -> set[str]:
    """All methods of a path: the framework lists only those of the first matching route."""
    matched = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in matched for method in getattr(route, "methods", None) or ()}


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    fault = error.errors()[0]
    name = str(fault["loc"][-1])
    return _answer(request, InputError(f"{name}: {fault['msg']}.", name))


async def _faulty(request: Request, error: Exception) -> Response:
    """Answers an unexpected exception. The log has the traceback under the number in the answer."""
    number = getattr(request.state, "request_id", "")
    return _answer(request, ServiceError(f"Internal error: tell the operator the number {number}."))

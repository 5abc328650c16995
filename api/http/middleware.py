"""The middleware of every request: checks access without keys, counts, and logs without the query string."""

import logging
import time
import uuid

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..jobs.service import Service
from . import operations

LOG = logging.getLogger("consistent_face.http")


class Observed:
    """Plain ASGI, since Starlette's base class for middleware passes every body through a queue."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request = Request(scope)
        request.state.request_id = uuid.uuid4().hex[:12]
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            answer = self._app if operations.is_ours(request) else operations.foreign(request)
            await answer(scope, receive, noted)
        finally:
            _note(request, status, time.perf_counter() - started)


def _note(request: Request, status: int, seconds: float) -> None:
    service: Service = request.app.state.service
    route = getattr(request.scope.get("route"), "path", "(none)")
    service.metrics.requests.labels(route, status).inc()
    service.metrics.latency.labels(route).observe(seconds)
    caller = getattr(request.state, "caller", None)
    extra = {"route": route, "status": status, "seconds": round(seconds, 4)}
    extra |= {"key_id": caller and caller.id, "request_id": request.state.request_id}
    LOG.info("%s %s", request.method, route, extra=extra)

"""Reads a request: authenticates the caller and parses the fields."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from functools import partial

from starlette.requests import Request

from ..base.client_addresses import caller_of
from ..base.errors import BusyError, InputError, KeyRefusedError, ServiceError, SlowError, TooLargeError
from ..database.keys import Caller, presented
from ..jobs.service import Service
from .bodies import check_texts, chunks
from .bodies import fields as fields_of

LARGE = 2**20  # bytes; few larger bodies per caller are read at the same time
STRANGER_SECONDS = 60.0  # time limit of a body whose key is unknown or wrong


@dataclass
class Asked:
    """A request as a vendor module gets it. `warnings` collects the sentences of the answer's x-warnings."""

    service: Service
    caller: Caller
    fields: dict[str, object]
    idempotency_key: str | None
    warnings: list[str] = field(default_factory=list)


async def read(request: Request) -> Asked:
    """Authenticates a request and reads its fields. The limits count by key if it is known, otherwise by address.

    Raises KeyRefusedError, BusyError, TooLargeError, InputError. A wrong key comes before errors in the body's content.
    """
    service: Service = request.app.state.service
    known = presented(request.headers, {}) is not None
    caller, fields = await (_by_header(request, service) if known else _by_body(request, service))
    check_texts(fields)
    return Asked(service, caller, fields, _idempotency_key(request))


async def _by_header(request: Request, service: Service) -> tuple[Caller, dict[str, object]]:
    """Authenticates by the headers, then reads the body; the body of an unknown caller is discarded."""
    largest = service.settings.max_body
    try:
        caller = await authenticate(request, {})
    except ServiceError:
        with contextlib.suppress(SlowError, TimeoutError):
            async with asyncio.timeout(STRANGER_SECONDS):
                async for _ in chunks(request, largest):  # a client that is still sending would not see the answer
                    pass
        raise
    async with contextlib.nullcontext() if _is_small(request) else service.known.held(caller.id):
        return caller, await fields_of(request, largest, partial(service.reading.held, caller.id))


async def _by_body(request: Request, service: Service) -> tuple[Caller, dict[str, object]]:
    """Reads the body, which may have the key, and authenticates by it."""
    broken: ServiceError | None = None
    fields: dict[str, object] = {}
    address = caller_of(request.scope, service.settings.trusted_proxies)
    try:
        async with contextlib.nullcontext() if _is_small(request) else service.strangers.held(address):
            async with asyncio.timeout(STRANGER_SECONDS):
                fields = await fields_of(request, service.settings.max_body, partial(service.reading.held, address))
    except (TooLargeError, SlowError, BusyError):
        raise
    except TimeoutError as error:
        request.state.broken_off = True
        raise SlowError(f"The body did not come within {STRANGER_SECONDS:g} seconds.") from error
    except ServiceError as error:
        broken = error
    caller = await authenticate(request, fields)
    if broken is not None:
        raise broken
    return caller, fields


def _is_small(request: Request) -> bool:
    announced = request.headers.get("content-length", "")
    return announced.isdigit() and int(announced) < LARGE


async def authenticate(request: Request, fields: dict[str, object]) -> Caller:
    """Returns the caller. Raises KeyRefusedError, and BusyError beyond the rate of the key or of wrong keys."""
    service: Service = request.app.state.service
    address = caller_of(request.scope, service.settings.trusted_proxies)
    try:
        caller = service.keys.recognize(presented(request.headers, fields))  # one query, which is faster than a thread
    except KeyRefusedError:
        service.limit("wrong key", address, service.settings.failures_limit)
        raise
    request.state.caller = caller
    service.limit("request", caller.id, service.settings.rate_limit)
    return caller


def _idempotency_key(request: Request) -> str | None:
    found = request.headers.get("idempotency-key")
    if found is not None and not 1 <= len(found) <= 255:
        raise InputError("Idempotency-Key must have 1 to 255 characters.", "Idempotency-Key")
    return found

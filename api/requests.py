"""Reads a request: its body within limits, its fields, its caller."""

import asyncio
import json
from dataclasses import dataclass, field

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from .errors import ContentTypeError, InputError, KeyRefusedError, ServiceError, TooLargeError
from .keys import Caller, presented
from .service import Service

JSON_TYPES = ("application/json", "text/json")
FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
THREAD_FROM = 256 * 1024  # bytes of JSON that are parsed beside the event loop


@dataclass
class Asked:
    """A request as a vendor module sees it. `warnings` are collected for the answer's x-warnings."""

    service: Service
    caller: Caller
    fields: dict[str, object]
    idempotency_key: str | None
    warnings: list[str] = field(default_factory=list)


async def read(request: Request) -> Asked:
    """Raises KeyRefusedError before any complaint about the body's content, BusyError, TooLargeError, InputError."""
    service: Service = request.app.state.service
    broken: ServiceError | None = None
    fields: dict[str, object] = {}
    try:
        fields = await _fields(request, service.settings.max_body)
    except TooLargeError:
        raise
    except ServiceError as error:
        broken = error
    caller = await authenticate(request, fields)
    if broken is not None:
        raise broken
    return Asked(service, caller, fields, _idempotency_key(request))


async def authenticate(request: Request, fields: dict[str, object]) -> Caller:
    """The caller, within the rate of the key; wrong keys are counted by address."""
    service: Service = request.app.state.service
    address = request.client.host if request.client else "unknown"
    try:
        caller = service.keys.recognise(presented(request.headers, fields))  # one read: quicker than a thread
    except KeyRefusedError:
        service.limit("wrong key", address, service.settings.failures_limit)
        raise
    request.state.caller = caller
    service.limit("request", caller.id, service.settings.rate_limit)
    return caller


async def _fields(request: Request, largest: int) -> dict[str, object]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in JSON_TYPES or kind.endswith("+json"):
        return await _json(await _body(request, largest))
    if kind in FORM_TYPES:
        return await _form(request, largest)
    await _body(request, largest)
    raise ContentTypeError(
        f"Invalid content type {kind[:80] or '(none)'}: send application/json or multipart/form-data."
    )


async def _body(request: Request, largest: int) -> bytes:
    """Raises TooLargeError, before reading where the length is announced."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > largest:
        raise TooLargeError(f"The body has {announced} bytes: send at most {largest}.")
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > largest:
                raise TooLargeError(f"The body has more than {largest} bytes.")
    except ClientDisconnect as error:
        raise InputError("The connection was closed before the whole body came.") from error
    return bytes(content)


async def _json(content: bytes) -> dict[str, object]:
    try:
        parsed = _parse(content) if len(content) < THREAD_FROM else await asyncio.to_thread(_parse, content)
    except (ValueError, RecursionError) as error:
        raise InputError("The body is not valid JSON: send a JSON object.") from error
    if not isinstance(parsed, dict):
        raise InputError(f"The body is JSON, but {type(parsed).__name__} instead of an object.")
    return parsed


def _parse(content: bytes) -> object:
    return json.loads(content, parse_constant=_no_constant)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON.")


async def _form(request: Request, largest: int) -> dict[str, object]:
    """The fields of a form: files as bytes, the rest as text. The whole body is held to the same limit."""
    body = await _body(request, largest)
    again = Request(request.scope, _replay(body))
    try:
        async with again.form(max_files=8, max_fields=200, max_part_size=largest) as form:
            return {
                name: await value.read() if isinstance(value, UploadFile) else value for name, value in form.items()
            }
    except (MultiPartException, HTTPException, ValueError, KeyError) as error:
        raise InputError("The form in the body cannot be read: send valid multipart/form-data.") from error


def _replay(body: bytes):
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _idempotency_key(request: Request) -> str | None:
    found = request.headers.get("idempotency-key")
    if found is not None and not 1 <= len(found) <= 255:
        raise InputError("Idempotency-Key must have 1 to 255 characters.", "Idempotency-Key")
    return found

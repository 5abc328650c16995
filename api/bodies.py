"""Reads the body of a request within limits: the fields of a JSON object or of a form."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from .errors import ContentTypeError, InputError, TooLargeError

JSON_TYPES = ("application/json", "text/json")
FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
LARGE = 256 * 1024  # bytes from which a body is worked on beside the event loop
# By one thread, which nothing small waits for, and which holds up Python's lock for one body at a time.
READER = ThreadPoolExecutor(1, "bodies")
PIECE = 256 * 1024  # bytes of a form that are parsed at a time
MOST_VALUES = 50_000  # in a body: a picture is one, and a list of nothing but lists takes 25 times its size in memory


async def fields(request: Request, largest: int) -> dict[str, object]:
    """Raises TooLargeError, ContentTypeError, InputError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in JSON_TYPES or kind.endswith("+json"):
        return await _json(await _body(request, largest))
    if kind in FORM_TYPES:
        return await _form(request, largest)
    await _body(request, largest)
    raise ContentTypeError(
        f"Invalid content type {kind[:80] or '(none)'}: send application/json or multipart/form-data."
    )


async def _body(request: Request, largest: int) -> bytearray:
    content = bytearray()
    async for chunk in chunks(request, largest):
        content += chunk
    return content


async def chunks(request: Request, largest: int) -> AsyncIterator[bytes]:
    """Raises TooLargeError, before reading where the length is announced, and InputError."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > largest:
        raise TooLargeError(f"The body has {announced} bytes: send at most {largest}.")
    length = 0
    try:
        async for chunk in request.stream():
            length += len(chunk)
            if length > largest:
                raise TooLargeError(f"The body has more than {largest} bytes.")
            yield chunk
    except ClientDisconnect as error:
        raise InputError("The connection was closed before the whole body came.") from error


async def _json(content: bytearray) -> dict[str, object]:
    try:
        if len(content) < LARGE:
            parsed = _parse(content)
        else:
            parsed = await asyncio.get_running_loop().run_in_executor(READER, _parse_large, content)
    except (ValueError, RecursionError) as error:
        raise InputError("The body is not valid JSON: send a JSON object.") from error
    if not isinstance(parsed, dict):
        raise InputError(f"The body is JSON, but {type(parsed).__name__} instead of an object.")
    return parsed


def _parse(content: bytearray) -> object:
    _check_number(content)
    return json.loads(content, parse_constant=_no_constant)


def _parse_large(content: bytearray) -> object:
    """The same, several times as quick over a picture's text: the event loop stands still meanwhile.

    Where this reader refuses or has another number, Python's word counts.
    """
    _check_number(content)
    try:
        parsed = from_json(content, allow_inf_nan=False)
    except ValueError:
        return _parse(content)
    numbers = parsed.values() if isinstance(parsed, dict) else ()
    return _parse(content) if any(number in (math.inf, -math.inf) for number in numbers) else parsed


def _check_number(content: bytearray) -> None:
    number = 0
    for sign in (b",", b"[", b"{"):  # one by one: the event loop has its turn in between
        number += content.count(sign)
    if number > MOST_VALUES:
        raise InputError(f"The JSON has more than {MOST_VALUES} values: send an object of the documented fields.")


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


def _replay(body: bytearray) -> Receive:
    place = 0

    async def receive() -> Message:
        nonlocal place
        await asyncio.sleep(0)  # between two pieces others have their turn
        piece, place = body[place : place + PIECE], place + PIECE
        return {"type": "http.request", "body": bytes(piece), "more_body": place < len(body)}

    return receive

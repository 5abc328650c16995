"""Reads the body of a request within limits: returns the fields of a JSON object or of a form."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import NoReturn
from urllib.parse import parse_qsl

from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from ..base.errors import ContentTypeError, InputError, SlowError, TooLargeError

JSON_TYPES = ("application/json", "text/json")
FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
HALVES = re.compile("[\ud800-\udfff]")
GRACE = 5.0  # seconds before the minimum rate applies
SLOWEST = 16 * 1024  # minimum rate of a body in bytes per second, on average
MOST_FIELDS = 200  # per form
MOST_ESCAPES = 2**21  # per form: each has three bytes and takes time to decode
LARGE = 256 * 1024  # bytes; larger bodies are parsed outside the event loop
# One thread: small bodies do not wait for it, and only one large body at a time holds Python's lock.
READER = ThreadPoolExecutor(1, "bodies")
PIECE = 256 * 1024  # bytes of a form that are parsed in one step
MOST_VALUES = 50_000  # per body: a picture is one value; a list of lists takes 25 times its size in memory


Turn = Callable[[], AbstractAsyncContextManager[None]]  # waits for the caller's turn at the thread for large bodies


async def fields(request: Request, largest: int, turn: Turn) -> dict[str, object]:
    """Returns the fields of a body of at most `largest` bytes. Raises TooLargeError, ContentTypeError, InputError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in JSON_TYPES or kind.endswith("+json"):
        return await _json(await _body(request, largest), turn)
    if kind in FORM_TYPES:
        return await _form(request, largest, turn)
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
    """Yields the parts of a body. Raises TooLargeError (at once if the length is announced), SlowError, InputError."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > largest:
        raise TooLargeError(f"The body has {announced} bytes: send at most {largest}.")
    length, stream, started = 0, request.stream(), asyncio.get_running_loop().time()
    try:
        while True:
            async with asyncio.timeout_at(started + GRACE + length / SLOWEST):
                chunk = await anext(stream)
            length += len(chunk)
            if length > largest:
                raise TooLargeError(f"The body has more than {largest} bytes.")
            yield chunk
    except StopAsyncIteration:
        return
    except TimeoutError as error:
        request.state.broken_off = True
        raise SlowError(f"The body came too slowly: send at least {SLOWEST} bytes a second.") from error
    except ClientDisconnect as error:
        raise InputError("The connection was closed before the whole body came.") from error


async def _json(content: bytearray, turn: Turn) -> dict[str, object]:
    try:
        if len(content) < LARGE:
            parsed = _parse(content)
        else:
            async with turn():
                parsed = await asyncio.get_running_loop().run_in_executor(READER, _parse_large, content)
    except (ValueError, RecursionError) as error:
        raise InputError("The body is not valid JSON: send a JSON object.") from error
    if not isinstance(parsed, dict):
        raise InputError(f"The body is JSON, but {type(parsed).__name__} instead of an object.")
    return parsed


def _parse(content: bytearray) -> object:
    _check_number(content)
    return json.loads(content, parse_constant=_no_constant, parse_float=_finite)


def _parse_large(content: bytearray) -> object:
    """Parses like `_parse`, but several times faster: the parser holds Python's lock and blocks the event loop.

    If this parser refuses the text or finds a number that is not finite, Python's parser decides.
    """
    _check_number(content)
    try:
        parsed = from_json(content, allow_inf_nan=False)
    except ValueError:
        return _parse(content)
    return parsed if all(map(_is_finite, _values(parsed))) else _parse(content)


def _check_number(content: bytearray) -> None:
    number = 0
    for sign in (b",", b"[", b"{"):  # one by one, so that the event loop can run in between
        number += content.count(sign)
    if number > MOST_VALUES:
        raise InputError(f"The JSON has more than {MOST_VALUES} values: send an object of the documented fields.")


def _finite(digits: str) -> float:
    """Refuses 1e999: it would become an infinity and be written as Infinity, which is not valid JSON."""
    return number if math.isfinite(number := float(digits)) else _no_constant(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON.")


def check_texts(fields: Mapping[str, object]) -> None:
    """Refuses lone surrogates, which JSON can contain, but no database and no answer.

    Raises InputError with the name of the field.
    """
    for name, value in fields.items():
        if not _is_whole(name):
            raise InputError("A field's name has half a character in it: send whole Unicode characters.")
        if not _is_whole(value):
            raise InputError(f"{name} has half a character in it: send whole Unicode characters.", name)


def _is_whole(value: object) -> bool:
    texts = (found for found in _values(value) if isinstance(found, str))
    return not any(HALVES.search(text) for text in texts if not text.isascii())


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _values(parsed: object) -> Iterator[object]:
    """Yields all names, texts and numbers in parsed JSON. Not recursive: the JSON may be deeply nested."""
    waiting = [parsed]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            waiting += (*found, *found.values())
        else:
            yield found


async def _form(request: Request, largest: int, turn: Turn) -> dict[str, object]:
    """Returns the fields of a form: files as bytes, the rest as text. The limit applies to the whole body."""
    body = await _body(request, largest)
    is_multipart = request.headers["content-type"].lower().lstrip().startswith(FORM_TYPES[0])
    parse = partial(asyncio.run, _parts(request, body, largest)) if is_multipart else partial(_pairs, body)
    try:  # outside the event loop: 32 MB of only & or % take seconds
        if len(body) < LARGE:
            return await asyncio.to_thread(parse)
        async with turn():
            return await asyncio.get_running_loop().run_in_executor(READER, parse)
    except (MultiPartException, HTTPException, ValueError, KeyError) as error:
        raise InputError("The form in the body cannot be read: send valid multipart/form-data.") from error


async def _parts(request: Request, body: bytearray, largest: int) -> dict[str, object]:
    again = Request(request.scope, _replay(body))
    async with again.form(max_files=8, max_fields=MOST_FIELDS, max_part_size=largest) as form:
        return {name: await value.read() if isinstance(value, UploadFile) else value for name, value in form.items()}


def _pairs(body: bytearray) -> dict[str, object]:
    if body.count(b"%") > MOST_ESCAPES:
        raise ValueError("The form has too many escapes: a picture in base64 has few.")
    return dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS))


def _replay(body: bytearray) -> Receive:
    place = 0

    async def receive() -> Message:
        nonlocal place
        await asyncio.sleep(0)  # lets other tasks run between two pieces
        piece, place = body[place : place + PIECE], place + PIECE
        return {"type": "http.request", "body": bytes(piece), "more_body": place < len(body)}

    return receive

"""ModelsLab's fetch: answers with the state of a request, and with its pictures when it is done."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ...base.errors import NotFoundError
from ...http.requests import read
from ...http.schemas import described
from ..examples import MODELSLAB_EXAMPLES
from ..values import Fields, parse, warnings_header
from .answers import CLIENTS, NAME, PREFIX, answer, check

router = APIRouter()


class Fetch(Fields):
    """`POST /api/v1/enterprise/face_gen/fetch/{id}`: the key alone."""


@router.post(CLIENTS + "/fetch/{number}", include_in_schema=False)
@router.post(PREFIX + "/fetch/{number}", **described(Fetch, MODELSLAB_EXAMPLES["fetch"]))
async def fetch(request: Request, number: str) -> JSONResponse:
    asked = await read(request)
    parse(Fetch, asked.fields, asked.warnings)
    found = asked.service.store.owned(int(number), asked.caller.id) if _is_number(number) else None
    if found is None or found.vendor != NAME:
        raise NotFoundError(f"There is no request {number[:20]} (any more): it is unknown, or its time is over.", "id")
    check(found)
    return JSONResponse(await answer(found, asked.service), headers=warnings_header(asked.warnings))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19

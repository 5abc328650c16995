"""ModelsLab's make_gen: takes a face photo and a prompt, answers with pictures of that face."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ...http.requests import read
from ...http.schemas import described
from ...http.submission import Wanted, submit
from ...media.intake import is_url
from ..examples import MODELSLAB_EXAMPLES
from ..values import (
    LARGEST_SEED,
    Fields,
    Picture,
    Prompt,
    Real,
    Whole,
    address,
    clamped,
    nearest,
    parse,
    warnings_header,
)
from .answers import CLIENTS, NAME, PREFIX, answer, check

SHORT, LONG = 512, 768  # the largest picture, in either direction
router = APIRouter()


class MakeGen(Fields):
    """`POST /api/v1/enterprise/face_gen/make_gen`."""

    prompt: Prompt
    face_image: Picture
    negative_prompt: Prompt = ""
    width: Annotated[Whole, clamped(256, LONG)] = 512
    height: Annotated[Whole, clamped(256, LONG)] = 512
    samples: Annotated[Whole, clamped(1, 2)] = 1
    num_inference_steps: Annotated[Whole, nearest(21, 31, 41)] = 21
    guidance_scale: Annotated[Real, clamped(1, 20)] = 7.5
    s_scale: Annotated[Real, clamped(0, 2)] = 1.0
    seed: Annotated[Whole, clamped(-1, LARGEST_SEED)] | None = None
    safety_checker: bool = True
    safety_checker_type: Literal["blur", "sensitive_content_text", "pixelate", "black"] = "sensitive_content_text"
    base64: bool = False
    webhook: str | None = None
    track_id: str | int | float | bool | None = None


# Request's field -> parameter of the workflow: the whole mapping.
PARAMETERS = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "width": "width",
    "height": "height",
    "samples": "samples",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "s_scale": "s_scale",
    "seed": "seed",
    "safety_checker": "safety_checker",
    "safety_checker_type": "safety_checker_type",
}


@router.post(f"{CLIENTS}/face_gen", include_in_schema=False)
@router.post(f"{PREFIX}/make_gen", **described(MakeGen, MODELSLAB_EXAMPLES["make_gen"]))
async def make_gen(request: Request) -> JSONResponse:
    asked = await read(request)
    body = parse(MakeGen, asked.fields, asked.warnings)
    _fit(body, asked.warnings)
    if not body.safety_checker and "safety_off" not in asked.caller.scopes:
        body.safety_checker = True
        asked.warnings.append("safety_checker stays on: this key lacks the scope safety_off")
    row = await submit(asked, _wanted(body, address("webhook", body.webhook, asked.service.settings.allow_loopback)))
    del body  # and the picture in it
    row = await asked.service.waiting.ended(row, asked.service.settings.modelslab_sync_wait_s)
    check(row)
    return JSONResponse(await answer(row, asked.service), headers=warnings_header(asked.warnings))


def _fit(body: MakeGen, warnings: list[str]) -> None:
    """Reduces a size to fit into 512x768 or 768x512: the shorter side becomes 512, of equal sides the width."""
    if min(body.width, body.height) > SHORT:
        side = "width" if body.width <= body.height else "height"
        warnings.append(f"{side} {getattr(body, side)} is out of range: {SHORT} was taken")
        setattr(body, side, SHORT)


def _wanted(body: MakeGen, webhook: str | None) -> Wanted:
    given = body.model_dump()
    image = body.face_image
    request = {name: value for name, value in given.items() if name not in ("face_image", "webhook")}
    return Wanted(
        vendor=NAME,
        workflow="face_generator",
        values={parameter: given[field] for field, parameter in PARAMETERS.items()},
        photos={"photo": ("face_image", image)},
        request={**request, "face_image": image if isinstance(image, str) and is_url(image) else ""},
        webhook=webhook,
        parameters={parameter: field for field, parameter in PARAMETERS.items()},
    )

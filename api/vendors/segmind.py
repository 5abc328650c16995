"""Segmind's Consistent Character V1: one blocking call that answers with the picture itself.

Decided where the documents leave it open: prompt and image are required, everything else has the sample's value. A
value that is refused before the model runs is HTTP 406, as are exhausted credits; 500 only when the generation fails.
With several samples the body is the first picture, `x-image-count` is their number, and `Link` has the URLs of the
others; `Accept: application/json` or `base64` true returns all of them as JSON.
"""

import base64
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from ..base.errors import ContentTypeError, CreditsError, InputError, ServiceError
from ..database.keys import Caller
from ..database.tables import JobRow
from ..http.requests import Asked, read
from ..http.schemas import answers, described
from ..http.submission import Wanted, submit
from ..jobs.service import Service
from .examples import JPEG_OR_JSON, SEGMIND_ERROR, SEGMIND_EXAMPLE
from .values import LARGEST_SEED, PHOTO_KINDS, Fields, Picture, Prompt, Real, Whole, parse, warnings_header

NAME = "segmind"
SLUG = "consistent-character-ai-neolemon"
NEGATIVE = (
    "text, watermark, underexposed, ugly, jpeg, (worst quality, low quality, lowres, low details, "
    "oversaturated, undersaturated, overexposed, grayscale, bw, bad photo, bad art:1.4), (font, username,"
    " error, logo, words, letters, digits, autograph, trademark, name:1.2), (blur, blurry, grainy), "
    "cropped, out of frame, cut off, jpeg artifacts, out of focus, glitch, duplicate, (amateur:1.3), "
    "merging, clipping, (nsfw), multiple hands, mutant, glitch, uncanny, cross eye, broken face, "
    "astronaut, helmet, blurry,"
)
CHOICES = ("sampler_name", "scheduler")  # fields whose values ComfyUI knows, and refuses with its list
Steps = Annotated[Whole, Field(ge=1, le=100)]
Guidance = Annotated[Real, Field(ge=1, le=20)]
Name = Annotated[str, Field(max_length=60)]
router = APIRouter(tags=["Segmind"], responses=answers(SEGMIND_ERROR, JPEG_OR_JSON))


class ConsistentCharacter(Fields):
    """`POST /v1/consistent-character-ai-neolemon`."""

    prompt: Prompt
    negative_prompt: Prompt = NEGATIVE
    image: Picture
    ip_image: Picture | None = None  # an identity photo; an addition, named as in Segmind's later versions
    num_inference_steps: Steps = 20
    guidance_scale: Guidance = 7.0
    seed: Annotated[Whole, Field(ge=-1, le=LARGEST_SEED)] = -1
    samples: Annotated[Whole, Field(ge=1, le=4)] = 1
    strength: Annotated[Real, Field(ge=0, le=1)] = 0.8
    scheduler: Name = "karras"
    sampler: Name = "dpmpp_2m"
    upscale_by: Annotated[Whole, Field(ge=1, le=4)] = 2
    upscale_steps: Steps = 20
    upscale_guidance_scale: Guidance = 7.0
    upscale_scheduler: Name = "karras"
    upscale_sampler: Name = "dpmpp_2m"
    upscale_mode_type: Literal["Linear", "Chess", "None"] = "Linear"
    fd_steps: Steps = 20
    fd_guidance_scale: Guidance = 7.0
    fd_scheduler: Name = "karras"
    fd_sampler: Name = "dpmpp_2m"
    base64: bool = False


# Request's field -> parameter of the workflow: the whole mapping.
PHOTOS = {"image": "image", "ip_image": "ip_image"}
PARAMETERS = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "seed": "seed",
    "samples": "samples",
    "strength": "strength",
    "scheduler": "scheduler",
    "sampler": "sampler",
    "upscale_by": "upscale_by",
    "upscale_steps": "upscale_steps",
    "upscale_guidance_scale": "upscale_guidance",
    "upscale_scheduler": "upscale_scheduler",
    "upscale_sampler": "upscale_sampler",
    "upscale_mode_type": "upscale_mode",
    "fd_steps": "fd_steps",
    "fd_guidance_scale": "fd_guidance",
    "fd_scheduler": "fd_scheduler",
    "fd_sampler": "fd_sampler",
}


@router.post(
    f"/v1/{SLUG}",
    response_class=Response,
    **described(ConsistentCharacter, SEGMIND_EXAMPLE),
)
async def consistent_character(request: Request) -> Response:
    asked = await read(request)
    mode = asked.fields.get("upscale_mode_type")
    body = parse(ConsistentCharacter, asked.fields, asked.warnings)
    if mode == "None":  # a documented choice here, not an absent value
        body.upscale_mode_type = "None"
    row = await submit(asked, _wanted(body))
    as_json = body.base64 or "application/json" in request.headers.get("accept", "")
    del body  # and the pictures in it
    row = await asked.service.waiting.ended(row, asked.service.settings.sync_wait_s)
    if row.state != "succeeded":
        raise _failure(row)
    return await _answer(row, asked, as_json)


def _wanted(body: ConsistentCharacter) -> Wanted:
    given = body.model_dump()
    photos = {PHOTOS[name]: (name, given[name]) for name in PHOTOS if given[name] is not None}
    return Wanted(
        vendor=NAME,
        workflow="consistent_character",
        values={parameter: given[field] for field, parameter in PARAMETERS.items()},
        photos=photos,
        request={name: value for name, value in given.items() if name not in PHOTOS},
        format="jpeg",
        parameters={parameter: field for field, parameter in PARAMETERS.items()},
    )


def _failure(row: JobRow) -> ServiceError:
    refused = row.error_kind == "RefusedError" and any(choice in (row.error or "") for choice in CHOICES)
    if refused or row.error_kind in PHOTO_KINDS:
        return InputError(row.error or "The picture is not accepted.")
    if row.is_over:
        return ServiceError(row.error or "The generation failed.")
    return ServiceError(f"The generation is not finished yet; it goes on as job {row.id}: ask GET /jobs/{row.id}.")


async def _answer(row: JobRow, asked: Asked, as_json: bool) -> Response:
    service = asked.service
    storage = service.storage(row)
    links = [storage.link(output["name"], row.expires) for output in row.outputs]
    headers = {
        "x-image-count": str(len(links)),
        "x-seed-value": str(row.values["seed"]),
        "x-generation-time": f"{row.seconds or 0.0:.3f}",
        "x-request-id": row.id,
        **_credits(service, asked.caller),
        **warnings_header(asked.warnings),
    }
    if not as_json:
        if len(links) > 1:
            headers["Link"] = ", ".join(f'<{link}>; rel="alternate"; type="image/jpeg"' for link in links[1:])
        return Response(await storage.get(row.outputs[0]["name"]), media_type="image/jpeg", headers=headers)
    pictures = [base64.b64encode(await storage.get(output["name"])).decode() for output in row.outputs]
    content = {"image": pictures[0], "images": pictures, "urls": links, "seed": row.values["seed"], "id": row.id}
    return JSONResponse(content, headers=headers)


def refuse(request: Request, error: ServiceError) -> JSONResponse:
    acceptable = not isinstance(error, InputError | ContentTypeError | CreditsError)
    caller: Caller | None = getattr(request.state, "caller", None)
    headers = _credits(request.app.state.service, caller)
    return JSONResponse({"error": error.message}, error.status if acceptable else 406, headers)


def _credits(service: Service, caller: Caller | None) -> dict[str, str]:
    """The header of every answer to a Segmind path, also of errors."""
    return {"x-remaining-credits": str(service.keys.remaining(caller.id if caller else None))}

"""For /docs: the vendors' own examples, ready to send, and the schemas of the bodies that we parse ourselves."""

from typing import Any

from pydantic import BaseModel

PHOTO = "https://upload.wikimedia.org/wikipedia/commons/d/d7/Official_portrait_of_Barack_Obama.jpg"
QOLABA_EXAMPLES: dict[str, dict[str, object]] = {
    "face_consistency": {
        "app_id": "ap-SwsTOsD7STxJ0obCkskUHw",
        "image": PHOTO,
        "prompt": "portrait photo of a person hiking in the mountains at sunrise",
        "batch": 1,
        "height": 1024,
        "width": 1024,
        "num_inference_steps": 30,
        "guidance_scale": 7.5,
        "negative_prompt": "blurry, low quality",
        "strength": 0.8,
        "celery": True,
        "inference_type": "a10g",
    },
    "face_avatar": {
        "app_id": "ap-jL9u1wFpY5sRv2XmN3aQ44",
        "image": PHOTO,
        "prompt": None,
        "batch": 1,
        "height": 1024,
        "width": 1024,
        "celery": True,
        "num_inference_steps": 30,
        "guidance_scale": 7.5,
        "negative_prompt": "",
        "gender": "male",
        "remove_background": True,
        "bg_color": "#FFFFFF",
    },
    "status": {"id": "8c3ef6ea-1c44-4d69-91cb-fc11971a65d1", "refID": ""},
}
MODELSLAB_EXAMPLES: dict[str, dict[str, object]] = {
    "make_gen": {
        "key": "",
        "prompt": "pretty woman",
        "negative_prompt": "anime, cartoon, drawing, big nose, long nose, fat, ugly, big lips, big mouth, "
        "face proportion mismatch, unrealistic, monochrome, lowres, bad anatomy, worst quality, low quality, blurry",
        "face_image": PHOTO,
        "width": "512",
        "height": "512",
        "samples": "1",
        "num_inference_steps": "21",
        "safety_checker": False,
        "s_scale": 1.0,
        "seed": 1234,
        "safety_checker_type": "blur",
        "base64": False,
        "guidance_scale": 7.5,
        "webhook": None,
        "track_id": None,
    },
    "fetch": {"key": ""},
    "update_s3": {
        "key": "",
        "deploy_type": "face_gen",
        "public_url": "https://pictures.example.com",
        "region_name": "us-east-1",
        "endpoint_url": "https://s3.us-east-1.amazonaws.com/my-bucket",
        "aws_access_key_id": "",
        "aws_secret_access_key": "",
        "image_directory": "face_gen",
    },
    "reset_s3": {"key": "", "deploy_type": "face_gen"},
}
SEGMIND_EXAMPLE: dict[str, object] = {
    "prompt": "((masterpiece, best quality, highly detailed)), simple background, character sheet, multiple poses, "
    "multiple actions, visible face, (one person), portrait, full body, young african american girl, white sweater, "
    "jeans, short curly brown hair, 2D illustration style",
    "negative_prompt": "text, watermark, underexposed, ugly, jpeg",
    "image": "https://segmind-sd-models.s3.amazonaws.com/display_images/testing_imgs/ref.pose.png",
    "num_inference_steps": 20,
    "guidance_scale": 7,
    "seed": 4898558797,
    "samples": 1,
    "strength": 0.8,
    "scheduler": "karras",
    "sampler": "dpmpp_2m",
    "upscale_by": 2,
    "upscale_steps": 20,
    "upscale_guidance_scale": 7,
    "upscale_scheduler": "karras",
    "upscale_sampler": "dpmpp_2m",
    "upscale_mode_type": "Linear",
    "fd_steps": 20,
    "fd_guidance_scale": 7,
    "fd_scheduler": "karras",
    "fd_sampler": "dpmpp_2m",
}
TEXT_OR_NULL = {"type": ["string", "null"]}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


CODES = {
    400: "A field is missing or wrong",
    401: "The key is missing, unknown or revoked",
    402: "Not enough credits",
    403: "The key lacks a scope",
    404: "Not found",
    405: "Wrong method",
    406: "Not acceptable",
    409: "Idempotency-Key used before for another request",
    413: "The body is too large",
    415: "Wrong content type",
    429: "Too many requests",
    500: "The generation failed",
    503: "Storage is not reachable, no decoder was free for the photo, or too many callers send large bodies",
}


ENVELOPE = _object(
    time_required={"type": "object"},
    error=TEXT_OR_NULL,
    error_data={},
    input={"type": "object"},
    output={"type": "object"},
    app_id=TEXT_OR_NULL,
    task_id=TEXT_OR_NULL,
    status={"enum": ["SUCCESS", "FAILED", "PENDING"]},
)
MODELSLAB_ANSWER = _object(status={"enum": ["success", "processing"]})
MODELSLAB_ERROR = _object(status={"const": "error"}, message={"type": "string"})
SEGMIND_ERROR = _object(error={"type": "string"})
JPEG_OR_JSON = {
    "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
    "application/json": {"schema": _object(image={"type": "string"}, images={"type": "array"})},
}


def answers(error: dict[str, Any], success: dict[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: every refusal has the vendor's one shape; `success` is the content of a 200."""
    shape = {"application/json": {"schema": error}}
    refusals: dict[int | str, dict[str, Any]] = {
        code: {"description": text, "content": shape} for code, text in CODES.items()
    }
    return refusals if success is None else {**refusals, 200: {"description": "OK", "content": success}}


def json_content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def described(model: type[BaseModel], example: dict[str, object]) -> dict[str, Any]:
    """What FastAPI's route decorators take to document a body that the route reads itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    body = {"required": True, "content": {"application/json": {"schema": _open(schema), "example": example}}}
    return {"openapi_extra": {"requestBody": body}}


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """null stands for absent in every field; pictures as bytes come in forms alone."""
    properties = schema.get("properties", {})
    for name, one in properties.items():
        choices = [part for part in one.get("anyOf", [one]) if part.get("format") != "binary"]
        if {"type": "null"} not in choices and name not in schema.get("required", []):
            choices.append({"type": "null"})
        kept = {key: value for key, value in one.items() if key in ("title", "description")}
        properties[name] = {**kept, "anyOf": choices} if len(choices) > 1 else choices[0]
    return schema

"""Schemas for the OpenAPI documents: answers, refusals, and the bodies that a route parses itself."""

from typing import Any

from pydantic import BaseModel

TEXT_OR_NULL = {"type": ["string", "null"]}


def object_of(**properties: dict[str, Any]) -> dict[str, Any]:
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


ENVELOPE = object_of(
    time_required={"type": "object"},
    error=TEXT_OR_NULL,
    error_data={},
    input={"type": "object"},
    output={"type": "object"},
    app_id=TEXT_OR_NULL,
    task_id=TEXT_OR_NULL,
    status={"enum": ["SUCCESS", "FAILED", "PENDING"]},
)


def answers(error: dict[str, Any], success: dict[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: all refusals have the vendor's error schema; `success` is the content of a 200."""
    shape = {"application/json": {"schema": error}}
    refusals: dict[int | str, dict[str, Any]] = {
        code: {"description": text, "content": shape} for code, text in CODES.items()
    }
    return refusals if success is None else {**refusals, 200: {"description": "OK", "content": success}}


def json_content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def described(model: type[BaseModel], example: dict[str, object]) -> dict[str, Any]:
    """Arguments for FastAPI's route decorators that document a body which the route parses itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    body = {"required": True, "content": {"application/json": {"schema": _open(schema), "example": example}}}
    return {"openapi_extra": {"requestBody": body}}


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Allows null in every optional field, and drops the binary form of pictures, which only forms have."""
    properties = schema.get("properties", {})
    for name, one in properties.items():
        choices = [part for part in one.get("anyOf", [one]) if part.get("format") != "binary"]
        if {"type": "null"} not in choices and name not in schema.get("required", []):
            choices.append({"type": "null"})
        kept = {key: value for key, value in one.items() if key in ("title", "description")}
        properties[name] = {**kept, "anyOf": choices} if len(choices) > 1 else choices[0]
    return schema

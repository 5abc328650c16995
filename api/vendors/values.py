"""Validates the fields of all vendors by one set of rules.

null, "", "None" and "null" count as missing; numbers and booleans may be strings; NaN, infinities and booleans are not
accepted as numbers; unknown fields are ignored and named in the warnings.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, ValidationInfo

from ..base.errors import InputError
from ..security.urls import URLError, parsed

ABSENT = (None, "", "None", "null")
PHOTO_KINDS = ("NoFaceError", "FaceTooSmallError", "PhotoError")  # failures caused by the caller's picture
LONGEST_PROMPT = 8000
LARGEST_SEED = 2**63 - 1
LONGEST_URL = 2000
HUGE = 2**64  # beyond every range here
KINDS = {int: "a whole number", float: "a number"}


def _number(found: object) -> object:
    if isinstance(found, bool):
        raise ValueError("a boolean is no number")
    return found


Whole = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Prompt = Annotated[str, StringConstraints(max_length=LONGEST_PROMPT)]
Picture = str | bytes


class Fields(BaseModel):
    """A vendor's request body."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


Model = TypeVar("Model", bound=Fields)


def parse(model: type[Model], fields: Mapping[str, object], warnings: list[str]) -> Model:
    """Validates the fields; adds the names of unknown ones to the warnings. Raises InputError, which names a field."""
    known = {field.alias or name for name, field in model.model_fields.items()} | set(model.model_fields) | {"key"}
    unknown = sorted(name for name in fields if name not in known)
    if unknown:
        warnings.append("ignored unknown fields: " + ", ".join(name[:40] for name in unknown[:20]))
    present = {name: value for name, value in fields.items() if not (value is None or value in ABSENT)}
    try:
        return model.model_validate(present, context=warnings)
    except ValidationError as error:
        raise _refusal(model, error) from error


def _refusal(model: type[Fields], error: ValidationError) -> InputError:
    fault = cast("dict[str, Any]", error.errors(include_url=False)[0])
    name = str(fault["loc"][0]) if fault["loc"] else "body"
    if fault["type"] == "missing":
        return InputError(f"{name} is required", name)
    if fault["type"] == "string_too_long":
        return InputError(f"{name} has more than {fault['ctx']['max_length']} characters.", name)
    found = _shown(fault["input"])
    return InputError(f"{name} must be {_wanted(model, name, fault)}, but {found} was found.", name)


def _wanted(model: type[Fields], name: str, fault: Mapping[str, Any]) -> str:
    """Describes the accepted values of a field, with its range."""
    field = model.model_fields.get(name)
    if field is None:
        return str(fault["msg"])
    low = next((one.ge for one in field.metadata if isinstance(one, Ge)), None)
    high = next((one.le for one in field.metadata if isinstance(one, Le)), None)
    if fault["type"] == "string_pattern_mismatch" and field.description:
        return field.description
    kinds = [word for kind, word in KINDS.items() if kind in (field.annotation, *_members(field.annotation))]
    if kinds:
        return f"{kinds[0]} from {low} to {high}" if low is not None and high is not None else kinds[0]
    if fault["type"].startswith("bool"):
        return "true or false"
    if fault["type"] == "literal_error":
        return f"one of {fault['ctx']['expected']}"
    return "a text" if fault["type"].startswith(("string", "bytes")) else str(fault["msg"])


def _members(annotation: object) -> tuple[object, ...]:
    """The types in a union, those inside Annotated too."""
    found: list[object] = []
    for part in getattr(annotation, "__args__", ()):
        found += [part, getattr(part, "__origin__", None)]
    return tuple(found)


def _shown(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 60 else f"{text[:57]}..."


def clamped(low: float, high: float) -> BeforeValidator:
    """Replaces a number by the nearest value of a range, and adds a sentence to the warnings of the context."""

    def clamp(found: object, info: ValidationInfo) -> object:
        number = as_number(found)
        if number is None:
            return found
        return told(info, number, min(max(number, low), high))

    return BeforeValidator(clamp)


def nearest(*choices: int) -> BeforeValidator:
    """Replaces a number by the nearest of a few values; between two, by the larger one."""

    def choose(found: object, info: ValidationInfo) -> object:
        number = as_number(found)
        if number is None:
            return found
        return told(info, number, min(choices, key=lambda choice: (abs(choice - number), -choice)))

    return BeforeValidator(choose)


def as_number(found: object) -> float | int | None:
    """Reads a finite number from a number or a text; None if the type's own validation should refuse it."""
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        number = int(found) if isinstance(found, int) or found.strip().lstrip("+-").isdecimal() else float(found)  # type: ignore
    except (ValueError, AttributeError):
        number = found if isinstance(found, float) else math.nan
    if isinstance(number, int):
        return max(-HUGE, min(HUGE, number))  # larger ones are no floats
    return number if math.isfinite(number) else None


def told(info: ValidationInfo, found: float, taken: float) -> float:
    if taken != found and isinstance(info.context, list):
        info.context.append(f"{info.field_name} {found:g} is out of range: {taken:g} was taken")
    return taken


def warnings_header(warnings: list[str]) -> dict[str, str]:
    """The header x-warnings, reduced to the characters that a header may have; empty without warnings."""
    text = "; ".join(warnings).encode("ascii", "backslashreplace").decode()
    printable = "".join(one if one.isprintable() else " " for one in text)
    return {"x-warnings": printable[:1000]} if printable else {}


def address(name: str, found: str | None, loopback: bool) -> str | None:
    """Checks the URL of a webhook or an endpoint. Raises InputError; its address is checked when it connects."""
    if found is None:
        return None
    try:
        if any(one.isspace() for one in found):
            raise URLError("it has a space in it")
        parsed(found, ("https", "http") if loopback else ("https",), LONGEST_URL)
    except URLError as error:
        raise InputError(f"{name} must be an https URL of at most {LONGEST_URL} characters: {error}.", name) from error
    return found

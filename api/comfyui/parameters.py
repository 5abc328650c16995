"""The parameters of each workflow: their ranges, and the node inputs that they set."""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..base.order import OrderError, Value

Check = Callable[[str, object], Value]  # (parameter's name, value found) -> value to fill in; raises OrderError

LARGEST_SEED = 2**63 - 1
LONGEST_GENDER = 40
COLOUR = re.compile("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
NOTHING = ("", "none")  # the vendors' documents write None for no prompt, also as a string


def text(name: str, found: object) -> Value:
    if not isinstance(found, str):
        raise OrderError(name, f"{name} must be a text, but {found!r} was found.")
    return found


def text_or_none(name: str, found: object) -> Value:
    """None becomes an empty text, for which the workflow uses its default."""
    return "" if found is None else text(name, found)


def gender(name: str, found: object) -> Value:
    words = str(text_or_none(name, found)).strip()
    if len(words) > LONGEST_GENDER:
        raise OrderError(name, f"{name} may have {LONGEST_GENDER} characters, but {len(words)} were found.")
    return words


def colour(name: str, found: object) -> Value:
    """#RGB or #RRGGBB, with or without #; an empty text, None and "None" become an empty text."""
    words = str(text_or_none(name, found)).strip()
    if words.lower() in NOTHING:
        return ""
    if not COLOUR.fullmatch(words):
        raise OrderError(name, f"{name} must be a colour such as #FFFFFF, but {found!r} was found.")
    return words


def switch(name: str, found: object) -> Value:
    if not isinstance(found, bool):
        raise OrderError(name, f"{name} must be true or false, but {found!r} was found.")
    return found


def one_of(*choices: Value) -> Check:
    def check(name: str, found: object) -> Value:
        if type(found) is not type(choices[0]) or found not in choices:
            raise OrderError(name, f"{name} must be one of {', '.join(map(str, choices))}, but {found!r} was found.")
        return found

    return check


def whole(low: int, high: int, multiple: int = 1) -> Check:
    """Whole numbers from `low` to `high`, rounded down to a multiple."""

    def check(name: str, found: object) -> Value:
        if not isinstance(found, int) or isinstance(found, bool) or not low <= found <= high:
            raise OrderError(name, f"{name} must be a whole number from {low} to {high}, but {found!r} was found.")
        return found - found % multiple

    return check


def real(low: float, high: float) -> Check:
    def check(name: str, found: object) -> Value:
        if not isinstance(found, int | float) or isinstance(found, bool) or not low <= found <= high:
            raise OrderError(name, f"{name} must be a number from {low:g} to {high:g}, but {found!r} was found.")
        return found

    return check


def seed(name: str, found: object) -> Value:
    """A seed; None and -1 draw a random one."""
    if found is None or found == -1:
        return random.randint(0, LARGEST_SEED)
    return whole(0, LARGEST_SEED)(name, found)


def within(short: int, long: int) -> Callable[[Mapping[str, object]], None]:
    """Checks that width and height together fit into short x long or long x short."""

    def check(values: Mapping[str, object]) -> None:
        width, height = values.get("width"), values.get("height")
        if isinstance(width, int) and isinstance(height, int) and min(width, height) > short:
            found = f"{width}x{height} was found"
            raise OrderError("width", f"width x height must fit into {short}x{long} or {long}x{short}, but {found}.")

    return check


@dataclass(frozen=True)
class Slot:
    """The target of a parameter: an input of the node with this title."""

    title: str
    input: str
    check: Check


def _stage(title: str, prefix: str) -> dict[str, Slot]:
    """The parameters of a sampling stage. ComfyUI checks the names of samplers and schedulers."""
    slots = {
        "steps": Slot(title, "steps", whole(1, 100)),
        "guidance": Slot(title, "cfg", real(1, 20)),
        "sampler": Slot(title, "sampler_name", text),
        "scheduler": Slot(title, "scheduler", text),
    }
    return {f"{prefix}{name}": slot for name, slot in slots.items()}


# The titles serve as ids: a workflow file must keep them.
FACE: dict[str, Slot] = {
    "photo": Slot("Photo", "image", text),
    "negative_prompt": Slot("Negative Prompt", "text", text),
    "guidance": Slot("Sampler", "cfg", real(1, 30)),
    "seed": Slot("Sampler", "seed", seed),
    "safety_threshold": Slot("Safety", "threshold", real(0.01, 0.99)),
    "checkpoint": Slot("Checkpoint", "ckpt_name", text),
    "adapter": Slot("Adapter", "adapter", text),
    "clip_vision": Slot("CLIP Vision", "clip_name", text),
    "face_analysis": Slot("Face Analysis", "model", text),
    "safety_classifier": Slot("Safety Classifier", "model", text),
}
LARGE: dict[str, Slot] = {
    "batch": Slot("Size", "batch_size", whole(1, 8)),
    "width": Slot("Size", "width", whole(256, 1536, multiple=8)),
    "height": Slot("Size", "height", whole(256, 1536, multiple=8)),
    "steps": Slot("Sampler", "steps", whole(1, 50)),
}
PARAMETERS: dict[str, dict[str, Slot]] = {
    "face_consistency": {
        **FACE,
        **LARGE,
        "prompt": Slot("Prompt", "text", text),
        "strength": Slot("Apply Identity", "weight", real(0, 1)),
    },
    "face_avatar": {
        **FACE,
        **LARGE,
        "prompt": Slot("Prompt", "prompt", text_or_none),
        "gender": Slot("Prompt", "gender", gender),
        "remove_background": Slot("Background", "remove_background", switch),
        "bg_color": Slot("Background", "bg_color", colour),
        "background_remover": Slot("Background Remover", "model", text),
    },
    "face_generator": {
        **FACE,
        "prompt": Slot("Prompt", "text", text),
        "samples": Slot("Size", "batch_size", whole(1, 2)),
        "width": Slot("Size", "width", whole(256, 768, multiple=8)),
        "height": Slot("Size", "height", whole(256, 768, multiple=8)),
        "steps": Slot("Sampler", "steps", one_of(21, 31, 41)),
        "guidance": Slot("Sampler", "cfg", real(1, 20)),
        "s_scale": Slot("Apply Identity", "structure", real(0, 2)),
        "safety_checker": Slot("Safety", "check", switch),
        "safety_checker_type": Slot("Safety", "mode", one_of("blur", "sensitive_content_text", "pixelate", "black")),
    },
    "consistent_character": {
        "prompt": Slot("Prompt", "text", text),
        "negative_prompt": Slot("Negative Prompt", "text", text),
        "image": Slot("Pose", "image", text),
        "ip_image": Slot("Photo", "image", text),
        "samples": Slot("Size", "batch_size", whole(1, 4)),
        "strength": Slot("Apply Pose", "strength", real(0, 1)),
        "seed": Slot("Sampler", "seed", seed),
        **_stage("Sampler", ""),
        **_stage("Upscale", "upscale_"),
        **_stage("Refine", "fd_"),
        "upscale_by": Slot("Upscale", "upscale_by", whole(1, 4)),
        "upscale_mode": Slot("Upscale", "mode", one_of("Linear", "Chess", "None")),
        "tile_size": Slot("Upscale", "tile_size", whole(128, 4096, multiple=64)),
        "overlap": Slot("Upscale", "overlap", whole(16, 1024, multiple=8)),
        "face_size": Slot("Refine", "target_face_size", whole(64, 2048, multiple=16)),
        "preset": Slot("Pose Sheet", "preset", one_of("turnaround", "heads", "actions", "full sheet")),
        "figures": Slot("Pose Sheet", "figures", whole(0, 8)),
        "lines": Slot("Pose Sheet", "lines", one_of("openpose", "xinsir")),
        "width": Slot("Pose Sheet", "width", whole(256, 2048, multiple=64)),
        "height": Slot("Pose Sheet", "height", whole(256, 2048, multiple=64)),
        "checkpoint": Slot("Checkpoint", "ckpt_name", text),
        "controlnet": Slot("Pose ControlNet", "control_net_name", text),
        "upscale_model": Slot("Upscale Model", "model_name", text),
        "adapter": Slot("Adapter", "adapter", text),
        "clip_vision": Slot("CLIP Vision", "clip_name", text),
        "face_analysis": Slot("Face Analysis", "model", text),
    },
}
# Checks of several values of a workflow together.
TOGETHER: dict[str, Callable[[Mapping[str, object]], None]] = {"face_generator": within(512, 768)}

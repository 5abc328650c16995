"""Workflows for tests without sampling: core nodes alone, made to fit whatever PARAMETERS the real ones have."""

import json
from pathlib import Path

from consistent_face.api.comfyui.parameters import PARAMETERS, Slot, real, seed, text, whole
from consistent_face.api.comfyui.workflow import WORKFLOWS as SHIPPED
from consistent_face.api.comfyui.workflow import Graph


def _anything(name: str, found: object) -> object:
    return found


# For a workflow that is not there yet, what its vendor's document asks of it; the real one takes its place by itself.
_SIZE = {"width": Slot("Size", "width", whole(256, 1536, 8)), "height": Slot("Size", "height", whole(256, 1536, 8))}
_COMMON = {
    "prompt": Slot("Prompt", "text", text),
    "negative_prompt": Slot("Negative Prompt", "text", text),
    "steps": Slot("Sampler", "steps", whole(1, 100)),
    "guidance": Slot("Sampler", "cfg", real(1, 30)),
    "seed": Slot("Sampler", "seed", seed),
}
_NAMES = {
    "face_avatar": ("gender", "remove_background", "bg_color"),
    "face_generator": ("s_scale", "safety_checker", "safety_checker_type"),
    "consistent_character": (
        *("strength", "scheduler", "sampler", "upscale_by", "upscale_steps", "upscale_guidance", "upscale_scheduler"),
        *("upscale_sampler", "upscale_mode", "fd_steps", "fd_guidance", "fd_scheduler", "fd_sampler"),
    ),
}
STAND_INS: dict[str, dict[str, Slot]] = {
    workflow: {
        **_COMMON,
        **({} if workflow == "consistent_character" else _SIZE),
        ("batch" if workflow == "face_avatar" else "samples"): Slot("Size", "batch_size", whole(1, 8)),
        **{name: Slot("Other", name, _anything) for name in names},  # type: ignore[arg-type]
        **(
            {"image": Slot("Pose", "image", text), "ip_image": Slot("Photo", "image", text)}
            if workflow == "consistent_character"
            else {"photo": Slot("Photo", "image", text)}
        ),
    }
    for workflow, names in _NAMES.items()
}


def landed(workflow: str) -> bool:
    """Whether the workflow itself is there."""
    return workflow in PARAMETERS and (SHIPPED / f"{workflow}.json").exists()


def make(folder: Path, blurs: int = 0) -> Path:
    """Writes a graph for every workflow: the photo laid into an empty picture. `blurs` make it take its time."""
    folder.mkdir(parents=True, exist_ok=True)
    for workflow, slots in {**STAND_INS, **PARAMETERS}.items():
        (folder / f"{workflow}.json").write_text(json.dumps(graph(slots, blurs)))
    return folder


def graph(slots: dict[str, Slot], blurs: int = 0) -> Graph:
    """A node for each title that the slots name, and the pictures from photo and size to the result."""
    nodes: Graph = {}
    for slot in slots.values():
        nodes.setdefault(slot.title, _node(slot.title, "PrimitiveString", value=""))["inputs"].setdefault(
            slot.input, ""
        )
    for title in {slot.title for slot in slots.values() if slot.input == "image"}:
        nodes[title] = _node(title, "LoadImage", image="example.png")
    photo = next(slot.title for slot in slots.values() if slot.input == "image")
    size = next(slot.title for name, slot in slots.items() if name in ("batch", "samples"))
    extra = nodes[size]["inputs"]
    nodes[size] = _node(size, "EmptyImage", **{**extra, "width": 256, "height": 256, "batch_size": 1, "color": 255})
    nodes["Laid"] = _node(
        "Laid", "ImageCompositeMasked", destination=[size, 0], source=[photo, 0], x=0, y=0, resize_source=True
    )
    last = "Laid"
    for number in range(blurs):
        nodes[f"Blur {number}"] = _node(f"Blur {number}", "ImageBlur", image=[last, 0], blur_radius=31, sigma=9.0)
        last = f"Blur {number}"
    nodes["Found Faces"] = _node("Found Faces", "PreviewImage", images=[photo, 0])
    nodes["Result"] = _node("Result", "SaveImage", images=[last, 0], filename_prefix="")
    return nodes


def _node(title: str, kind: str, **inputs: object) -> dict:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

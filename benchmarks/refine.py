"""Times Refine Faces on six faces of a 2048x2048 sheet against 1024-pixel crops one by one, at equal face resolution.

Detailers cut 3 faces wide at 1024 pixels, which draws a face at 341; Refine Faces cuts 2 wide for the same 341 and
samples all crops together. Both run here through the same refiner, models and steps, so that only the way of cutting
differs; each is timed whole, VAE included, in seconds of all cores. (`--quick`: everything at half the size.)

Figures: `six_faces_seconds`, `sequential_seconds`, `six_faces_ratio` (ours to sequential), `one_by_one_ratio` (ours
without batching), `changed_outside` (largest change further than half a face from any face).

CONSISTENT_FACE_PEER names a folder with ComfyUI-Impact-Pack: then its DetailerForEach refines the same faces with its
own defaults, and `peer_seconds` and `peer_ratio` (ours to theirs) are reported too.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.detail.upscale import lanczos
from ..core.image import load_photo
from ..tools import inprocess
from ..tools.paths import ROOT

PEER = os.environ.get("CONSISTENT_FACE_PEER")
FACE = (173, 62, 90, 116)  # left, top, width, height on the astronaut's photo of 512 pixels
PLACES = [(x, y) for y in (0, 1024) for x in (0, 700, 1400)]
TARGET = 341  # pixels that a face has in a crop of 1024 pixels, 3 faces wide
STAGE = {
    "seed": 1,
    "steps": 2,
    "cfg": 7.0,
    "sampler_name": "dpmpp_2m",
    "scheduler": "karras",
    "denoise": 0.5,
    "controlnet": "drop",
    "feather": 0.25,
    "min_size": 16,
    "cycles": 1,
    "detection_threshold": 0.5,
    "identity_weight": 1.0,
    "identity_structure": 1.0,
}


def run(quick: bool) -> dict[str, float]:
    inprocess.prepare()
    models = inprocess.load_small()
    scale = 0.5 if quick else 1.0
    sheet, boxes = draw_sheet(scale)
    stage = STAGE | {"steps": 1} if quick else STAGE
    target = round(TARGET * scale)
    with torch.inference_mode():
        refine(sheet, boxes[:1], models, stage, target, 2.0, 1)  # loads, and warms up
        ours, done = refine(sheet, boxes, models, stage, target, 2.0, 0)
        alone, _ = refine(sheet, boxes, models, stage, target, 2.0, 1)
        sequential, _ = refine(sheet, boxes, models, stage, target, 3.0, 1)
        figures = {
            "six_faces_seconds": ours,
            "sequential_seconds": sequential,
            "six_faces_ratio": ours / sequential,
            "one_by_one_ratio": ours / alone,
            "changed_outside": outside(done, sheet, boxes),
        }
        if PEER:
            seconds = peer(Path(PEER), sheet, boxes, models, stage)
            figures |= {"peer_seconds": seconds, "peer_ratio": ours / seconds}
    return figures


def draw_sheet(scale: float) -> tuple[Tensor, list[dict[str, int]]]:
    """[1,2048,2048,3] with six portraits on grey, and their faces' boxes; all times `scale`."""
    photo = load_photo(str(ROOT / "tests/photos/astronaut.jpg"), "astronaut.jpg")[0][0]
    side, full = round(512 * scale), round(2048 * scale)
    portrait, sheet = lanczos(photo, side, side), torch.full((1, full, full, 3), 0.7)
    boxes = []
    for place in PLACES:
        left, top = (round(each * scale) for each in place)
        sheet[0, top : top + side, left : left + side] = portrait
        x, y, width, height = (round(each * scale) for each in FACE)
        boxes.append({"x": left + x, "y": top + y, "width": width, "height": height})
    return sheet, boxes


def refine(
    sheet: Tensor,
    boxes: list[dict[str, int]],
    models: dict[str, Any],
    stage: dict[str, Any],
    target: int,
    crop_factor: float,
    together: int,
) -> tuple[float, Tensor]:
    from ..nodes.detailer import RefineFaces

    inputs = {name: value for name, value in models.items() if name != "clip"}
    framing = {"target_face_size": target, "crop_factor": crop_factor, "regions_per_call": together}
    started = time.process_time()  # whatever else the machine does
    done = RefineFaces.execute(sheet, boxes=boxes, **stage, **framing, **inputs)[0]
    return time.process_time() - started, done


def outside(done: Tensor, sheet: Tensor, boxes: list[dict[str, int]]) -> float:
    change = (done - sheet).abs().amax(-1)[0]
    for box in boxes:
        grow = max(box["width"], box["height"]) // 2
        rows = slice(max(box["y"] - grow, 0), box["y"] + box["height"] + grow)
        change[rows, max(box["x"] - grow, 0) : box["x"] + box["width"] + grow] = 0
    return change.max().item()


def peer(
    folder: Path, sheet: Tensor, boxes: list[dict[str, int]], models: dict[str, Any], stage: dict[str, Any]
) -> float:
    node = inprocess.load_pack(folder)["DetailerForEach"]
    segment = next(module.SEG for name, module in sys.modules.items() if name.endswith("impact.core"))
    segments = []
    for box in boxes:
        left, top, width, height = box["x"], box["y"], box["width"], box["height"]
        side = 3 * max(width, height)
        x = min(max(left + width // 2 - side // 2, 0), sheet.shape[2] - side)
        y = min(max(top + height // 2 - side // 2, 0), sheet.shape[1] - side)
        mask = torch.zeros(side, side)
        mask[top - y : top - y + height, left - x : left - x + width] = 1
        bounds = (left, top, left + width, top + height)
        segments.append(segment(None, mask.numpy(), 0.9, (x, y, x + side, y + side), bounds, "face", None))
    names = ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    inputs = {name: stage[name] for name in names} | models
    started = time.process_time()
    inprocess.call(node, image=sheet, segs=(sheet.shape[1:3], segments), wildcard="", **inputs)
    return time.process_time() - started


def plot(figures: dict[str, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 2.2))
    names = {
        "Impact Pack": "peer_seconds",
        "1024-pixel crops, one by one": "sequential_seconds",
        "Consistent Face": "six_faces_seconds",
    }
    names = {name: key for name, key in names.items() if key in figures}
    axes.barh(list(names), [figures[key] for key in names.values()])
    axes.axvline(figures["sequential_seconds"] / 2, linestyle="--", color="grey")
    axes.set_xlabel("seconds for six faces at equal resolution; the line is the limit")
    figure.tight_layout()
    figure.savefig(path, dpi=120)

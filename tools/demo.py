"""`python dev.py demo`: the documented requests on a real ComfyUI, and a page that shows what came of them."""

import asyncio
import os
import shutil
import sys
import time
import webbrowser
from collections.abc import Collection, Mapping
from pathlib import Path

import aiohttp

from ..api.comfy import Comfy, ComfyError
from ..api.graph import PARAMETERS, load, settle
from ..api.order import Job, Order, Value
from ..core import catalog
from . import offline
from .demo_page import Shown, page
from .paths import HOST, MODELS, ROOT
from .server import ServerError, comfyui

PHOTO = ROOT / "tests" / "photos" / "astronaut.jpg"  # Eileen Collins, NASA, public domain
OUTPUT = ROOT / "output" / "demo"
NOISE = (
    "The real models of {workflows} are not installed, so small ones with random weights stand in: the pictures are "
    "noise, made by the same code. 'python dev.py models' fetches the real ones: --set sdxl, --set sd15."
)
REQUESTS: dict[str, dict[str, Value]] = {
    "face_consistency": {
        "prompt": "portrait photo of a person in a red coat, city street, soft light",
        "negative_prompt": "blurry, low quality",
        "batch": 2,
        "seed": 1234,
    },
    "face_avatar": {"gender": "female", "remove_background": True, "seed": 1234},
    "face_generator": {
        "prompt": "pretty woman",
        "negative_prompt": "anime, cartoon, drawing, big nose, long nose, fat, ugly, big lips, big mouth, "
        "face proportion mismatch, unrealistic, monochrome, lowres, bad anatomy, worst quality, low quality, blurry",
        "samples": 1,
        "steps": 21,
        "guidance": 7.5,
        "s_scale": 1.0,
        "safety_checker": True,
        "safety_checker_type": "blur",
        "seed": 1234,
    },
}
# What the small models ask for: they know SD1.5 at 256x256 alone.
SMALL: dict[str, Value] = {
    "checkpoint": "offline_sd15.safetensors",
    "adapter": "offline_faceid_plusv2_sd15.bin",
    "clip_vision": "offline_clip_vit_h.safetensors",
    "face_analysis": "vectron",
    "background_remover": "u2netp.onnx",
    "width": 256,
    "height": 256,
    "steps": 10,
}


def small_values(workflow: str) -> dict[str, Value]:
    """SMALL, as far as the workflow has its parameters."""
    return {name: value for name, value in SMALL.items() if name in PARAMETERS[workflow]}


def real_models_present(workflow: str) -> bool:
    """Whether every file that the workflow names lies where `models` puts it."""
    values = [value for node in load(workflow).values() for value in node["inputs"].values() if isinstance(value, str)]
    files = [file for value in values for file in (catalog.find(value), *catalog.pack(value)) if file]
    return all((MODELS / file.folder / file.name).exists() for file in files)


async def run(url: str, workflow: str, values: Mapping[str, Value]) -> tuple[Order, Job, dict[str, list[bytes]]]:
    """One request: its settled order, its job, and the pictures of the nodes that show some, by title."""

    def report(title: str, value: float, maximum: float) -> None:
        if sys.stdout.isatty():
            print(f"\r  {workflow}: {title} {value:.0f}/{maximum:.0f}      ", end="", flush=True)

    order = settle(Order(workflow, values, {"photo": PHOTO}))
    async with aiohttp.ClientSession() as session:
        comfy = Comfy(url, session)
        job = await comfy.run(order, report)
        if job.failure is not None:
            raise ComfyError(f"{workflow} failed: {job.failure.message}")
        shown = {title: [await comfy.picture(one) for one in pictures] for title, pictures in job.outputs.items()}
    return order, job, shown


def show(order: Order, job: Job, pictures: Mapping[str, list[bytes]]) -> Shown:
    """Writes a request's pictures; the first is the photo with the faces that were found."""
    names = []
    for title, prefix in (("Found Faces", "faces"), ("Result", "result")):
        for number, content in enumerate(pictures.get(title, []), start=1):
            names.append(f"{order.workflow}-{prefix}-{number}.png")
            (OUTPUT / names[-1]).write_bytes(content)
    told = {"found unsafe": ", ".join("yes" if unsafe else "no" for unsafe in job.unsafe)}
    return Shown(order.workflow, tuple(names), {**order.values, **told}, job.seconds or 0.0)


def run_all(small: Collection[str]) -> list[Shown]:
    """All requests, with the small models for the workflows named in `small`."""
    shown = []
    with comfyui(HOST / "demo.log", ["--disable-api-nodes"]) as server:
        for workflow, values in REQUESTS.items():
            stand_ins = small_values(workflow) if workflow in small else {}
            order, job, pictures = asyncio.run(run(server.url, workflow, {**stand_ins, **values}))
            shown.append(show(order, job, pictures))
            print(f"\r  {workflow}: {len(job.pictures)} pictures in {job.seconds or 0:.1f} s      ", flush=True)
    return shown


def has_screen() -> bool:
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(screen) and "CI" not in os.environ


def main() -> int:
    started = time.monotonic()
    small = [workflow for workflow in REQUESTS if not real_models_present(workflow)]
    note = NOISE.format(workflows=", ".join(small)) if small else ""
    if small:
        print(note)
        offline.make()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    print("Starting ComfyUI ...", flush=True)
    try:
        shown = run_all(small)
    except (ServerError, ComfyError) as error:
        print(f"{error} ComfyUI's log is {HOST / 'demo.log'}.", file=sys.stderr)
        return 1
    index = OUTPUT / "index.html"
    index.write_text(page(shown, note), encoding="utf-8")
    print(f"Done in {time.monotonic() - started:.0f} s: {index}")
    if has_screen():
        webbrowser.open(Path(index).as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())

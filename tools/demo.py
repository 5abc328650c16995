"""`python dev.py demo`: the documented requests on a real ComfyUI, and a page that shows what came of them."""

import asyncio
import os
import shutil
import sys
import time
import webbrowser
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from ..api.comfy import Comfy, ComfyError
from ..api.graph import settle
from ..api.order import Job, Order, Value
from ..core import catalog
from . import offline
from .demo_page import Shown, page
from .paths import HOST, MODELS, ROOT
from .server import ServerError, comfyui

PHOTO = ROOT / "tests" / "photos" / "astronaut.jpg"  # Eileen Collins, NASA, public domain
OUTPUT = ROOT / "output" / "demo"
NOISE = (
    "The real models are not installed, so small ones with random weights stand in: every picture is noise, "
    "made by the same code. 'python dev.py models --set sdxl' fetches the real ones."
)
REQUESTS: dict[str, dict[str, Value]] = {
    "face_consistency": {
        "prompt": "portrait photo of a person in a red coat, city street, soft light",
        "negative_prompt": "blurry, low quality",
        "batch": 2,
        "seed": 1234,
    },
}
# What the small models ask for: they know SD1.5 at 256x256 alone.
SMALL: dict[str, Value] = {
    "checkpoint": "offline_sd15.safetensors",
    "adapter": "offline_faceid_plusv2_sd15.bin",
    "clip_vision": "offline_clip_vit_h.safetensors",
    "face_analysis": "vectron",
    "width": 256,
    "height": 256,
    "steps": 10,
}


def real_models_present() -> bool:
    """Whether every file of the SDXL set lies where `models` puts it."""
    return all((MODELS / file.folder / file.name).exists() for file in catalog.FILES if "sdxl" in file.sets)


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
    return Shown(order.workflow, tuple(names), dict(order.values), job.seconds or 0.0)


def run_all(small: bool) -> list[Shown]:
    shown = []
    with comfyui(HOST / "demo.log", ["--disable-api-nodes"]) as server:
        for workflow, values in REQUESTS.items():
            order, job, pictures = asyncio.run(run(server.url, workflow, {**values, **(SMALL if small else {})}))
            shown.append(show(order, job, pictures))
            print(f"\r  {workflow}: {len(job.pictures)} pictures in {job.seconds or 0:.1f} s      ", flush=True)
    return shown


def has_screen() -> bool:
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(screen) and "CI" not in os.environ


def main() -> int:
    started = time.monotonic()
    small = not real_models_present()
    if small:
        print(NOISE)
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
    index.write_text(page(shown, NOISE if small else ""), encoding="utf-8")
    print(f"Done in {time.monotonic() - started:.0f} s: {index}")
    if has_screen():
        webbrowser.open(Path(index).as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())

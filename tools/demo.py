"""Sends the documented requests to the web service and writes a page with the results: `python dev.py demo`."""

import asyncio
import base64
import json
import os
import shutil
import signal
import sys
import time
import webbrowser
from collections.abc import Collection, Mapping
from pathlib import Path

import aiohttp

from ..api.base.order import Value
from ..api.comfyui.workflow import PARAMETERS, load
from ..core import model_catalog
from . import offline, trained_model
from .demo_page import Shown, page
from .demo_requests import REQUESTS, Request
from .models import installed
from .paths import HOST, ROOT, model_roots
from .server import ServerError, comfyui, free_port, service

DATA = HOST / "demo"  # of the service
OUTPUT = ROOT / "output" / "demo"
NOISE = (
    "The real models of {workflows} are not installed. The demo uses small models with random weights instead: the "
    "code is the same, but the pictures are noise. 'python dev.py models' downloads the real models: --set sdxl, "
    "--set sd15."
)
FACES = (
    "The real models of {workflows} are not installed. The demo uses a small model instead. It was trained on "
    "generated faces and draws only faces: no places, clothes or poses (demo_model/README.md). 'python dev.py models' "
    "downloads the real models: --set sdxl, --set sd15."
)
WAIT = 3600  # seconds for a request; the service answers when it is done
# Values that suit the small models: they were made for SD1.5 at 256x256.
SMALL: dict[str, Value] = {
    "checkpoint": "offline_sd15.safetensors",
    "adapter": "offline_faceid_plusv2_sd15.bin",
    "clip_vision": "offline_clip_vit_h.safetensors",
    "face_analysis": "vectron",
    "background_remover": "u2netp.onnx",
    "controlnet": "offline_openpose_sd15.safetensors",
    "upscale_model": "offline_x2.safetensors",
    "lines": "openpose",
    "figures": 2,
    "tile_size": 192,
    "overlap": 32,
    "face_size": 96,
    "width": 256,
    "height": 256,
    "steps": 10,
}


def small_values(workflow: str) -> dict[str, Value]:
    """The values of SMALL that are parameters of the workflow."""
    return {name: value for name, value in SMALL.items() if name in PARAMETERS[workflow]}


def small_models(request: Request, names: Mapping[str, str]) -> dict[str, Value]:
    """The model files and the sizes that suit them, without the values that the request sets itself.

    `names` are the files of the trained model by parameter; empty if its weights are not checked out.
    """
    values = small_values(request.workflow)
    if names:
        values |= {**names, **trained_model.SUITS[request.workflow]}
    return {name: value for name, value in values.items() if name not in ("steps", *request.small)}


def real_models_present(workflow: str) -> bool:
    """Whether every model file that the workflow names is installed."""
    values = [value for node in load(workflow).values() for value in node["inputs"].values() if isinstance(value, str)]
    files = [file for value in values for file in (model_catalog.find(value), *model_catalog.pack(value)) if file]
    return all(installed(file, model_roots()) is not None for file in files)


def run_all(small: Collection[str], names: Mapping[str, str]) -> list[Shown]:
    """Sends all requests; workflows in `small` use the small models, `names` as in `small_models`."""
    shutil.rmtree(DATA, ignore_errors=True)
    models = {request.workflow: small_models(request, names) for request in REQUESTS if request.workflow in small}
    settings = {
        "port": free_port(),
        "data": DATA,
        "models": json.dumps(models),
        "sync_wait_s": WAIT,
        "modelslab_sync_wait_s": WAIT,
    }
    with (
        comfyui(HOST / "demo.log", ["--disable-api-nodes"]) as server,
        service(HOST / "demo-service.log", server, settings) as url,
    ):
        return [asyncio.run(run(url, request, request.workflow in small)) for request in REQUESTS]


async def run(url: str, request: Request, small: bool) -> Shown:
    """Sends one vendor's request and writes its pictures. Raises ServerError if the answer is not 200."""
    body = {**request.body, **(request.small if small else {})}
    sent = {name: base64.b64encode(path.read_bytes()).decode() for name, path in request.pictures.items()}
    started = time.monotonic()
    print(f"  POST {request.path} ...", end="", flush=True)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT)) as session:
        async with session.post(url + request.path, json={**body, **sent}) as answer:
            content = await answer.read()
            if answer.status != 200:
                raise ServerError(f"{request.path} answered HTTP {answer.status}: {content.decode()[:1000]}")
            job_id = request.job_id(content, answer.headers)
        async with session.get(f"{url}/jobs/{job_id}") as answer:
            job = await answer.json()
        pictures = [(f"result-{number}", link) for number, link in enumerate(job["results"], start=1)]
        contents = {name: await fetched(session, link) for name, link in pictures}
    print(f"\r  POST {request.path}: {len(pictures)} pictures in {time.monotonic() - started:.1f} s", flush=True)
    photos = {f"sent-{name}": path.read_bytes() for name, path in request.pictures.items()}
    return show(request.workflow, {**photos, **contents}, {**body, "seed": job["seed"]}, job["seconds"])


async def fetched(session: aiohttp.ClientSession, link: str) -> bytes:
    async with session.get(link) as answer:
        return await answer.read()


def show(workflow: str, pictures: dict[str, bytes], settings: dict[str, object], seconds: float) -> Shown:
    """Writes a request's pictures to OUTPUT: the photos sent and the results."""
    names = []
    for name, content in pictures.items():
        suffix = "jpg" if content.startswith(b"\xff\xd8") else "png"
        names.append(f"{workflow}-{name}.{suffix}")
        (OUTPUT / names[-1]).write_bytes(content)
    return Shown(workflow, tuple(names), settings, seconds)


def has_screen() -> bool:
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(screen) and "CI" not in os.environ


def main() -> int:
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops its child processes, as Ctrl-C does
    small = [request.workflow for request in REQUESTS if not real_models_present(request.workflow)]
    names: dict[str, str] = {}
    note = (FACES if trained_model.present() else NOISE).format(workflows=", ".join(small)) if small else ""
    if small:
        print(note)
        offline.make()
        names = trained_model.make() if trained_model.present() else {}
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    print("Starting ComfyUI ...", flush=True)
    try:
        shown = run_all(small, names)
    except ServerError as error:
        print(f"{error} ComfyUI's log is {HOST / 'demo.log'}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    index = OUTPUT / "index.html"
    index.write_text(page(shown, note), encoding="utf-8")
    print(f"Done in {time.monotonic() - started:.0f} s: {index}")
    if has_screen():
        webbrowser.open(Path(index).as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())

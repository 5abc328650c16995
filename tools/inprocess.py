"""Imports ComfyUI's own modules into this process, for benchmarks that call nodes without a server."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from .launcher import declare_missing_operators
from .paths import COMFYUI, OFFLINE


def prepare() -> None:
    """Makes ComfyUI's modules importable; they run on the CPU where there is no CUDA."""
    sys.path.insert(0, str(COMFYUI))
    declare_missing_operators()
    import comfy.cli_args
    import torch

    comfy.cli_args.args.cpu = not torch.cuda.is_available()


def load_small() -> dict[str, Any]:
    """Loads the small checkpoint and encodes two prompts; returns them by the names of a node's inputs."""
    import comfy.sd
    import torch

    from . import offline

    offline.make()
    path = str(OFFLINE / "checkpoints/offline_sd15.safetensors")
    model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(path)
    assert clip is not None
    with torch.inference_mode():
        words = [clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a portrait", "blurry")]
    return {"model": model, "clip": clip, "vae": vae, "positive": words[0], "negative": words[1]}


def load_pack(folder: Path) -> dict[str, type]:
    """Loads the nodes of a pack as ComfyUI does; returns them by id."""
    import nodes as comfyui_nodes  # ComfyUI's, not the pack's

    nodes: Any = comfyui_nodes
    before = set(nodes.NODE_CLASS_MAPPINGS)
    asyncio.run(nodes.load_custom_node(str(folder)))
    return {name: node for name, node in nodes.NODE_CLASS_MAPPINGS.items() if name not in before}


def call(node: Any, **inputs: Any) -> Any:
    """Runs a node of the V1 API with these inputs and its widgets' defaults."""
    arguments = {}
    for name, (kind, *options) in node.INPUT_TYPES()["required"].items():
        choices = kind if isinstance(kind, list | tuple) else [None]
        arguments[name] = options[0].get("default", choices[0]) if options else choices[0]
    return getattr(node(), node.FUNCTION)(**(arguments | inputs))


class Clock:
    """Seconds spent in functions that are timed by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            started = perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds[name] = self.seconds.get(name, 0) + perf_counter() - started

        return run


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Measures the growth of this process's memory: after the block, `mb` is the peak above the start."""
    import psutil

    process, found, done = psutil.Process(), {"mb": 0.0}, threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.01):
            found["mb"] = max(found["mb"], (process.memory_info().rss - before) / 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()

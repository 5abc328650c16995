"""Measures what the pack adds to ComfyUI's start: the import time that ComfyUI itself measures and reports.

ComfyUI times `nodes.load_custom_node` for each pack and prints tenths of a second; this times the same call, each run
in a fresh process, interleaved with a pack of one empty node (the baseline).

Figures: `import_ms` (median, ours), `empty_pack_ms` (median, baseline), `ratio`.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ..tools.paths import BASE, COMFYUI, ROOT

EMPTY_PACK = """
from comfy_api.latest import ComfyExtension, io

class Empty(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="ConsistentFaceBench_Empty", inputs=[], outputs=[])

    @classmethod
    def execute(cls):
        return io.NodeOutput()

class Extension(ComfyExtension):
    async def get_node_list(self):
        return [Empty]

async def comfy_entrypoint():
    return Extension()
"""
# Runs in a process of its own, as ComfyUI does before it loads packs: torch and its nodes are imported first.
PROBE = """
import asyncio, json, sys, time
sys.path[:0] = [{comfyui!r}, {tools!r}]
import launcher
launcher.declare_missing_operators()
import comfy.cli_args
comfy.cli_args.args.cpu = {cpu}
import nodes
started = time.perf_counter()
loaded = asyncio.run(nodes.load_custom_node({pack!r}))
print(json.dumps([loaded, (time.perf_counter() - started) * 1000]))
"""


def load_ms(pack: Path) -> float:
    """Milliseconds that ComfyUI spends on loading one pack, in a fresh process."""
    import torch

    cpu = not torch.cuda.is_available()
    code = PROBE.format(comfyui=str(COMFYUI), tools=str(ROOT / "tools"), pack=str(pack), cpu=cpu)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, milliseconds = json.loads(done.stdout.splitlines()[-1])
    if not loaded:
        raise RuntimeError(f"ComfyUI could not load {pack}:\n{done.stderr}")
    return milliseconds


def run(quick: bool) -> dict[str, float]:
    ours, empty = [], []
    with TemporaryDirectory() as folder:
        baseline = Path(folder) / "empty_pack"
        baseline.mkdir()
        (baseline / "__init__.py").write_text(EMPTY_PACK)
        for _ in range(5 if quick else 15):
            empty.append(load_ms(baseline))
            ours.append(load_ms(BASE / "custom_nodes" / "consistent-face"))
    middle = statistics.median(ours)
    baseline_ms = statistics.median(empty)
    return {"import_ms": middle, "empty_pack_ms": baseline_ms, "ratio": middle / baseline_ms}


def plot(figures: dict[str, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 2.2))
    axes.barh(["an empty pack", "Consistent Face"], [figures["empty_pack_ms"], figures["import_ms"]])
    axes.axvline(150, linestyle="--", color="grey")
    axes.set_xlabel("import in ComfyUI (ms, median); the line is the limit")
    figure.tight_layout()
    figure.savefig(path, dpi=120)

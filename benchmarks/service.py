"""Measures what the service adds to ComfyUI: both run the same graph without sampling, request by request, in turn.

Direct: upload the photo, queue, wait by websocket, view each picture. Service: one POST that waits, then a GET of each
result. The photo is a 512x512 JPEG, the result two pictures of 256x256.

Figures: `overhead_p50_ms` and `overhead_p99_ms` (the service's percentile less ComfyUI's own), `rejections_per_s`
(wrong keys, 8 connections), `submit_p99_ms` (with 1,000 jobs queued), `rss_growth_mb_10k` (the service's memory over
10,000 jobs, the first 500 apart; not in --quick).
"""

import asyncio
import base64
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import psutil

from ..api.base.order import Order
from ..api.base.settings import Settings
from ..api.comfyui.client import Comfy
from ..api.comfyui.workflow import fill, load, photo_name, settle
from ..api.database.keys import Keys
from ..api.jobs.batches import cut, parts
from ..api.jobs.service import Service
from ..tests.api.graphs import make
from ..tools.paths import ROOT
from ..tools.server import ComfyServer, comfyui, free_port

PHOTO = ROOT / "tests" / "photos" / "astronaut.jpg"
VALUES = {"prompt": "a portrait", "width": 256, "height": 256, "batch": 2}
PATH = "/getImagetoImage"


def percentile(times: list[float], share: float) -> float:
    """Of seconds, in milliseconds."""
    return 1000 * sorted(times)[min(len(times) - 1, int(share * len(times)))]


async def timed(act: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await act()
    return time.perf_counter() - started


class Bench:
    """A service process and, where it is needed, a ComfyUI."""

    def __init__(self, folder: Path, comfy_url: str, session: aiohttp.ClientSession):
        self.folder, self.comfy_url, self.session = folder, comfy_url, session
        self.graphs = make(folder / "graphs")
        self.settings = Settings(
            port=free_port(),
            data=folder / "data",
            workflows=self.graphs,
            comfy_url=comfy_url,
            comfy_input=folder.parent / "input",
            comfy_output=folder.parent / "output",
            rate_limit="1000000/second",
            failures_limit="1000000/second",
            concurrency=100_000,
            log_level="ERROR",
        )
        self.url = self.settings.base_url
        self.body = {**VALUES, "image": base64.b64encode(PHOTO.read_bytes()).decode()}

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        set_here = self.settings.model_fields_set
        values = {f"CONSISTENT_FACE_{name.upper()}": str(getattr(self.settings, name)) for name in set_here}
        process = subprocess.Popen([sys.executable, "-m", "api"], cwd=ROOT, env={**os.environ, **values})
        try:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with self.session.get(f"{self.url}/healthz"):
                        break
                await asyncio.sleep(0.05)
            yield process
        finally:
            process.terminate()
            process.wait()

    async def direct(self) -> None:
        """Does the same work without the service."""
        comfy = Comfy(self.comfy_url, self.session)
        order = settle(Order("face_consistency", {**VALUES, "seed": None}, {"photo": PHOTO}))
        await comfy.upload(PHOTO, photo_name(order, "photo"))
        graph = fill(order, load(order.workflow, self.graphs))
        await comfy.queue(order.id, cut(graph, order.workflow, parts(order, 4)[0]))
        for picture in (await comfy.wait(order.id)).pictures:
            await comfy.picture(picture)

    async def served(self) -> None:
        async with self.session.post(self.url + PATH, json=self.body) as answer:
            links = (await answer.json())["output"]["result"]
        for link in links:
            async with self.session.get(link) as answer:
                await answer.read()

    async def submit(self) -> None:
        async with self.session.post(self.url + PATH, json={**self.body, "celery": True}) as answer:
            assert (await answer.json())["status"] == "PENDING"

    async def refused(self) -> None:
        async with self.session.post(f"{self.url}/getImage", json={"id": "x", "key": "cf_wrong"}) as answer:
            assert answer.status == 401


async def overhead(bench: Bench, runs: int) -> dict[str, float]:
    """Measures both in turn, so that they run under the same load."""
    async with bench.serving():
        for _ in range(5):
            await bench.direct()
            await bench.served()
        pairs = [(await timed(bench.direct), await timed(bench.served)) for _ in range(runs)]
    direct, served = ([pair[side] for pair in pairs] for side in (0, 1))
    return {
        "direct_p50_ms": percentile(direct, 0.5),
        "overhead_p50_ms": percentile(served, 0.5) - percentile(direct, 0.5),
        "overhead_p99_ms": percentile(served, 0.99) - percentile(direct, 0.99),
    }


async def memory(bench: Bench, comfy: int, jobs: int) -> dict[str, float]:
    """Measures the growth after the first jobs, which fill caches and pools; of ComfyUI's process (by id) too."""
    async with bench.serving() as process:
        seen = [psutil.Process(number) for number in (process.pid, comfy)]

        async def done(count: int) -> list[float]:
            """Returns both processes' megabytes after this many more jobs."""
            await asyncio.gather(*(lane(count // 4) for _ in range(4)))
            return [one.memory_info().rss / 2**20 for one in seen]

        async def lane(count: int) -> None:
            for _ in range(count):
                await bench.served()

        first, middle, last = await done(500), await done(jobs // 2), await done(jobs // 2)
    return {
        "rss_mb": last[0],
        "rss_growth_mb_10k": last[0] - first[0],
        "rss_growth_mb_second_5k": last[0] - middle[0],
        "comfy_growth_mb_10k": last[1] - first[1],
    }


async def queueing(bench: Bench, submits: int) -> dict[str, float]:
    """Times acceptance with 1,000 waiting jobs, and refusals; no job runs."""
    async with bench.serving():
        for _ in range(1000):
            await bench.submit()
        times = [await timed(bench.submit) for _ in range(submits)]
        service = Service(bench.settings)
        Keys(service.store).add("bench", None, [])  # from now on a key is needed
        await service.close()

        async def refuse(count: int) -> None:
            for _ in range(count):
                await bench.refused()

        started = time.perf_counter()
        await asyncio.gather(*(refuse(250) for _ in range(8)))
        rate = 2000 / (time.perf_counter() - started)
    return {
        "submit_p50_ms": statistics.median(times) * 1000,
        "submit_p99_ms": percentile(times, 0.99),
        "rejections_per_s": rate,
    }


async def measure(folder: Path, comfy: ComfyServer, quick: bool) -> dict[str, float]:
    async with aiohttp.ClientSession() as session:
        figures = await queueing(Bench(folder / "queue", f"http://127.0.0.1:{free_port()}", session), 200)
        figures |= await overhead(Bench(folder / "overhead", comfy.url, session), 100 if quick else 500)
        if not quick:
            figures |= await memory(Bench(folder / "memory", comfy.url, session), comfy.process.pid, 10_000)
    return figures


def run(quick: bool) -> dict[str, float]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        arguments = ["--disable-api-nodes", "--disable-all-custom-nodes"]
        for kind in ("input", "output", "temp", "user"):
            (folder / kind).mkdir()
            arguments += [f"--{kind}-directory", str(folder / kind)]
        with comfyui(folder / "comfyui.log", arguments) as server:
            return asyncio.run(measure(folder, server, quick))


def plot(figures: dict[str, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    limits = {"overhead_p50_ms": 15, "overhead_p99_ms": 50, "submit_p99_ms": 50}
    figure, axes = plt.subplots(figsize=(6, 2.4))
    axes.barh(list(limits), list(limits.values()), color="none", edgecolor="grey", linestyle="--")
    axes.barh(list(limits), [figures[name] for name in limits])
    axes.set_xlabel("milliseconds; the dashed boxes are the limits")
    figure.tight_layout()
    figure.savefig(path, dpi=120)

"""Times the intake of a photo: checked, decoded and encoded anew in a worker; and measures the stored size.

The photos are enlarged from tests/photos with a camera's noise, at 12 and 40 million pixels; the PNG of 40 is smooth,
since with noise it would be above the 20 MB that a request may have.

It also times another caller's requests while seven files that need very much work are sent at once: GET /jobs,
/readyz, a refused request and a submit with a small photo, in turn.

Figures: `<kind>_<million pixels>_s`, `_sent_mb`, `_stored_mb`; `small_ms` of a 512x512 JPEG; `beside_p50_ms` and
`beside_max_ms` over all kinds of such files that are refused, `beside_slowest_...` while those are decoded that take
longest of what is not refused.
"""

import asyncio
import base64
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from ..api.base.settings import Settings
from ..api.database.engine import Database
from ..api.database.keys import Keys
from ..api.media.decoding import Decoding
from ..tests.api import bombs
from ..tests.api.graphs import make
from ..tools.paths import ROOT
from ..tools.server import free_port

PHOTOS = ROOT / "tests" / "photos"
SIZES = {12: (4000, 3000), 40: (7300, 5475)}
KINDS = {
    "jpeg": ("JPEG", {"quality": 85}),
    "progressive": ("JPEG", {"quality": 85, "progressive": True}),
    "png": ("PNG", {"compress_level": 6}),
    "webp": ("WEBP", {"quality": 85, "method": 2}),
}
NOISE = 4  # standard deviation, of 255


def photos() -> Iterator[tuple[str, bytes]]:
    source = Image.open(PHOTOS / "group_solvay_1927.jpg").convert("RGB")
    for millions, size in SIZES.items():
        smooth = source.resize(size, Image.Resampling.LANCZOS)
        random = np.random.default_rng(0)
        noisy = np.asarray(smooth).astype(np.int16) + random.normal(0, NOISE, (*size[::-1], 3)).astype(np.int16)
        shown = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        for name, (kind, options) in KINDS.items():
            out = io.BytesIO()
            (smooth if (name, millions) == ("png", 40) else shown).save(out, kind, **options)
            yield f"{name}_{millions}", out.getvalue()


async def measure(folder: Path, turns: int) -> dict[str, float]:
    decoding = Decoding(Settings(decode_timeout=600, max_picture=10**9))
    figures: dict[str, float] = {}
    try:
        small = (PHOTOS / "astronaut.jpg").read_bytes()
        for name, content in (("small", small), *photos()):
            times, stored = [], folder
            for _ in range(20 if name == "small" else turns):
                started = time.perf_counter()
                stored = await decoding.photo("bench", content, "image", folder / "photo")
                times.append(time.perf_counter() - started)
            if name == "small":
                figures["small_ms"] = 1000 * statistics.median(times)
                continue
            figures[f"{name}_s"] = statistics.median(times)
            figures[f"{name}_sent_mb"] = len(content) / 1e6
            figures[f"{name}_stored_mb"] = stored.stat().st_size / 1e6
    finally:
        await asyncio.to_thread(decoding.close)
    return figures


def send(url: str, key: str, body: bytes | None) -> float:
    """Returns the seconds until a request is answered, with any answer."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    started = time.perf_counter()
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=300).read()
    return time.perf_counter() - started


def body(photo: bytes) -> bytes:
    return json.dumps({"image": base64.b64encode(photo).decode(), "prompt": "a", "celery": True}).encode()


@contextlib.contextmanager
def service(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Starts a service without ComfyUI: (its URL, a key, another key)."""
    port = free_port()
    values = {"DATA": folder, "PORT": port, "WORKFLOWS": make(folder / "graphs"), "LOG_LEVEL": "ERROR"}
    values |= {"COMFY_URL": f"http://127.0.0.1:{free_port()}", "CONCURRENCY": 10**6, "RATE_LIMIT": "1000000/second"}
    one, other = (Keys(Database(folder)).add(name, None, ())[1] for name in ("one", "other"))
    environment = {**os.environ, **{f"CONSISTENT_FACE_{name}": str(value) for name, value in values.items()}}
    process = subprocess.Popen([sys.executable, "-m", "api"], cwd=ROOT, env=environment)
    try:
        while True:
            with contextlib.suppress(urllib.error.URLError):
                send(f"http://127.0.0.1:{port}/healthz", one, None)
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", one, other
    finally:
        process.terminate()
        process.wait()


def beside(url: str, one: str, other: str, bomb: bytes) -> list[float]:
    """Returns the other caller's seconds while one caller sends a decompression bomb seven times at once."""
    path, sent = f"{url}/getImagetoImage", body(bomb)
    sending = [threading.Thread(target=send, args=(path, one, sent)) for _ in range(7)]
    small = body((PHOTOS / "astronaut.jpg").read_bytes())
    asks = [(f"{url}/jobs?limit=1", None), (f"{url}/readyz", None), (path, b'{"prompt": "a"}'), (path, small)]
    for thread in sending:
        thread.start()
    times = []
    while any(thread.is_alive() for thread in sending):
        times += [send(address, other, content) for address, content in asks]
    return times


def crowd(folder: Path) -> dict[str, float]:
    with service(folder) as (url, one, other):
        kinds = {name: beside(url, one, other, make_one()) for name, (make_one, _) in bombs.REFUSED.items()}
        slowest = beside(url, one, other, bombs.arithmetic_scans(50))
    every = [seconds for times in kinds.values() for seconds in times]
    return {
        "beside_p50_ms": 1000 * statistics.median(every),
        "beside_max_ms": 1000 * max(every),
        "beside_slowest_p50_ms": 1000 * statistics.median(slowest),
        "beside_slowest_max_ms": 1000 * max(slowest),
    }


def run(quick: bool) -> dict[str, float]:
    with TemporaryDirectory() as name:
        (folder := Path(name) / "data").mkdir()
        return {**asyncio.run(measure(Path(name), 3 if quick else 9)), **crowd(folder)}


def plot(figures: dict[str, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    names = [f"{name}_{millions}" for millions in SIZES for name in KINDS]
    figure, axes = plt.subplots(figsize=(6, 2.6))
    axes.barh(names[::-1], [figures[f"{name}_s"] for name in names[::-1]])
    axes.set_xlabel("seconds from a photo's bytes to the stored file")
    figure.tight_layout()
    figure.savefig(path, dpi=120)

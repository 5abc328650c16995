"""Times the removal of a background against rembg's own `remove()`, on one network and the same pictures, in turn.

Both clean the edges (`decontaminate=True`): the same work. `rembg_raw_ms` is rembg without it.

Figures: `ours_ms`, `rembg_ms`, `rembg_raw_ms` (medians over pictures of 1024x1024), `ratio_to_rembg` (median of the
ratios within each turn), `difference` (largest of the mean differences to rembg's RGBA in 0..1, on the visible part).
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.background.matting import replace_background
from ..core.background.remover import BackgroundRemover
from ..core.image import load_photo
from ..tools.paths import ROOT, model_roots

PHOTOS = sorted((ROOT / "tests" / "photos").glob("person?_v0.jpg"))


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = action()
    return (time.perf_counter() - started) * 1000, result


def network() -> Path:
    """Returns the best installed network, else the small one."""
    names = ("isnet-general-use.onnx", "u2netp.onnx")
    return next(path for name in names for root in model_roots() if (path := root / "rembg" / name).exists())


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Returns the mean difference of two RGBA pictures on black."""
    return (ours[..., :3] * ours[..., 3:] - theirs[..., :3] * theirs[..., 3:]).abs().mean().item()


def run(quick: bool) -> dict[str, float]:
    import numpy as np
    from PIL import Image
    from rembg import remove

    remover = BackgroundRemover.load(network())
    session: Any = remover._session
    times: dict[str, list[float]] = {"ours": [], "rembg": [], "rembg_raw": []}
    differences = []
    for turn in range(2 if quick else 6):
        for path in PHOTOS:
            image = load_photo(str(path), path.name)[0]
            picture = Image.open(path).convert("RGB")
            actions: dict[str, Callable[[], Any]] = {
                "ours": lambda image=image: replace_background(image, remover.masks(image), None)[0][0],
                "rembg": lambda picture=picture: remove(picture, session=session, decontaminate=True),
                "rembg_raw": lambda picture=picture: remove(picture, session=session),
            }
            results = {name: timed(action) for name, action in actions.items()}
            if turn:  # the first one warms up
                for name, (milliseconds, _) in results.items():
                    times[name].append(milliseconds)
            theirs = torch.from_numpy(np.array(results["rembg"][1]).astype(np.float32) / 255)
            differences.append(difference(results["ours"][1], theirs))
    ratios = [ours / rembg for ours, rembg in zip(times["ours"], times["rembg"], strict=True)]
    medians = {f"{name}_ms": statistics.median(values) for name, values in times.items()}
    return {**medians, "ratio_to_rembg": statistics.median(ratios), "difference": max(differences)}


def plot(figures: dict[str, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 2.2))
    names = {"rembg, raw edges": "rembg_raw_ms", "rembg": "rembg_ms", "Consistent Face": "ours_ms"}
    axes.barh(list(names), [figures[name] for name in names.values()])
    axes.set_xlabel("removing a background, 1024x1024 (ms, median)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)

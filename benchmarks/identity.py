"""Measures the cost of an identity: per call of the UNet, preparation, memory, and the analysis of faces.

The overhead is measured within whole calls of a full-size UNet with random weights, layer by layer: each attention
runs without the identity and with it, in random order, on the same input, so that a busy machine slows both. One
thread and its CPU time, or events on a GPU. `CONSISTENT_FACE_OTHER_PACK` names another pack's folder to be timed in
the same calls (other_pack.py says which packs).

Figures: `unet_overhead_sd15_512`, `unet_overhead_sdxl_1024` (upper bounds of the 95% interval of the ratio of a call
with the identity to one without, 4 tokens; SDXL not with --quick), the same with `_mean`; `other_overhead_sd15_512`
(another pack's); `added_syncs` (device synchronisations that a sampling with range and mask has more than without);
`prepare_ms_sd15`, `prepare_ms_sdxl` (tokens through all layers' matrices); `cache_mb_*` (keys and values as they lie
on the device in half precision, for one picture with CFG; 4 tokens, and 16); `encoded_mb_*` (as Encode Identity keeps
them, 4 tokens, in single precision, with structure); `faces_ms`, `face_analysis_ms`, `faces_speedup` (ours against
`FaceAnalysis.get` with its default modules on a photo of six people, medians of turns and of their ratios), and
`faces_speedup_cpu`, the same in CPU time.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..core.ip_adapter.encoding import EncodedIdentity, LayerTokens
from ..tools.paths import OFFLINE
from . import unet

SD15_LAYERS = (320, 320, 640, 640, 1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320, 1280)
SDXL_LAYERS = (640,) * 4 + (1280,) * 50 + (640,) * 6 + (1280,) * 10
FAMILIES = {"sd15": (SD15_LAYERS, 768, 64), "sdxl": (SDXL_LAYERS, 2048, 128)}  # widths, context, side of the latents


def run(quick: bool) -> dict[str, float]:
    unet.import_comfyui()
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    with torch.inference_mode():
        for family in FAMILIES:
            figures |= memory(family) | {f"prepare_ms_{family}": prepare_ms(family, 2 if quick else 5)}
        figures["added_syncs"] = added_syncs()
        figures |= overhead("sd15", calls=8 if quick else 24, rows=1 if quick else 2)
        if not quick:
            figures |= overhead("sdxl", calls=3, rows=1)
    return figures | faces(25 if quick else 60)


def random_identity(family: str, tokens: int = 4, structure: bool = False) -> EncodedIdentity:
    widths, context, _ = FAMILIES[family]
    part = tuple(
        LayerTokens(torch.randn(2, 1, tokens, width), torch.randn(2, 1, tokens, width) / width) for width in widths
    )
    return EncodedIdentity("random", context=context, base=part, structure=part if structure else None)


# One call of the UNet


class Both:
    """Replaces a layer's attention: runs it plain and with the identity, and records both times."""

    def __init__(self, patch: Any, attention: Callable[..., torch.Tensor], times: list[tuple[Any, Any]]) -> None:
        self.patch, self.attention, self.times = patch, attention, times

    def __call__(self, q: Any, k: Any, v: Any, options: Any) -> Any:
        plain_first = bool(torch.rand(()) < 0.5)
        first, second = (self.plain, self.patch) if plain_first else (self.patch, self.plain)
        start = now()
        first(q, k, v, options)
        between = now()
        result = second(q, k, v, options)
        one, other = (start, between), (between, now())
        self.times.append((one, other) if plain_first else (other, one))
        return result

    def plain(self, q: Any, k: Any, v: Any, options: Any) -> Any:
        precision = options["attn_precision"]
        return self.attention(q, k, v, options["n_heads"], attn_precision=precision, transformer_options=options)


def now() -> Any:
    if not torch.cuda.is_available():
        return time.process_time()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def span(start: Any, end: Any) -> float:
    """Milliseconds."""
    return start.elapsed_time(end) if torch.cuda.is_available() else 1000 * (end - start)


def overhead(family: str, calls: int, rows: int) -> dict[str, float]:
    from ..core.ip_adapter.block_weights import Strength
    from ..core.ip_adapter.schedule import Scope
    from ..nodes.comfy.injection import inject

    model, (_, _, side) = unet.random_model(family), FAMILIES[family]
    patched = {"unet": inject(model, random_identity(family), Strength(), Scope())}
    if folder := os.environ.get("CONSISTENT_FACE_OTHER_PACK"):
        from .other_pack import apply_other

        patched["other"] = apply_other(Path(folder), model, family)
    size = f"{family}_{8 * side}"
    figures: dict[str, float] = {}
    for name, one in patched.items():
        mean, upper = interval([ratio(one, side, rows) for _ in range(calls + 1)][1:])  # the first one warms up
        figures |= {f"{name}_overhead_{size}": upper, f"{name}_overhead_{size}_mean": mean}
    return figures


def ratio(model: Any, side: int, rows: int) -> float:
    """Returns the time of a call with the identity over that of the same call without, such as 1.003."""
    from comfy.ldm.modules.attention import optimized_attention

    times: list[tuple[Any, Any]] = []
    options = dict(model.model_options["transformer_options"])
    patches = options["patches_replace"]["attn2"]
    measured = {place: Both(patch, optimized_attention, times) for place, patch in patches.items()}
    options |= {"patches_replace": {"attn2": measured}, "cond_or_uncond": list(range(rows))}
    options["sigmas"] = torch.tensor([5.0], device=model.load_device)
    x, steps, text, y = unet.arguments(model, side, rows)
    start = now()
    model.model.diffusion_model(x, steps, text, y, transformer_options=options)
    end = now()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    plain, ours = (sum(span(*spans[which]) for spans in times) for which in (0, 1))
    return 1 + (ours - plain) / (span(start, end) - ours)


def interval(values: list[float]) -> tuple[float, float]:
    """Returns the mean, and the upper bound of its 95% interval by Student's t."""
    from scipy.stats import t

    mean, error = statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5
    return mean, mean + float(t.ppf(0.975, len(values) - 1)) * error


def added_syncs() -> int:
    """Returns the synchronisations of three steps with CFG, range and mask, minus those without the identity."""
    import comfy.samplers

    from ..core.ip_adapter.block_weights import Strength
    from ..core.ip_adapter.schedule import Scope
    from ..nodes.comfy.injection import inject, scope

    model = unet.random_model("sd15", narrow=True)
    widths = tuple(width // 10 for width in SD15_LAYERS)
    part = tuple(LayerTokens(torch.randn(2, 1, 4, width), torch.randn(2, 1, 4, width)) for width in widths)
    limited: Scope = scope(0.2, 0.8, torch.rand(1, 64, 64))
    patched = inject(model, EncodedIdentity("random", context=768, base=part), Strength(), limited)

    def count(one: Any) -> int:
        guider = comfy.samplers.CFGGuider(one)
        prompt = [[torch.randn(1, 77, 768), {}]]
        guider.set_conds(prompt, prompt)
        guider.set_cfg(4.0)
        sigmas, sampler = torch.tensor([10.0, 3.0, 1.0, 0.0]), comfy.samplers.sampler_object("euler")
        with torch.profiler.profile() as profile:
            guider.sample(torch.randn(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), sampler, sigmas, disable_pbar=True)
        waits = ("aten::_local_scalar_dense", "cudaStreamSynchronize", "cudaDeviceSynchronize")
        return sum(event.count for event in profile.key_averages() if event.key in waits)

    return count(patched) - count(model)


# Preparation and memory


def prepare_ms(family: str, times: int) -> float:
    """Returns the milliseconds (CPU) from tokens to keys and values of all layers, with structure."""
    from ..core.ip_adapter.checkpoint import Adapter
    from ..core.ip_adapter.encoding import encode
    from ..core.ip_adapter.variants import Kind

    widths, context, _ = FAMILIES[family]
    keys, values = (tuple(torch.randn(width, context) for width in widths) for _ in "kv")
    adapter = Adapter("random", Kind.PLUS_V2, {}, keys, values, {}, lambda: "")
    tokens, structure = torch.randn(2, 4, context), torch.randn(2, 4, context)
    spent = []
    for _ in range(times):
        start = time.process_time()
        encode(adapter, tokens, structure)
        spent.append(1000 * (time.process_time() - start))
    return statistics.median(spent)


def memory(family: str) -> dict[str, float]:
    def megabytes(layers: Any, bytes_each: int) -> float:
        return sum(x.keys.numel() + x.values.numel() for x in layers) * bytes_each / 1e6

    four, sixteen = (random_identity(family, tokens).base for tokens in (4, 16))
    kept = random_identity(family, structure=True)
    return {
        f"cache_mb_{family}": megabytes(four, 2),
        f"cache_mb_{family}_16": megabytes(sixteen, 2),
        f"encoded_mb_{family}": megabytes(kept.base, 4) + megabytes(kept.structure, 4),
    }


# Faces


def faces(turns: int) -> dict[str, float]:
    """Times ours against `FaceAnalysis.get`, in turn, on InsightFace's photo of six people with its smallest pack."""
    import insightface
    from insightface.app import FaceAnalysis

    from ..core.faces.analysis import FaceAnalyzer, _bgr
    from ..core.image import load_photo

    path = Path(str(insightface.__file__)).parent / "data" / "images" / "t1.jpg"
    image = load_photo(str(path), path.name)[0]
    analyzer = FaceAnalyzer(OFFLINE / "insightface" / "models" / "vectron")
    theirs = FaceAnalysis(name="vectron", root=str(OFFLINE / "insightface"), providers=["CPUExecutionProvider"])
    theirs.prepare(ctx_id=-1)
    bgr = _bgr(image[0])  # theirs reads such pictures; making it is not counted
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for turn in range(turns + 1):
        for name, action in (("ours", lambda: analyzer.analyze(image)), ("theirs", lambda: theirs.get(bgr))):
            wall, cpu = time.perf_counter(), time.process_time()
            action()
            if turn:  # the first one warms up
                times[name].append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
    ratios = [[b / a for a, b in zip(*turn, strict=True)] for turn in zip(times["ours"], times["theirs"], strict=True)]
    return {
        "faces_ms": statistics.median(wall for wall, _ in times["ours"]),
        "face_analysis_ms": statistics.median(wall for wall, _ in times["theirs"]),
        "faces_speedup": statistics.median(wall for wall, _ in ratios),
        "faces_speedup_cpu": statistics.median(cpu for _, cpu in ratios),
    }


def plot(figures: dict[str, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.6))
    names = {"SD1.5, 512": "unet_overhead_sd15_512", "SDXL, 1024": "unet_overhead_sdxl_1024"}
    names |= {"another pack, SD1.5": "other_overhead_sd15_512"}
    shown = {name: figures[key] for name, key in names.items() if key in figures}
    means = [100 * (figures[f"{names[name]}_mean"] - 1) for name in shown]
    above = [100 * (upper - 1) - mean for upper, mean in zip(shown.values(), means, strict=True)]
    left.barh(list(shown), means, xerr=[[0] * len(means), above], capsize=3)
    left.axvline(1, linestyle="--", color="grey")
    left.set_xlabel("added to a call of the UNet (%, to the upper bound\nof the 95% interval); the line is the limit")
    right.barh(["FaceAnalysis.get", "Consistent Face"], [figures["face_analysis_ms"], figures["faces_ms"]])
    right.set_xlabel("finding and reading six faces (ms, median)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)

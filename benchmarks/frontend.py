"""Times how much longer ComfyUI's front end loads with the pack: two ComfyUIs side by side, in Chromium, in turn.

The one without the pack has no custom nodes at all; the front end and everything else are the same. A load runs from
the navigation until the graph is there, and (`open`) until a workflow is open, with all nodes registered; `cpu` is the
CPU time of the page's main thread until then, which a busy machine hardly changes. Cold: a fresh browser context,
nothing cached. Warm: the same page again. Each turn loads one with the pack and two without, in random order; the
difference of these two is the noise.

Figures: `load_ms`, `load_without_ms` (medians, cold), `growth_ms` (median over the turns of what the pack adds),
`growth_low_ms`, `growth_high_ms` (its 95% interval, by bootstrap), `same_ms` (as growth, but of one without to the
other: 0 but for noise); the same with `open_`, `cpu_`, `warm_`, `warm_open_` and `warm_cpu_` before; `turns`.
"""

import random
import statistics
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from ..tools import chromium
from ..tools.server import ComfyServer, comfyui

Times = dict[str, float]  # milliseconds by the kind of load
PATIENCE = 120_000  # milliseconds: a busy machine is no failure
# Runs in the page before anything else does. `graph` complains on the console when it is asked for too early.
WATCH = """
(() => {
    const reached = (window.reached = {})
    const look = () => {
        const app = window.app
        if (!reached.load && app?.extensionManager && app.graph?.nodes) reached.load = performance.now()
        if (reached.load && app.extensionManager.workflow?.activeWorkflow) reached.open = performance.now()
        if (!reached.open) setTimeout(look, 2)
    }
    look()
})()
"""


def servers(stack: ExitStack, folder: Path) -> tuple[ComfyServer, ComfyServer]:
    """Starts a ComfyUI with the pack and one without, each with its own folders."""
    started = []
    for name in ("with", "without"):
        own = folder / name
        (own / "custom_nodes").mkdir(parents=True)
        arguments = ["--disable-api-nodes", "--user-directory", str(own / "user")]
        if name == "without":
            arguments += ["--base-directory", str(own)]  # --disable-all-custom-nodes would still serve our locales
        (own / "user").mkdir()
        started.append(stack.enter_context(comfyui(own / "comfyui.log", arguments)))
    return started[0], started[1]


def load(browser: Browser, server: ComfyServer) -> Times:
    """Loads the front end twice, with an empty and with a filled browser cache."""
    with browser.new_context() as context:
        context.add_init_script(WATCH)
        page = context.new_page()
        watcher = context.new_cdp_session(page)
        watcher.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(server.url, wait_until="commit")
        cold = reached(page, watcher)
        page.reload(wait_until="commit")
        warm = reached(page, watcher)
    return cold | {f"warm_{kind}": milliseconds for kind, milliseconds in warm.items()}


def reached(page: Page, watcher: CDPSession) -> Times:
    page.wait_for_function("window.reached?.open", polling=10, timeout=PATIENCE)
    times = page.evaluate("window.reached")
    return {"": times["load"], "open_": times["open"], "cpu_": cpu(watcher)}


def cpu(watcher: CDPSession) -> float:
    """Returns the milliseconds of the main thread since the navigation, at which Chromium resets its counter."""
    measured = {each["name"]: each["value"] for each in watcher.send("Performance.getMetrics")["metrics"]}
    return 1000 * measured["TaskDuration"]


def compare(ours: list[Times], without: list[tuple[Times, Times]], kind: str) -> dict[str, float]:
    added = [own[kind] - (one[kind] + other[kind]) / 2 for own, (one, other) in zip(ours, without, strict=True)]
    low, high = interval(added)
    return {
        f"{kind}load_ms": statistics.median(own[kind] for own in ours),
        f"{kind}load_without_ms": statistics.median(each[kind] for pair in without for each in pair),
        f"{kind}growth_ms": statistics.median(added),
        f"{kind}growth_low_ms": low,
        f"{kind}growth_high_ms": high,
        f"{kind}same_ms": statistics.median(one[kind] - other[kind] for one, other in without),
    }


def interval(values: list[float]) -> tuple[float, float]:
    """Returns the 95% interval of the median, by bootstrap."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], medians[-51]


def run(quick: bool) -> dict[str, float]:
    if chromium.main() != 0:
        raise RuntimeError("This benchmark needs Chromium: see above.")
    turns, ours, without = 15 if quick else 60, [], []
    chance = random.Random(0)
    with ExitStack() as stack, sync_playwright() as playwright:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        with_pack, bare = servers(stack, folder)
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        for server in (with_pack, bare):  # no welcome over the page
            playwright.request.new_context().post(f"{server.url}/api/settings/Comfy.TutorialCompleted", data="true")
        for turn in range(turns + 1):
            order = [("ours", with_pack), ("one", bare), ("other", bare)]
            chance.shuffle(order)
            times = {name: load(browser, server) for name, server in order}
            if turn:  # the first one warms the servers up
                ours.append(times["ours"])
                without.append((times["one"], times["other"]))
        browser.close()
    figures = {"turns": float(turns)}
    for kind in ours[0]:
        figures |= compare(ours, without, kind)
    return figures


def plot(figures: dict[str, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    kinds = {
        "warm_cpu_": "warm, CPU time",
        "cpu_": "cold, CPU time",
        "warm_open_": "warm, workflow open",
        "open_": "cold, workflow open",
        "warm_": "warm",
        "": "cold",
    }
    figure, (times, growth) = plt.subplots(1, 2, figsize=(9, 2.8), width_ratios=(3, 2), sharey=True)
    rows = range(len(kinds))
    for shift, key, name in ((0.2, "load_without_ms", "without"), (-0.2, "load_ms", "with the pack")):
        times.barh([row + shift for row in rows], [figures[kind + key] for kind in kinds], height=0.4, label=name)
    times.set_yticks(rows, list(kinds.values()))
    times.set_xlabel("load of the front end (ms, median)")
    times.legend(fontsize=8)
    for row, kind in zip(rows, kinds, strict=True):
        growth.plot([figures[f"{kind}growth_low_ms"], figures[f"{kind}growth_high_ms"]], [row, row], color="grey")
        growth.plot(figures[f"{kind}growth_ms"], row, "o")
    growth.axvline(50, linestyle="--", color="grey")
    growth.set_xlabel("growth (ms, 95%); the line is the limit")
    figure.tight_layout()
    figure.savefig(path, dpi=120)

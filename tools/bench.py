"""Runs benchmarks/NAME.py, prints its table, writes figures (JSON) and plot (PNG): `python dev.py bench NAME`.

A benchmark is a module with `run(quick: bool) -> dict[str, float]` (figures by name) and `plot(figures, path)`.
"""

import argparse
import importlib
import json
import signal
import sys

from .paths import ROOT


def main() -> int:
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--quick", action="store_true", help="under 5 minutes on 2 cores")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops its child processes, as Ctrl-C does
    benchmark = importlib.import_module(f"consistent_face.benchmarks.{arguments.name}")
    figures = benchmark.run(arguments.quick)
    for name, figure in figures.items():
        print(f"{name:32} {figure:12.4g}")
    folder = ROOT / "output" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{arguments.name}.json").write_text(json.dumps(figures, indent=2))
    benchmark.plot(figures, folder / f"{arguments.name}.png")
    print(f"Figures and plot: {folder / arguments.name}.json, .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())

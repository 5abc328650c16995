#!/usr/bin/env python3
"""Consistent Face, from a fresh checkout: python dev.py demo | test | serve | models | doctor | bench.

Needs nothing but Python 3.11 or newer. The first run makes .venv with torch, ComfyUI and all that the command needs;
later runs start in seconds.
"""

from __future__ import annotations  # so that an older Python reaches the sentence that tells it so

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
LOG = ROOT / ".venv" / "setup.log"
# The three that must fit together; torchvision and torchaudio go in without their own idea of torch.
TORCH = ["torch==2.13.0"]
TORCH_COMPANIONS = ["torchvision==0.28.0", "torchaudio==2.11.0"]
INPUTS = ["dev.py", "pyproject.toml", "requirements.txt", "tools/host.py"]  # a change in these sets up again
GROUPS = {
    "test": ["tools", "service", "bench", "people", "test"],
    "bench": ["tools", "service", "bench"],
    "demo": ["tools", "service"],
    "serve": ["tools", "service"],
}  # dependency groups of pyproject.toml; every other command needs `tools` alone


class SetupError(Exception):
    """One sentence for the user: what happened, what was found, what to do."""


def run_logged(title: str, command: Sequence[str | Path], cure: str) -> None:
    """Runs a step of the set-up into the log, with one line of progress; raises SetupError with its cure."""
    started = time.monotonic()
    line = "\r" if sys.stdout.isatty() else "\n"
    with LOG.open("ab") as log:
        log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        log.flush()
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        shown = -1.0
        while process.poll() is None:
            if (passed := time.monotonic() - started) - shown > (1 if line == "\r" else 60):
                shown = passed
                print(f"  {title} ... {passed:.0f} s", end=line, flush=True)
            time.sleep(0.1)
    print(f"  {title}: {time.monotonic() - started:.0f} s      ", flush=True)
    if process.returncode != 0:
        tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-12:])
        raise SetupError(f"{tail}\n\n{title} failed (exit code {process.returncode}, see {LOG}): {cure}")


def has_nvidia() -> bool:
    """Whether an NVIDIA driver answers."""
    return (
        shutil.which("nvidia-smi") is not None and subprocess.run(["nvidia-smi"], capture_output=True).returncode == 0
    )


def pip(*arguments: str | Path) -> list[str | Path]:
    return [PYTHON, "-m", "pip", "install", "--no-input", *arguments]


def make_venv() -> None:
    if PYTHON.exists() and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return
    try:
        venv.create(VENV, clear=True, with_pip=True)  # half made, it would stay without pip
    except subprocess.CalledProcessError as error:
        raise SetupError(
            f"Python's venv module cannot make {VENV} ({error}): install it, on Debian with 'apt install python3-venv'."
        ) from error


def install(groups: Sequence[str]) -> None:
    """All that the pack, its ComfyUI and the named dependency groups need."""
    network = "check the connection, then run the same command again; what was downloaded is kept."
    run_logged("Updating pip", pip("-U", "pip>=25.1"), network)
    run_logged("Installing torch", pip(*TORCH), network)
    run_logged("Installing torchvision and torchaudio", pip("--no-deps", *TORCH_COMPANIONS), network)
    said = "the last lines above say why; what was downloaded is kept for the next try."
    run_logged("Making ComfyUI ready", [PYTHON, "-m", "tools.host"], said)
    constraints = VENV / "constraints.txt"
    constraints.write_text("\n".join(TORCH + TORCH_COMPANIONS))
    # The GPU build of onnxruntime is large, and of use only beside an NVIDIA GPU.
    wanted = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "onnxruntime-gpu" not in line]
    pack = VENV / "requirements.txt"
    pack.write_text("\n".join(wanted))
    chosen = [part for group in groups for part in ("--group", group)]
    requirements = ["-c", constraints, "-r", ROOT / ".host" / "requirements.txt", "-r", pack, *chosen]
    run_logged("Installing ComfyUI's and our own packages", pip(*requirements), network)
    run_logged("Compiling what rembg compiles once", [PYTHON, "-c", "import rembg"], network)
    if subprocess.run([PYTHON, "-c", "import cv2"], capture_output=True).returncode != 0:
        uninstall = [PYTHON, "-m", "pip", "uninstall", "-y", "opencv-python", "opencv-python-headless"]
        run_logged("Removing the build of OpenCV that needs a screen's libraries", uninstall, network)
        run_logged("Installing the one that needs none", pip("--no-deps", "opencv-python-headless"), network)
    if has_nvidia():
        uninstall = [PYTHON, "-m", "pip", "uninstall", "-y", "onnxruntime", "onnxruntime-gpu"]
        run_logged("Removing the CPU build of onnxruntime, which hides CUDA", uninstall, network)
        run_logged("Installing onnxruntime-gpu", pip("--no-deps", "onnxruntime-gpu"), network)


def set_up(command: str) -> None:
    """Makes .venv and the host ready for a command, or returns at once when they are."""
    groups = GROUPS.get(command, ["tools"])
    digest = hashlib.sha256("".join((ROOT / name).read_text() for name in INPUTS).encode())
    digest.update(f"{os.environ.get('COMFYUI_PATH', '')} {ROOT}".encode())  # a folder that was moved or copied
    stamps = {name: VENV / f"ready-{name}" for name in groups}
    if all(stamp.exists() and stamp.read_text() == digest.hexdigest() for stamp in stamps.values()):
        return
    print("Setting up (the first time takes a few minutes):", flush=True)
    make_venv()
    install(groups)
    for stamp in stamps.values():
        stamp.write_text(digest.hexdigest())


def run(*command: str | Path) -> int:
    return subprocess.run([PYTHON, "-m", *command], cwd=ROOT).returncode


def run_tool(name: str, *arguments: str) -> int:
    """Runs a module of tools/ as part of the package `consistent_face`, so that all imports inside are relative."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".host" / "package")}
    command = [PYTHON, "-m", f"consistent_face.tools.{name}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # Ctrl-C reached the tool too, which has more to end than we
            continue


def test(arguments: Sequence[str]) -> int:
    """The landing suite, or the named tests; --long adds the campaigns."""
    if (code := run_tool("chromium")) != 0:
        return code
    if not [argument for argument in arguments if not argument.startswith("-")]:
        checks = [["ruff", "check"], ["ruff", "format", "--check"], ["basedpyright"]]
        for check in checks:
            print(f"$ {' '.join(check)}", flush=True)
            if (code := run(*check)) != 0:
                return code
    return run("pytest", *arguments)


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - the whole point of asking
        print(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: start dev.py with a newer one.")
        return 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {
        "demo": "run the documented requests with a bundled photo, and show the pictures",
        "test": "run the tests ([PATH ...], --long for the campaigns)",
        "serve": "start ComfyUI with the pack, for use",
        "models": "fetch real model files (--list, --set sd15|sdxl|faces)",
        "doctor": "say what is missing or wrong, each with its cure",
        "bench": "run benchmarks/NAME.py (NAME, --quick)",
    }
    parser.add_argument(
        "command", choices=commands, help="; ".join(f"{name}: {text}" for name, text in commands.items())
    )
    command, rest = parser.parse_args(sys.argv[1:2]).command, sys.argv[2:]
    try:
        set_up(command)
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return test(rest) if command == "test" else run_tool(command, *rest)


if __name__ == "__main__":
    sys.exit(main())

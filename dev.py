#!/usr/bin/env python3
"""Sets up and runs Consistent Face from a checkout: python dev.py demo | test | serve | models | doctor | bench.

Needs only Python 3.11 or newer. The first run installs torch, ComfyUI and the packages of the command into .venv and
.host; later runs start in seconds.
"""

from __future__ import annotations  # so that an older Python reaches the check of its version

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
# These three must fit together; torchvision and torchaudio are installed without their dependencies.
TORCH = ["torch==2.13.0"]
TORCH_COMPANIONS = ["torchvision==0.28.0", "torchaudio==2.11.0"]
INPUTS = ["dev.py", "pyproject.toml", "requirements.txt", "tools/host.py"]  # a change in these files repeats the set-up
GROUPS = {
    "test": ["tools", "service", "bench", "people", "test"],
    "bench": ["tools", "service", "bench"],
    "demo": ["tools", "service"],
    "serve": ["tools", "service"],
}  # dependency groups of pyproject.toml; every other command needs only `tools`


class SetupError(Exception):
    """One sentence for the user: what happened, what was found, what to do."""


def run_logged(title: str, command: Sequence[str | Path], cure: str) -> None:
    """Runs a step of the set-up: its output goes into the log, its progress on one line. Raises SetupError."""
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
        venv.create(VENV, clear=True, with_pip=True)  # an incomplete one would stay without pip
    except subprocess.CalledProcessError as error:
        raise SetupError(
            f"Python's venv module cannot make {VENV} ({error}): install it, on Debian with 'apt install python3-venv'."
        ) from error


def install(groups: Sequence[str]) -> None:
    """Installs what the pack, its ComfyUI and the dependency groups need. Raises SetupError."""
    network = "check the connection, then run the same command again; what was downloaded is kept."
    run_logged("Updating pip", pip("-U", "pip>=25.1"), network)
    run_logged("Installing torch", pip(*TORCH), network)
    run_logged("Installing torchvision and torchaudio", pip("--no-deps", *TORCH_COMPANIONS), network)
    said = "the last lines above have the reason; what was downloaded is kept for the next try."
    run_logged("Preparing ComfyUI", [PYTHON, "-m", "tools.host"], said)
    constraints = VENV / "constraints.txt"
    constraints.write_text("\n".join(TORCH + TORCH_COMPANIONS))
    # The GPU build of onnxruntime is large and useful only with an NVIDIA GPU.
    wanted = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "onnxruntime-gpu" not in line]
    pack = VENV / "requirements.txt"
    pack.write_text("\n".join(wanted))
    chosen = [part for group in groups for part in ("--group", group)]
    requirements = ["-c", constraints, "-r", ROOT / ".host" / "requirements.txt", "-r", pack, *chosen]
    run_logged("Installing ComfyUI's and our own packages", pip(*requirements), network)
    run_logged("Compiling rembg's functions (once)", [PYTHON, "-c", "import rembg"], network)
    if subprocess.run([PYTHON, "-c", "import cv2"], capture_output=True).returncode != 0:
        uninstall = [PYTHON, "-m", "pip", "uninstall", "-y", "opencv-python", "opencv-python-headless"]
        run_logged("Removing the OpenCV build that needs display libraries", uninstall, network)
        run_logged("Installing opencv-python-headless", pip("--no-deps", "opencv-python-headless"), network)
    if has_nvidia():
        uninstall = [PYTHON, "-m", "pip", "uninstall", "-y", "onnxruntime", "onnxruntime-gpu"]
        run_logged("Removing the CPU build of onnxruntime, which disables CUDA", uninstall, network)
        run_logged("Installing onnxruntime-gpu", pip("--no-deps", "onnxruntime-gpu"), network)


def set_up(command: str) -> None:
    """Prepares .venv and the host for a command; returns at once if they are ready. Raises SetupError."""
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
        except KeyboardInterrupt:  # the tool gets the Ctrl-C too: it stops its processes first
            continue


def test(arguments: Sequence[str]) -> int:
    """Runs the linters and all tests, or only the named tests; --long adds the long tests."""
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
        "demo": "send the documented requests with a bundled photo, and show the pictures",
        "test": "run the tests ([PATH ...]; --long adds the long ones)",
        "serve": "start ComfyUI with the pack, and the web service in front of it",
        "models": "download the real model files (--list, --set sd15|sdxl|faces)",
        "doctor": "report what is missing or wrong, each with its cure",
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

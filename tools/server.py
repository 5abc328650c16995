"""Processes of ours, started, awaited, stopped: a ComfyUI with the pack, and the web service before it."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .paths import BASE, COMFYUI, HOST, ROOT

START_SECONDS = 180


class ServerError(RuntimeError):
    """ComfyUI or the service did not start."""


@dataclass(frozen=True)
class ComfyServer:
    """A running ComfyUI: where it answers, and what it has said."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def device_arguments() -> list[str]:
    """ComfyUI must be told when there is no GPU."""
    import torch

    return [] if torch.cuda.is_available() or torch.backends.mps.is_available() else ["--cpu"]


def command(port: int, database: Path, arguments: Sequence[str]) -> list[str]:
    paths = ["--database-url", f"sqlite:///{database.as_posix()}", "--base-directory", str(BASE)]
    paths += ["--extra-model-paths-config", str(HOST / "model_paths.yaml")]
    launcher = [sys.executable, str(ROOT / "tools" / "launcher.py"), str(COMFYUI)]
    return [*launcher, "--port", str(port), "--disable-auto-launch", *paths, *device_arguments(), *arguments]


def wait_until_up(server: ComfyServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/system_stats", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    said = "\n".join(server.log.read_text(errors="replace").splitlines()[-15:])
    raise ServerError(f"{said}\n\nComfyUI did not start (see {server.log}): run 'python dev.py doctor'.")


@contextmanager
def comfyui(log: Path, arguments: Sequence[str] = (), port: int | None = None) -> Iterator[ComfyServer]:
    """Runs ComfyUI for the length of a `with` block.

    Args:
        log: file that takes all that ComfyUI prints.
        arguments: more of ComfyUI's own command line.
        port: a fixed port; otherwise a free one.
    """
    port = port or free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(port, log.with_suffix(".db"), arguments), cwd=HOST, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        server = ComfyServer(f"http://127.0.0.1:{port}", log, process)
        wait_until_up(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def service(
    log: Path, comfy: ComfyServer, settings: Mapping[str, object] | None = None, own_folders: bool = True
) -> Iterator[str]:
    """Runs the web service before a ComfyUI for the length of a `with` block; gives its URL.

    Args:
        log: file that takes all that the service says.
        settings: names and values of api/settings.py; the environment's own win.
        own_folders: whether ComfyUI uses the folders that `command` gives it.
    """
    folders = {"comfy_input": BASE / "input", "comfy_output": BASE / "output"} if own_folders else {}
    given = {"comfy_url": comfy.url, **folders, **(settings or {})}
    environment = {**{f"CONSISTENT_FACE_{name.upper()}": str(value) for name, value in given.items()}, **os.environ}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api"], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{environment.get('CONSISTENT_FACE_PORT', 8190)}"
    try:
        _wait_for_service(url, log, process)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_service(url: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise ServerError(f"{said}\n\nThe service did not start (see {log}).")

"""A ComfyUI process with the pack: started, awaited, stopped."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .paths import BASE, COMFYUI, HOST, ROOT

START_SECONDS = 180


class ServerError(RuntimeError):
    """ComfyUI did not start."""


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

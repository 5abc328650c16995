"""Starts, awaits and stops server processes: ComfyUI with the pack, and the web service in front of it."""

import contextlib
import itertools
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
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach 127.0.0.1


class ServerError(RuntimeError):
    """ComfyUI or the service did not start."""


@dataclass(frozen=True)
class ComfyServer:
    """A running ComfyUI: its URL, its log and its process."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def device_arguments() -> list[str]:
    """The argument --cpu where there is no GPU: ComfyUI does not find that out itself."""
    import torch

    return [] if torch.cuda.is_available() or torch.backends.mps.is_available() else ["--cpu"]


def command(port: int, database: Path, arguments: Sequence[str]) -> list[str]:
    paths = ["--database-url", f"sqlite:///{database.as_posix()}", "--base-directory", str(BASE)]
    paths += ["--extra-model-paths-config", str(HOST / "model_paths.yaml")]
    launcher = [sys.executable, str(ROOT / "tools" / "launcher.py"), str(COMFYUI)]
    return [*launcher, "--port", str(port), "--disable-auto-launch", *paths, *device_arguments(), *arguments]


def wait_until_up(urls: Sequence[str], path: str, process: subprocess.Popen[bytes], log: Path, otherwise: str) -> str:
    """Returns the first address that answers. Raises ServerError, with the last lines of the log and `otherwise`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for url in urls:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                DIRECT.open(url + path, timeout=5).close()
                return url
        time.sleep(0.1)
    said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise ServerError(f"{said}\n\n{otherwise}")


def addresses(port: object, host: str | None) -> list[str]:
    """The URLs of a server that binds to `host`. 127.0.0.1 comes first: without keys the service binds to it only."""
    hosts = ["127.0.0.1", *([f"[{host}]" if ":" in host else host] if host else [])]
    return [f"http://{each}:{port}" for each in hosts]


@contextmanager
def running(
    command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process for the length of a `with` block; its output goes into the log."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def comfyui(log: Path, arguments: Sequence[str] = (), port: int | None = None) -> Iterator[ComfyServer]:
    """Runs ComfyUI for the length of a `with` block.

    Args:
        log: file for the output of ComfyUI.
        arguments: additional arguments of ComfyUI's command line.
        port: a fixed port; otherwise a free one.
    """
    port = port or free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    listen = dict(itertools.pairwise(arguments)).get("--listen", "").partition(",")[0]
    failed = f"ComfyUI did not start (see {log}): run 'python dev.py doctor'."
    with running(command(port, log.with_suffix(".db"), arguments), HOST, log) as process:
        url = wait_until_up(addresses(port, listen), "/system_stats", process, log, failed)
        yield ComfyServer(url, log, process)


@contextmanager
def service(
    log: Path, comfy: ComfyServer, settings: Mapping[str, object] | None = None, own_folders: bool = True
) -> Iterator[str]:
    """Runs the web service in front of a ComfyUI for the length of a `with` block; yields its URL.

    Args:
        log: file for the output of the service.
        settings: names and values of api/base/settings.py; the environment's own win.
        own_folders: whether ComfyUI uses the folders that `command` gives it.
    """
    folders = {"comfy_input": BASE / "input", "comfy_output": BASE / "output"} if own_folders else {}
    given = {"comfy_url": comfy.url, **folders, **(settings or {})}
    environment = {**{f"CONSISTENT_FACE_{name.upper()}": str(value) for name, value in given.items()}, **os.environ}
    urls = addresses(environment.get("CONSISTENT_FACE_PORT", 8190), environment.get("CONSISTENT_FACE_HOST"))
    with running([sys.executable, "-m", "api"], ROOT, log, environment) as process:
        yield wait_until_up(urls, "/healthz", process, log, f"The service did not start (see {log}).")

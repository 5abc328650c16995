"""Runs ComfyUI with the pack, and the web service in front of it, until Ctrl-C: `python dev.py serve`.

Other arguments go to ComfyUI; CONSISTENT_FACE_* variables configure the service (see api/base/settings.py).
"""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence

from .paths import HOST
from .server import ServerError, comfyui, service

SERVICE_PORT = int(os.environ.get("CONSISTENT_FACE_PORT", "8190"))


def taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def serve(port: int, arguments: Sequence[str]) -> int:
    """Runs ComfyUI and the service until ComfyUI ends; returns its exit code."""
    log, service_log = HOST / "serve.log", HOST / "service.log"
    # Without ComfyUI's folders the service cannot delete files: it overwrites them over HTTP.
    own = not any("directory" in argument for argument in arguments)
    with comfyui(log, arguments, port) as server, service(service_log, server, own_folders=own) as url:
        print(f"ComfyUI runs at {server.url} (Templates -> consistent-face); its log is {log}.")
        print(f"The service runs at {url} (see {url}/docs); its log is {service_log}. Ctrl-C stops both.")
        print("Without keys it answers this machine only: add one with 'python -m api keys add NAME'.", flush=True)
        return server.process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py serve", description=__doc__)
    parser.add_argument("--port", type=int, default=8188)
    known, rest = parser.parse_known_args()
    for port, cure in ((known.port, "--port"), (SERVICE_PORT, "CONSISTENT_FACE_PORT")):
        if taken(port):
            print(f"Another program uses port {port}: stop it, or choose another port with {cure}.")
            return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop ends both as Ctrl-C does
    print("Starting ComfyUI and the service ...", flush=True)
    try:
        return serve(known.port, rest)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())

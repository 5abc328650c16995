"""`python dev.py serve`: ComfyUI with the pack, for use, until Ctrl-C. Other arguments go to ComfyUI."""

import argparse
import socket
import sys

from .paths import HOST
from .server import ServerError, comfyui


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py serve", description=__doc__)
    parser.add_argument("--port", type=int, default=8188)
    known, rest = parser.parse_known_args()
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", known.port)) == 0:
            print(f"Port {known.port} is taken by another program: stop it, or choose one with --port.")
            return 1
    log = HOST / "serve.log"
    print("Starting ComfyUI ...", flush=True)
    try:
        with comfyui(log, rest, known.port) as server:
            print(f"ComfyUI answers at {server.url} (Templates -> consistent-face), its log is {log}. Ctrl-C ends it.")
            return server.process.wait()
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())

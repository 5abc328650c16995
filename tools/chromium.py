"""Finds Chromium for the browser tests, or installs it (on Debian, as root)."""

import os
import shutil
import subprocess
import sys


def find() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def main() -> int:
    if find():
        return 0
    if not (hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get")):
        print("The browser tests need Chromium and none is on the PATH: install it with your system's package manager.")
        return 1
    print("Installing chromium (once) ...", flush=True)
    quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
    installed = subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], **quiet)
    if installed.returncode != 0 or not find():
        print("Installing chromium failed: run 'apt-get install chromium' and look at what it says.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

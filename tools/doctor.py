"""Reports what is missing or wrong, each with its cure: `python dev.py doctor`; exit code 0 when usable."""

import argparse
import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..core.model_catalog import FILES, ModelFile
from . import chromium, offline
from .models import has_right_hash, has_right_size, installed
from .paths import COMFYUI, OFFLINE, model_roots

OLDEST_COMFYUI = (0, 30, 0)
OLDEST_INSIGHTFACE = (1, 0)
OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless")
SET_UP = "`python dev.py serve` sets it up"
PIP = f'"{sys.executable}" -m pip'


class Finding(NamedTuple):
    """One line of the report. `level`: "ok"; "note": usable, but worse than it could be; "error": not usable."""

    level: str
    said: str
    cure: str = ""


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of those distributions that are installed, by name."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def has_nvidia() -> bool:
    """Whether an NVIDIA driver answers."""
    smi = shutil.which("nvidia-smi")
    return smi is not None and subprocess.run([smi], capture_output=True).returncode == 0


def check_python(version: tuple[int, ...]) -> Finding:
    said = "Python " + ".".join(map(str, version[:3]))
    if version < (3, 11):
        return Finding("error", f"{said}: 3.11 or newer is needed", "delete .venv and run dev.py with a newer Python")
    return Finding("ok", said)


def check_comfyui(folder: Path) -> Finding:
    path = folder / "comfyui_version.py"
    found = re.search(r'"([\d.]+)"', path.read_text()) if path.is_file() else None
    if found is None:
        return Finding("error", f"no ComfyUI in {folder}", f"{SET_UP}, or set COMFYUI_PATH to your ComfyUI folder")
    if numbers(found[1]) < OLDEST_COMFYUI:
        return Finding("error", f"ComfyUI {found[1]} in {folder}: 0.30.0 or newer is needed", "update ComfyUI")
    return Finding("ok", f"ComfyUI {found[1]} in {folder}")


def check_torch(nvidia: bool) -> Finding:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return Finding("error", f"torch does not load ({error})", SET_UP)
    if torch.cuda.is_available():
        return Finding("ok", f"torch {torch.__version__} on {torch.cuda.get_device_name()}")
    if nvidia:
        cure = f"{PIP} install --force-reinstall torch, with the index that pytorch.org lists for your driver"
        return Finding("note", f"torch {torch.__version__} does not use this machine's NVIDIA GPU", cure)
    return Finding("ok", f"torch {torch.__version__} on the {'GPU' if torch.backends.mps.is_available() else 'CPU'}")


def check_onnxruntime(found: dict[str, str], providers: list[str], nvidia: bool) -> Finding:
    """Checks onnxruntime: its two builds unpack into one folder, so that the CPU build can replace CUDA unnoticed."""
    said = "onnxruntime " + " and ".join(f"{version} ({name})" for name, version in found.items())
    if not providers:
        return Finding("error", "onnxruntime does not load: faces cannot be analyzed", f"{PIP} install onnxruntime")
    both = f"{PIP} uninstall -y onnxruntime onnxruntime-gpu, then {PIP} install --no-deps onnxruntime-gpu"
    cure = f"python dev.py doctor --fix, or {both}"
    if nvidia and "CUDAExecutionProvider" not in providers:
        return Finding("note", f"{said}: faces are analyzed on the CPU, not on the NVIDIA GPU", cure)
    if nvidia and len(found) > 1:
        return Finding("note", f"{said}: two builds share one folder; an update of either can disable CUDA", cure)
    return Finding("ok", f"{said} with {', '.join(providers)}")


def onnxruntime_providers() -> list[str]:
    try:
        return importlib.import_module("onnxruntime").get_available_providers()
    except (ImportError, AttributeError):  # a partly removed onnxruntime imports as an empty package
        return []


def check_insightface(found: dict[str, str]) -> Finding:
    version = found.get("insightface")
    if version is None or numbers(version) < OLDEST_INSIGHTFACE:
        said = f"insightface {version or 'is not installed'}: 1.0 or newer is needed"
        return Finding("error", said, f'{PIP} install "insightface>=1.0"')
    return Finding("ok", f"insightface {version}")


def check_opencv(found: dict[str, str]) -> Finding:
    said = ", ".join(f"{name} {version}" for name, version in found.items()) or "opencv is not installed"
    if broken := opencv_fault():
        cure = "install the missing library, on Debian with apt install libgl1 libglib2.0-0"
        return Finding("error", f"{said} does not load ({broken}): faces cannot be analyzed", cure)
    if len(found) == 1:
        return Finding("ok", said)
    remove = f"{PIP} uninstall -y {' '.join(found)}, then " if found else ""
    level, why = ("note", ": several builds share one folder and overwrite each other") if found else ("error", "")
    return Finding(level, said + why, f"{remove}{PIP} install opencv-python")


def opencv_fault() -> str | None:
    """The error with which an installed OpenCV does not load; None if it loads. Servers may lack its libraries."""
    try:
        importlib.import_module("cv2")
    except ModuleNotFoundError:
        return None
    except ImportError as error:
        return str(error)
    return None


def check_chromium() -> Finding:
    if path := chromium.find():
        return Finding("ok", f"Chromium in {path}")
    return Finding("note", "no Chromium: only the browser tests need it", "install it with your package manager")


def check_model(file: ModelFile, roots: list[Path], hashed: bool) -> Finding:
    path = installed(file, roots)
    if path is None:
        return Finding("note", f"missing: {file.name} ({file.size})", f"python dev.py models {file.name}")
    if not has_right_size(path, file) or (hashed and not has_right_hash(path, file)):
        cure = f"remove it, then python dev.py models {file.name}"
        return Finding("error", f"{path} differs from the published {file.name}", cure)
    return Finding("ok", f"{path}" + (" (sha256 verified)" if hashed and file.sha256 else ""))


def check_offline() -> Finding:
    if all((OFFLINE / name).exists() for name in offline.FILES):
        return Finding("ok", f"small offline models in {OFFLINE}")
    return Finding("note", "the small offline models do not exist yet", "`python dev.py demo` makes them in seconds")


def examine(hashed: bool) -> list[Finding]:
    nvidia = has_nvidia()
    return [
        check_python(sys.version_info[:3]),
        check_comfyui(COMFYUI),
        check_torch(nvidia),
        check_onnxruntime(versions(("onnxruntime", "onnxruntime-gpu")), onnxruntime_providers(), nvidia),
        check_insightface(versions(["insightface"])),
        check_opencv(versions(OPENCV)),
        check_chromium(),
        check_offline(),
        *(check_model(file, model_roots(), hashed) for file in FILES if file.sets),
    ]


def fix() -> None:
    """Reinstalls the onnxruntime build that fits this machine. Raises CalledProcessError; changes nothing offline."""
    wanted = "onnxruntime-gpu" if has_nvidia() else "onnxruntime"
    pip = [sys.executable, "-m", "pip"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*pip, "download", "--no-deps", "-d", folder, wanted], check=True)
        subprocess.run([*pip, "uninstall", "-y", "onnxruntime", "onnxruntime-gpu"], check=True)
        subprocess.run([*pip, "install", "--no-deps", *Path(folder).iterdir()], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python dev.py doctor", description="Reports what is missing or wrong.")
    parser.add_argument(
        "--hash", action="store_true", help="verify the sha256 of the model files, not only their sizes"
    )
    parser.add_argument("--fix", action="store_true", help="install the onnxruntime build that fits this machine")
    arguments = parser.parse_args()
    if arguments.fix:
        try:
            fix()
        except subprocess.CalledProcessError as error:
            print(f"onnxruntime could not be changed: see pip's messages above (exit code {error.returncode}).")
            return 1
    findings = examine(arguments.hash)
    for finding in findings:
        print(f"{finding.level:<6}{finding.said}" + (f"\n      cure: {finding.cure}" if finding.cure else ""))
    errors = sum(finding.level == "error" for finding in findings)
    print(f"\n{f'not usable: {errors} to cure' if errors else 'usable'}")
    return min(errors, 1)


if __name__ == "__main__":
    raise SystemExit(main())

"""The paths of the checkout, of its ComfyUI, and of the cache that all checkouts share."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = ROOT / ".host"
BASE = HOST / "base"  # ComfyUI's --base-directory: custom_nodes, input, output, temp, user
EXISTING_COMFYUI = os.environ.get("COMFYUI_PATH")
COMFYUI = Path(EXISTING_COMFYUI).expanduser().resolve() if EXISTING_COMFYUI else HOST / "ComfyUI"


def _cache() -> Path:
    chosen = os.environ.get("CONSISTENT_FACE_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "consistent-face"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/consistent-face").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "consistent-face"


CACHE = _cache()
WEIGHTS = ROOT / "demo_model" / "weights"  # of the small trained model
OFFLINE = CACHE / "offline-v1"  # the small models, in ComfyUI's layout
MODELS = COMFYUI / "models" if EXISTING_COMFYUI else CACHE / "models"  # the real ones, as `models` fetches them


def model_roots() -> list[Path]:
    """The folders with model files in ComfyUI's layout, the real models first."""
    return [MODELS, BASE / "models", OFFLINE]

"""ComfyUI's own modules, in process and on the CPU, for tests of single nodes."""

import sys

from consistent_face.tools.launcher import declare_missing_operators
from consistent_face.tools.paths import COMFYUI

if not (COMFYUI / "main.py").exists():
    raise RuntimeError(f"No ComfyUI in {COMFYUI}: start the tests with 'python dev.py test', which fetches it.")

sys.path.insert(0, str(COMFYUI))
declare_missing_operators()

import comfy.cli_args  # noqa: E402

comfy.cli_args.args.cpu = True  # read once, when comfy.model_management is imported

"""Starts ComfyUI's main.py: `python tools/launcher.py COMFYUI_FOLDER [ComfyUI's own arguments]`.

torch from one source and torchvision from another do not fit each other: the package index has CUDA builds of
torchvision only, and beside a CPU build of torch its compiled operators cannot load. ComfyUI imports torchvision for
picture transforms and never calls those operators, so declaring them is enough.
"""

import importlib.metadata
import importlib.util
import runpy
import sys
from pathlib import Path

# Name and signature as in torchvision's C++ sources; its Python side registers fakes for exactly these on import.
OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared = []  # torch.library forgets its definitions when the object goes


def declare_missing_operators() -> None:
    """Declares torchvision's operators where its compiled library does not load; elsewhere does nothing."""
    spec = importlib.util.find_spec("torchvision")
    # ComfyUI sets torch up before it imports it; only a build that needs our help is imported here, earlier.
    if _declared or spec is None or spec.origin is None or "+cpu" not in importlib.metadata.version("torch"):
        return
    import torch

    compiled = [*Path(spec.origin).parent.glob("_C.*so"), *Path(spec.origin).parent.glob("_C.*pyd")]
    try:
        for library in compiled:
            torch.ops.load_library(str(library))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name, signature in OPERATORS.items():
            library.define(name + signature)
        _declared.append(library)


def main() -> None:
    comfyui = Path(sys.argv[1]).resolve()
    sys.argv = [str(comfyui / "main.py"), *sys.argv[2:]]
    sys.path[0] = str(comfyui)  # in place of this file's folder
    declare_missing_operators()
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()

"""Loads the checkout as the package `consistent_face`, whatever its folder is called.

ComfyUI has a top-level module `nodes` too, so the checkout itself never goes on the path.
"""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _load_pack() -> None:
    spec = importlib.util.spec_from_file_location(
        "consistent_face", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None and spec.loader is not None
    pack = importlib.util.module_from_spec(spec)
    sys.modules["consistent_face"] = pack
    spec.loader.exec_module(pack)


_load_pack()

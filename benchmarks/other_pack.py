"""Patches a model by another pack, found by its folder, for the same measurement.

It serves packs with ComfyUI_IPAdapter_plus's node "IPAdapterEmbeds" (as ComfyUI_IPAdapter_plus itself): 4 tokens of
random values, as of a FaceID adapter, in all layers that the pack knows.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch

from ..tests.adapters import SD15_LAYERS, SDXL_LAYERS, layer_shapes, random


def apply_other(folder: Path, model: Any, family: str) -> Any:
    widths, context = (SD15_LAYERS, 768) if family == "sd15" else (SDXL_LAYERS, 2048)
    projection = random({"proj.weight": (4 * context, 1024), "proj.bias": (4 * context,)})
    projection |= random({"norm.weight": (context,), "norm.bias": (context,)})
    adapter = {"image_proj": projection, "ip_adapter": random(layer_shapes(widths, context, lora=False))}
    values: dict[str, Any] = {"weight": 1.0, "weight_type": "linear", "start_at": 0.0, "end_at": 1.0}
    embeds = {"pos_embed": torch.randn(1, 1024), "neg_embed": torch.zeros(1, 1024)}
    node = _load(folder).NODE_CLASS_MAPPINGS["IPAdapterEmbeds"]()
    return node.apply_ipadapter(model, adapter, **values, **embeds, embeds_scaling="V only")[0]


def _load(folder: Path) -> Any:
    name = "other_pack"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    sys.modules[name] = pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    return pack

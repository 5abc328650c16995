"""Writes the small trained model as files that ComfyUI loads, if its weights are checked out.

Parts without training are generated, as for the offline set: CLIP-L has the random values that the training used.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from . import shapes
from .offline import TEXT_SEED
from .paths import OFFLINE, WEIGHTS

RECOGNISER = "w600k_mbf"  # whose embeddings the adapter reads
# What suits the model beside its files: it was trained for little guidance, on faces of one size, and knows no poses.
SUITS: dict[str, dict[str, str | int | float]] = {
    "face_consistency": {"guidance": 3.0},
    "face_avatar": {"guidance": 3.0},
    "face_generator": {"guidance": 3.0},
    "consistent_character": {"guidance": 3.0, "upscale_guidance": 3.0, "fd_guidance": 3.0, "strength": 0.0},
}


def present(folder: Path = WEIGHTS) -> bool:
    return any(folder.glob("demo-*.safetensors"))


def make(root: Path = OFFLINE, folder: Path = WEIGHTS) -> dict[str, str]:
    """Writes the checkpoint and the adapter below `root` if they are missing; returns their names by parameter.

    Raises FileNotFoundError when some of the weights are missing.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("demo-*.safetensors"))))
    mark = digest.hexdigest()[:8]
    names = {"checkpoint": f"demo_sd15_{mark}.safetensors", "adapter": f"demo_faceid_sd15_{mark}.safetensors"}
    checkpoint, adapter = root / "checkpoints" / names["checkpoint"], root / "ipadapter" / names["adapter"]
    if not (checkpoint.exists() and adapter.exists()):
        print("putting the small trained model together", flush=True)
        write(folder, checkpoint, adapter)
    return names


def write(folder: Path, checkpoint: Path, adapter: Path) -> None:
    from safetensors.torch import save_file

    from . import trained_weights as export
    from . import weights

    state = export.read(folder)
    text = export.prefixed("cond_stage_model.transformer.text_model.", weights.fill(shapes.clip_text(), TEXT_SEED))
    model = {name: x for name, x in state.items() if name.startswith((export.UNET, export.VAE))} | text
    face = {name: x for name, x in state.items() if name.startswith(export.ADAPTER)}
    about = {"format": "pt", "recogniser": RECOGNISER}
    for path, tensors in ((checkpoint, model), (adapter, face)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as part:  # no half file is ever seen
            halves = {name: x.half() if x.ndim else x for name, x in tensors.items()}
            save_file(halves, Path(part) / path.name, about)
            os.replace(Path(part) / path.name, path)

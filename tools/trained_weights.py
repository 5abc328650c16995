"""Reads and writes the trained model's shards (safetensors): matrices in fp8 with a scale per row, the rest in fp16."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .paths import WEIGHTS

State = dict[str, Tensor]
SHARD_BYTES = 15 * 2**20
MOST = 448.0  # of fp8 e4m3
UNET, VAE = "model.diffusion_model.", "first_stage_model."
ADAPTER = ("image_proj.", "ip_adapter.")
SCALE = "_scale"


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {prefix + name: value for name, value in state.items()}


def under(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def reduced(state: Mapping[str, Tensor]) -> State:
    """Reduces values for storage: the autoencoder to fp16, since errors show in its pictures; other matrices to fp8."""
    stored: State = {}
    for name, value in state.items():
        value = value.detach().float().cpu()
        if value.ndim < 2 or name.startswith(VAE):
            stored[name] = (value if value.ndim == 0 else value.half()).contiguous()
            continue
        scale = value.abs().amax(tuple(range(1, value.ndim)), keepdim=True).clamp(min=1e-12) / MOST
        stored[name] = (value / scale).to(torch.float8_e4m3fn).contiguous()
        stored[name + SCALE] = scale.contiguous()
    return stored


def restored(stored: Mapping[str, Tensor]) -> State:
    """Restores reduced values in single precision."""
    whole = {name: value for name, value in stored.items() if not name.endswith(SCALE) or name.startswith(VAE)}
    return {name: x.float() * stored.get(name + SCALE, torch.ones(())) for name, x in whole.items()}


def write(state: Mapping[str, Tensor], folder: Path, about: Mapping[str, str]) -> list[Path]:
    """Writes shards of at most SHARD_BYTES with the metadata `about`; deletes older shards. Returns their paths."""
    groups: list[State] = [{}]
    size = 0
    for name, value in reduced(state).items():
        grown = size + value.nbytes + 200  # a line of the header
        if grown > SHARD_BYTES:
            groups.append({})
            grown = value.nbytes + 200
        groups[-1][name], size = value, grown
    folder.mkdir(parents=True, exist_ok=True)
    for old in shards(folder):
        old.unlink()
    paths = [folder / f"demo-{number}-of-{len(groups)}.safetensors" for number in range(1, len(groups) + 1)]
    for path, group in zip(paths, groups, strict=True):
        save_file(group, path, {"format": "pt", **about})
    return paths


def shards(folder: Path = WEIGHTS) -> list[Path]:
    return sorted(folder.glob("demo-*.safetensors"))


def read(folder: Path = WEIGHTS) -> State:
    """Reads the values of all shards in single precision. Raises FileNotFoundError if a shard is missing."""
    paths = shards(folder)
    wanted = int(paths[0].stem.rpartition("-")[2]) if paths else 1
    if len(paths) != wanted:
        raise FileNotFoundError(
            f"{folder} has {len(paths)} of the {wanted} files of the demo's model: check the folder out again, or "
            "train the model as demo_model/README.md tells."
        )
    stored: State = {}
    for path in paths:
        stored |= load_file(path)
    return restored(stored)

"""Registers the pack's model folders in ComfyUI; folders that other packs registered are kept and shared."""

import os
from pathlib import Path

import folder_paths

from ...core import model_catalog
from ...core.errors import ModelMissingError

ADAPTERS = "ipadapter"
INSIGHTFACE = "insightface"
IDENTITIES = "identities"
BACKGROUND = "rembg"
SAFETY = "safety"

# What a combo lists of each folder; InsightFace's packs are folders, which Load Face Analysis lists itself.
EXTENSIONS: dict[str, set[str]] = {
    ADAPTERS: set(folder_paths.supported_pt_extensions),
    INSIGHTFACE: {".onnx"},
    IDENTITIES: {".safetensors"},
    BACKGROUND: {".onnx"},
    SAFETY: {".onnx"},
}


def register() -> None:
    """Adds the folders below `models` to ComfyUI's."""
    for name, wanted in EXTENSIONS.items():
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
        paths, extensions = folder_paths.folder_names_and_paths[name]
        if not extensions:  # a new folder lists every file
            folder_paths.folder_names_and_paths[name] = (paths, set(wanted))


def stamp(*files: Path) -> tuple[tuple[int, int], ...]:
    """Returns time and size of each existing file: files are read again when this changes."""
    found = [file.stat() for file in files if file.is_file()]
    return tuple((each.st_mtime_ns, each.st_size) for each in found)


def find(folder: str, name: str) -> str:
    """Returns the path of a model file; raises ModelMissingError with the catalog's sentence if it is not installed."""
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        raise ModelMissingError(model_catalog.missing(name, folder))
    return path

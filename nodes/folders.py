"""Model folders that ComfyUI does not know by itself; folders that other packs registered are kept and shared."""

import os

import folder_paths

ADAPTERS = "ipadapter"
INSIGHTFACE = "insightface"


def register() -> None:
    """Adds `models/ipadapter` and `models/insightface` to ComfyUI's model folders."""
    for name in (ADAPTERS, INSIGHTFACE):
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
    paths, extensions = folder_paths.folder_names_and_paths[ADAPTERS]
    if not extensions:  # a folder just made lists every file
        folder_paths.folder_names_and_paths[ADAPTERS] = (paths, set(folder_paths.supported_pt_extensions))

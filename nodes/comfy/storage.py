"""Saves and loads identity files below models/identities; never reads or writes anywhere else."""

import os
import re
import tempfile
from pathlib import Path

import folder_paths
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...core.errors import IdentityError, ModelMissingError
from ...core.identity.build import Identity
from ...core.identity.file import from_file, to_file
from .folders import IDENTITIES

ENDING = ".safetensors"
NAME = re.compile(r"\w[\w .()-]*(/\w[\w .()-]*)*")
Content = tuple[dict[str, Tensor], dict[str, str]]


def save_identity(identity: Identity, name: str, overwrite: bool) -> str:
    """Writes the file atomically, and returns its name as Load Identity lists it."""
    tensors, metadata = to_file(identity)
    path = _place(name)
    if path.exists() and not overwrite and not _holds(path, tensors, metadata):
        raise IdentityError(
            f"Another identity is saved as {name!r} already: choose another name, or turn on overwrite to replace it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written = Path(folder) / path.name
        save_file(tensors, written, metadata)
        os.replace(written, path)
    return f"{name.strip()}{ENDING}"


def load_identity(name: str) -> tuple[Identity, str]:
    """Returns the identity and a line about it; raises ModelMissingError or IdentityError."""
    path = folder_paths.get_full_path(IDENTITIES, name)
    if path is None:
        raise ModelMissingError(missing(name))
    tensors, metadata = _read(Path(path), name)
    identity = from_file(name, tensors, metadata)
    source = f"analyzed by {identity.recognizer.name}" if identity.recognizer else "crops alone"
    licence = f"; licence: {metadata['licence']}" if "licence" in metadata else ""
    return identity, f"{len(identity.crops)} face(s), {source}{licence}."


def missing(name: str) -> str:
    return f"The identity {name!r} was not found in models/{IDENTITIES}: save it with Save Identity first."


def _place(name: str) -> Path:
    folder = Path(folder_paths.get_folder_paths(IDENTITIES)[0]).resolve()
    path = (folder / f"{name.strip()}{ENDING}").resolve() if NAME.fullmatch(name.strip()) else folder
    if path == folder or not path.is_relative_to(folder):
        raise IdentityError(
            f"{name!r} is no name for a file in models/{IDENTITIES}: use letters, digits, spaces and . - _ ( ), with / "
            "between folders."
        )
    return path


def _read(path: Path, name: str) -> Content:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise IdentityError(
            f'"{name}" is no readable .safetensors file, or it is cut short: copy it again, or save the identity again.'
        ) from error


def _holds(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> bool:
    try:
        there, told = _read(path, path.name)
    except IdentityError:
        return False
    same = told == metadata and there.keys() == tensors.keys()
    return same and all(torch.equal(there[key], tensors[key]) for key in tensors)

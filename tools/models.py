"""Downloads the real model files: `python dev.py models --set sd15|sdxl|faces`, or names of files."""

import argparse
import hashlib
import os
import shutil
from pathlib import Path

import huggingface_hub
import pooch
from huggingface_hub import constants
from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]  # of the httpx that it uses
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers
from huggingface_hub.utils.logging import set_verbosity_error

from ..core.model_catalog import FILES, HUGGINGFACE, ModelFile, find, pack
from .paths import MODELS, model_roots

WRONG = "{file.name} from {file.url} is not the file that was expected and was not installed: run the command again."


class FetchError(Exception):
    """Why a file was not installed, in one sentence, with what to do."""


def installed(file: ModelFile, roots: list[Path]) -> Path | None:
    """The path of the file below the first of the roots that has it; None if none has."""
    paths = (root / file.folder / file.name for root in roots)
    return next((path for path in paths if path.is_file()), None)


def has_right_size(path: Path, file: ModelFile) -> bool:
    return file.bytes is None or path.stat().st_size == file.bytes


def has_right_hash(path: Path, file: ModelFile) -> bool:
    """Compares the sha256 of the whole file; True if the catalog has no hash."""
    if file.sha256 is None:
        return True
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def has(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def from_hub(file: ModelFile, part: Path) -> None:
    """Downloads into `part`, and continues an earlier download; `hf_hub_download` starts over (its issue 4196)."""
    url = file.url.replace(HUGGINGFACE, constants.ENDPOINT)
    size = huggingface_hub.get_hf_file_metadata(url).size
    if size is not None and has(part) > size:  # not this file's beginning
        part.unlink()
    with part.open("ab") as stream:
        have, headers = stream.tell(), build_hf_headers()
        http_get(url, stream, resume_size=have, headers=headers, expected_size=size, displayed_filename=file.name)


def from_elsewhere(file: ModelFile, part: Path) -> None:
    part.unlink(missing_ok=True)  # without a hash, pooch would take it for the whole file
    try:
        pooch.retrieve(file.url, file.sha256, part.name, part.parent, progressbar=True)
    except ValueError as error:
        raise FetchError(WRONG.format(file=file)) from error


def why(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = f"HTTP status {status}" if status else getattr(error, "strerror", None)
    return said or f"no network, {type(error).__name__}"


def check_space(file: ModelFile, part: Path) -> None:
    needed = (file.bytes or 0) - has(part)
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise FetchError(
            f"{file.name} needs {needed / 1e9:.2f} GB more and {part.parent} has {free / 1e9:.2f} GB free: "
            "free some space, or choose another folder with --into."
        )


def fetch(file: ModelFile, into: Path) -> Path:
    """Downloads, verifies and installs one file below `into`; returns its path. Raises FetchError."""
    target = into / file.folder / file.name
    part = target.with_name(f"{file.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    check_space(file, part)
    try:
        (from_hub if file.url.startswith(f"{HUGGINGFACE}/") else from_elsewhere)(file, part)
    except (OSError, HTTPError) as error:
        kept = "; the part downloaded so far is kept, and the next try goes on from there" if has(part) else ""
        by_hand = f"download {file.url} by other means and put it into {part.parent} as {file.name}"
        raise FetchError(f"{file.name} could not be fetched ({why(error)}): {by_hand}{kept}.") from error
    if not has_right_size(part, file) or not has_right_hash(part, file):
        part.unlink()
        raise FetchError(WRONG.format(file=file))
    os.replace(part, target)
    return target


def obtain(file: ModelFile, into: Path, roots: list[Path]) -> str:
    """Downloads the file unless one of the roots has it; returns a line for the user. Raises FetchError."""
    path = installed(file, roots)
    if path is None:
        path = fetch(file, into)
        checked = "sha256 verified" if file.sha256 else "NOT verified: no sha256 is published for it"
        return f"{file.name}: {path} ({checked}; licence: {file.licence})"
    if not has_right_size(path, file) or not has_right_hash(path, file):
        raise FetchError(f"{path} is not the published {file.name}: move it away and run the command again.")
    return f"{file.name}: already there, {path}"


def attempt(file: ModelFile, into: Path, roots: list[Path]) -> int:
    """Obtains one file and prints the outcome; returns 0, or 1 for a failure."""
    try:
        print(obtain(file, into, roots), flush=True)
    except FetchError as error:
        print(error, flush=True)
        return 1
    return 0


def table(roots: list[Path]) -> str:
    rows = [("file", "size", "sets", "commercial use", "present", "licence")]
    for file in FILES:
        use, present = ("yes" if file.commercial else "no"), ("yes" if installed(file, roots) else "no")
        rows.append((file.name, file.size, " ".join(file.sets) or "-", use, present, file.licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def chosen(names: list[str], family: str | None) -> list[ModelFile]:
    files = [file for file in FILES if family in file.sets]
    for name in names:
        known = find(name)
        files += [known] if known else pack(name)
        if not known and not pack(name):
            raise FetchError(f"The catalog has no file {name!r}: `python dev.py models --list` shows all of them.")
    return list(dict.fromkeys(files))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python dev.py models", description="Downloads the real model files.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="files to fetch, or an InsightFace pack")
    parser.add_argument("--set", choices=("sd15", "sdxl", "faces"), help="all that the workflows of a family need")
    parser.add_argument("--into", type=Path, help=f"a folder in ComfyUI's models layout, instead of {MODELS}")
    parser.add_argument("--list", action="store_true", help="show every file, its size and licence, and fetch nothing")
    arguments = parser.parse_args()
    into: Path = arguments.into or MODELS
    roots = [into] if arguments.into else model_roots()
    if arguments.list or not (arguments.names or arguments.set):
        print(table(roots))
        return 0
    constants.HF_HUB_DISABLE_TELEMETRY = True
    set_verbosity_error()  # it would ask for a token, which no file here needs
    try:
        files = chosen(arguments.names, arguments.set)
    except FetchError as error:
        parser.error(str(error))
    return max([attempt(file, into, roots) for file in files])


if __name__ == "__main__":
    raise SystemExit(main())

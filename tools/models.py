"""Fetches real model files, when asked: `python dev.py models --set sd15|sdxl|faces`, or names of files."""

import argparse
import hashlib
import os
import shutil
from pathlib import Path

import requests
from tqdm import tqdm

from ..core.catalog import FILES, ModelFile, find, pack
from .paths import MODELS, model_roots

ATTEMPTS = 5  # each resumes where the last one broke off
CHUNK = 1 << 20
TIMEOUT = (10, 60)  # seconds to connect, and between two chunks
BROKEN_OFF = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class FetchError(Exception):
    """Why a file was not installed, in one sentence, with what to do."""


def installed(file: ModelFile, roots: list[Path]) -> Path | None:
    """Where the file is, below the first of the roots that has it."""
    paths = (root / file.folder / file.name for root in roots)
    return next((path for path in paths if path.is_file()), None)


def has_right_size(path: Path, file: ModelFile) -> bool:
    return file.bytes is None or path.stat().st_size == file.bytes


def has_right_hash(path: Path, file: ModelFile) -> bool:
    """Reads the whole file; True where the catalog knows no hash."""
    if file.sha256 is None:
        return True
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _append(part: Path, file: ModelFile) -> None:
    """One request for what `part` lacks; a server that ignores the range sends all, and all is written anew."""
    have = part.stat().st_size if part.exists() else 0
    if have == file.bytes:
        return
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    with requests.get(file.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial
        have = have if resumed else 0
        total = have + int(response.headers.get("Content-Length", 0)) or file.bytes
        with (
            part.open("ab" if resumed else "wb") as stream,
            tqdm(desc=file.name, initial=have, total=total, unit="B", unit_scale=True) as progress,
        ):
            for chunk in response.iter_content(CHUNK):
                stream.write(chunk)
                progress.update(len(chunk))


def download(file: ModelFile, part: Path) -> None:
    """Fills `part`, which may hold the beginning of an earlier try."""
    by_hand = f"download {file.url} by other means and put it into {part.parent} as {file.name}"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _append(part, file)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "unknown"
            if status == requests.codes.requested_range_not_satisfiable:  # what is there is not this file's beginning
                part.unlink()
                continue
            raise FetchError(f"{file.name} was refused with HTTP status {status}: {by_hand}.") from error
        except BROKEN_OFF as error:
            began = part.exists()
            if attempt == ATTEMPTS or not began:
                kept = "; what has come so far is kept, and the next try goes on from there" if began else ""
                raise FetchError(
                    f"{file.name} could not be fetched, for lack of a network: {by_hand}{kept}."
                ) from error


def check_space(file: ModelFile, part: Path) -> None:
    needed = (file.bytes or 0) - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise FetchError(
            f"{file.name} needs {needed / 1e9:.2f} GB more and {part.parent} has {free / 1e9:.2f} GB free: "
            "make room, or choose another folder with --into."
        )


def fetch(file: ModelFile, into: Path) -> Path:
    """Downloads, verifies and installs one file below `into`; a file of the wrong content is never installed."""
    target = into / file.folder / file.name
    part = target.with_name(f"{file.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    check_space(file, part)
    download(file, part)
    if not has_right_size(part, file) or not has_right_hash(part, file):
        part.unlink()
        raise FetchError(f"{file.name} from {file.url} is not the file that was expected and was not installed: retry.")
    os.replace(part, target)
    return target


def obtain(file: ModelFile, into: Path, roots: list[Path]) -> str:
    """The file, fetched unless one of the roots has it; returns a line for the user."""
    path = installed(file, roots)
    if path is None:
        path = fetch(file, into)
        checked = "sha256 verified" if file.sha256 else "NOT verified: no sha256 of it is published"
        return f"{file.name}: {path} ({checked}; licence: {file.licence})"
    if not has_right_size(path, file) or not has_right_hash(path, file):
        raise FetchError(f"{path} is not the published {file.name}: move it away and run this again.")
    return f"{file.name}: already there, {path}"


def attempt(file: ModelFile, into: Path, roots: list[Path]) -> int:
    """Says what came of it; 1 is a failure, after which the other files are still tried."""
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
            raise FetchError(
                f"The catalog has no file {name!r}: `python dev.py models --list` shows those that it has."
            )
    return list(dict.fromkeys(files))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python dev.py models", description="Fetches real model files.")
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
    try:
        files = chosen(arguments.names, arguments.set)
    except FetchError as error:
        parser.error(str(error))
    return max([attempt(file, into, roots) for file in files])


if __name__ == "__main__":
    raise SystemExit(main())

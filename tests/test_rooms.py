"""Each folder imports only what its room allows (DESIGN: Rooms)."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMFYUI = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "node_helpers", "server"}
# What a room may import beside the standard library and its own pack.
ALLOWED = {
    "core": {"torch", "numpy", "PIL", "onnx", "google", "onnxruntime", "insightface", "cv2", "rembg", "pymatting"},
    "nodes": {"torch", "numpy", "PIL", "safetensors", *COMFYUI},
    "api": {
        *("aiohttp", "annotated_types", "cryptography", "fastapi", "limits", "obstore", "PIL", "prometheus_client"),
        *("pydantic", "pydantic_core", "pydantic_settings", "sqlalchemy", "starlette", "uvicorn", "yarl"),
    },
    "demo_model": {"torch", "numpy", "PIL", "safetensors", "onnx", "transformers", "openvino", "onnxruntime"},
}
# Pack rooms that a room may reach by relative imports; data flows one way.
REACHES = {"core": {"core"}, "nodes": {"core", "nodes"}, "api": {"api"}, "demo_model": {"core", "demo_model", "tools"}}
# Folders inside a room, from the bottom up: a folder imports itself, the files beside the folders, and what is named.
FOLDERS: dict[str, dict[str, set[str]]] = {
    "core": {
        "faces": set(),
        "identity": {"faces"},
        "ip_adapter": {"faces", "identity"},
        "openpose": set(),
        "detail": {"faces", "openpose"},
        "background": set(),
        "safety": set(),
    },
    "nodes": {
        "comfy": set(),
    },
    "api": {
        "base": set(),
        "comfyui": {"base"},
        "database": {"base"},
        "security": {"base"},
        "media": {"base", "comfyui", "security"},
        "jobs": {"base", "comfyui", "database", "media", "security"},
        "http": {"base", "comfyui", "database", "jobs", "media", "security"},
        "vendors": {"base", "database", "http", "jobs", "media", "security"},
    },
}
# The files beside core's folders are its bottom; those of the other rooms are the top, which no folder imports.
BOTTOM_FILES = {"core"}
# The Comfy Registry refuses these in what it publishes.
FORBIDDEN = {"subprocess", "importlib", "urllib", "http", "socket", "requests", "sqlite3", "ctypes"}
FILES = [(room, path) for room in ALLOWED for path in sorted((ROOT / room).rglob("*.py"))]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(level, name) of every import: level 0 is absolute."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.level, node.module
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, alias.name) for alias in node.names)


@pytest.mark.parametrize(("room", "path"), FILES, ids=[str(path.relative_to(ROOT)) for _, path in FILES])
def test_room_imports_only_what_belongs_to_it(room: str, path: Path) -> None:
    for level, name in imports(path):
        top = name.split(".")[0]
        if level == 0:
            assert top in ALLOWED[room] or top in sys.stdlib_module_names, f"{path} imports {name}"
            assert room == "api" or top not in FORBIDDEN, f"{path} imports {name}, which no published pack may"
        else:
            depth = len(path.relative_to(ROOT).parts) - level
            reached = path.relative_to(ROOT).parts[0] if depth >= 1 else top
            assert reached in REACHES[room], f"{path} reaches into {name}"


def targets(path: Path) -> Iterator[tuple[str, ...]]:
    """The parts of every file or folder of the pack that a file imports, from the root."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = *path.relative_to(ROOT).parts[: -node.level], *filter(None, (node.module or "").split("."))
            yield from ((*base, alias.name) for alias in node.names)


@pytest.mark.parametrize(("room", "path"), [each for each in FILES if each[0] in FOLDERS], ids=lambda each: str(each))
def test_folder_imports_only_what_lies_below_it(room: str, path: Path) -> None:
    folder, folders = path.relative_to(ROOT).parts[1], FOLDERS[room]
    is_file = folder not in folders
    for top, *rest in targets(path):
        if top != room or not rest:
            continue
        if is_file:
            assert room not in BOTTOM_FILES or rest[0] not in folders, f"{path} imports {rest}"
        else:
            below = folders[folder] | {folder}
            assert rest[0] in below if rest[0] in folders else room in BOTTOM_FILES, f"{path} imports {rest}"


def test_every_folder_has_its_line() -> None:
    for room, folders in FOLDERS.items():
        found = {path.name for path in (ROOT / room).iterdir() if path.is_dir() and (path / "__init__.py").exists()}
        assert found == set(folders)


def test_tools_do_not_import_the_demo_model() -> None:
    for path in (ROOT / "tools").rglob("*.py"):
        assert not any(parts[0] == "demo_model" for parts in targets(path)), path


@pytest.mark.parametrize("path", [ROOT / "__init__.py", *(path for room, path in FILES if room != "api")], ids=str)
def test_published_code_reads_no_environment(path: Path) -> None:
    names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert not names & {"environ", "getenv", "system", "popen"}


def test_importing_the_pack_imports_nothing_heavy() -> None:
    assert {name for level, name in imports(ROOT / "__init__.py") if level == 0} == set()

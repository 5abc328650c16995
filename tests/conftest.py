"""Loads the checkout as the package `consistent_face`, whatever its folder is called.

ComfyUI has a top-level module `nodes` too, so the checkout itself never goes on the path.
"""

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _load_pack() -> None:
    spec = importlib.util.spec_from_file_location(
        "consistent_face", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None and spec.loader is not None
    pack = importlib.util.module_from_spec(spec)
    sys.modules["consistent_face"] = pack
    spec.loader.exec_module(pack)


_load_pack()

from consistent_face.tools import host  # noqa: E402
from consistent_face.tools.paths import OFFLINE  # noqa: E402
from consistent_face.tools.server import ComfyServer, comfyui  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the campaigns")
    parser.addoption("--update", action="store_true", help="write snapshots and golden pictures anew")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="a campaign: runs with --long"))


@pytest.fixture
def ui(name: str) -> dict:
    """The workflow `name` as the template browser opens it."""
    return json.loads((ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def small_models() -> None:
    """The small offline models, made once a machine."""
    from consistent_face.tools import offline

    offline.make()


@pytest.fixture(scope="session")
def face_pack(small_models: None) -> Path:
    """The folder of the small InsightFace pack."""
    return OFFLINE / "insightface" / "models" / "vectron"


@pytest.fixture(scope="session")
def bad_adapter() -> str:
    """An adapter file that is a text file, among the model files of the fixture `comfy`."""
    return "not_an_adapter.bin"


def _comfyui(folder: Path, *arguments: str) -> AbstractContextManager[ComfyServer]:
    """A ComfyUI of its own input, output, temp and user folders."""
    directories = []
    for name in ("input", "output", "temp", "user"):
        (folder / name).mkdir(parents=True)
        directories += [f"--{name}-directory", str(folder / name)]
    return comfyui(folder / "comfyui.log", ["--disable-api-nodes", *directories, *arguments])


@pytest.fixture(scope="session")
def comfy(small_models: None, bad_adapter: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A running ComfyUI 0.30.0 with the pack and the small models."""
    folder = tmp_path_factory.mktemp("comfyui")
    (folder / "ipadapter").mkdir()
    (folder / "ipadapter" / bad_adapter).write_text("This is not an adapter.\n")
    (folder / "more_models.yaml").write_text(f"tests:\n  base_path: {folder.as_posix()}\n  ipadapter: ipadapter\n")
    with _comfyui(folder, "--extra-model-paths-config", str(folder / "more_models.yaml")) as server:
        yield server


@pytest.fixture(scope="session")
def comfy_new_front(small_models: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """The same, with the newest front end that the templates are tested on."""
    front = host.unpack_front_end()
    with _comfyui(tmp_path_factory.mktemp("comfyui-new-front"), "--front-end-root", str(front)) as server:
        yield server

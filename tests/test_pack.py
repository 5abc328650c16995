"""The pack inside a real ComfyUI process: it loads, and what it promised still holds."""

import json
import urllib.request
from pathlib import Path

import pytest

from consistent_face.tools.server import ComfyServer

SNAPSHOT = Path(__file__).parent / "object_info.json"


def described(server: ComfyServer) -> dict[str, dict]:
    """Our nodes as /object_info tells them; the files of this machine are left out of the combos."""
    with urllib.request.urlopen(f"{server.url}/object_info") as answer:
        everything = json.load(answer)
    ours = {name: node for name, node in everything.items() if name.startswith("ConsistentFace_")}
    for node in ours.values():
        node.pop("python_module")  # names the folder that the pack lies in
        for inputs in node["input"].values():
            for name, declared in inputs.items():
                inputs[name] = without_files(declared)
    return ours


def without_files(declared: list) -> list:
    """An input's declaration; a combo that lists files keeps only those that are there on every machine."""
    kind, options = declared[0], dict(declared[1]) if len(declared) > 1 else {}
    files = [choice for choice in options.get("options", []) if isinstance(choice, str) and "." in choice]
    if options.get("image_upload") or files:
        options["options"] = [choice for choice in options["options"] if "." not in choice]
        options.pop("default", None)
    return [kind, options]


def test_pack_loads_without_complaint(comfy: ComfyServer) -> None:
    said = comfy.log.read_text(errors="replace")
    assert "IMPORT FAILED" not in said
    assert "consistent-face" in said  # in the list of import times


def test_nothing_published_changed(comfy: ComfyServer, request: pytest.FixtureRequest) -> None:
    """Node ids, input names, combo values, defaults and their order are a promise (`--update` accepts additions)."""
    found = described(comfy)
    if request.config.getoption("--update"):
        SNAPSHOT.write_text(json.dumps(found, indent=1, sort_keys=False) + "\n")
    assert found == json.loads(SNAPSHOT.read_text())


def test_every_node_is_documented(comfy: ComfyServer) -> None:
    docs = Path(__file__).parent.parent / "web" / "docs"
    for name, node in described(comfy).items():
        assert node["description"], f"{name} has no description"
        assert (docs / f"{name}.md").exists(), f"{name} has no help page"

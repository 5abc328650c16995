"""Each workflow's two forms say the same, and the form for the template browser is complete and tidy."""

import json
import re
import urllib.request
from itertools import combinations
from pathlib import Path
from uuid import UUID

import pytest

from consistent_face.api.comfyui import workflow
from consistent_face.core import model_catalog
from consistent_face.tools.server import ComfyServer

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
# Widgets after which the front end keeps a value of its own: what to do with the seed, the upload button.
TWO_VALUES = {"seed", "image"}
TITLE_BAR, GAP = 30, 10


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def api(name: str) -> workflow.Graph:
    return workflow.load(name)


def nodes(ui: dict) -> list[dict]:
    return [node for node in ui["nodes"] if node["type"] != "MarkdownNote"]


def widgets(node: dict) -> dict[str, object]:
    """Widget values by input; in the file they are positional."""
    values = iter(node["widgets_values"])
    found = {}
    for slot in node["inputs"]:
        if "widget" in slot:
            found[slot["name"]] = next(values)
            if slot["name"] in TWO_VALUES:
                next(values)
    assert list(values) == []
    return found


def links(ui: dict, node: dict) -> dict[str, list]:
    by_id = {link[0]: link for link in ui["links"]}
    sources = {slot["name"]: by_id[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
    for slot, link in enumerate(sources.values()):
        assert link[3] == node["id"], (node["title"], slot)
    return {name: [str(link[1]), link[2]] for name, link in sources.items()}


def test_every_workflow_has_both_forms_a_picture_and_parameters(name: str) -> None:
    assert (ROOT / "workflows" / f"{name}.jpg").read_bytes().startswith(b"\xff\xd8")
    assert (ROOT / "workflows" / "api" / f"{name}.json").exists()
    assert name in workflow.PARAMETERS


def test_both_forms_say_the_same(ui: dict, api: workflow.Graph) -> None:
    said = {
        str(node["id"]): {
            "inputs": widgets(node) | links(ui, node),
            "class_type": node["type"],
            "_meta": {"title": node["title"]},
        }
        for node in nodes(ui)
    }
    assert said == api


def test_titles_are_unique(api: workflow.Graph) -> None:
    titles = [node["_meta"]["title"] for node in api.values()]
    assert len(titles) == len(set(titles))


def test_every_parameter_has_its_node(name: str, api: workflow.Graph) -> None:
    inputs = {(node["_meta"]["title"], key) for node in api.values() for key in node["inputs"]}
    assert {(slot.title, slot.input) for slot in workflow.PARAMETERS[name].values()} <= inputs
    assert ("Result", "filename_prefix") in inputs


def test_the_file_is_what_the_front_end_expects(ui: dict) -> None:
    assert ui["version"] == 0.4
    assert ui["id"] == str(UUID(ui["id"]))
    assert ui["last_node_id"] == max(node["id"] for node in ui["nodes"])
    assert ui["last_link_id"] == max(link[0] for link in ui["links"])
    for link, source, slot, target, place, kind in ui["links"]:
        ends = {node["id"]: node for node in ui["nodes"]}
        assert link in ends[source]["outputs"][slot]["links"]
        assert ends[target]["inputs"][place]["link"] == link
        assert ends[source]["outputs"][slot]["type"] == kind
        assert ends[target]["inputs"][place]["type"] in (kind, "*")


def test_nodes_name_their_pack_and_version(ui: dict) -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    for node in nodes(ui):
        properties = node["properties"]
        assert properties["Node name for S&R"] == node["type"]
        ours = node["type"].startswith("ConsistentFace_")
        assert properties["cnr_id"] == ("consistent-face" if ours else "comfy-core")
        assert not ours or properties["ver"] == version[1]


def test_loaders_and_note_name_every_model_file_as_the_catalog_does(ui: dict) -> None:
    note = next(node for node in ui["nodes"] if node["type"] == "MarkdownNote")["widgets_values"][0]
    named = 0
    for node in nodes(ui):
        values = [value for value in widgets(node).values() if isinstance(value, str)]
        files = [file for value in values for file in (model_catalog.find(value), *model_catalog.pack(value)) if file]
        declared = [
            {"name": file.name, "url": file.url, "directory": file.folder, "hash": file.sha256, "hash_type": "SHA256"}
            for file in files
        ]
        assert node["properties"].get("models", []) == declared, node["title"]
        for file in files:
            assert f"[{file.name}]({file.url})" in note and f"`{file.folder}`" in note
        named += len(files)
    assert named >= 5


def test_seeds_survive_javascript(api: workflow.Graph) -> None:
    seeds = [node["inputs"]["seed"] for node in api.values() if "seed" in node["inputs"]]
    assert seeds and all(0 <= seed < 2**53 for seed in seeds)


def test_nodes_stand_apart_and_inside_their_groups(ui: dict) -> None:
    boxes = {node["title"]: (*node["pos"], *node["size"]) for node in ui["nodes"]}
    for (one, (x, y, width, height)), (other, (x2, y2, width2, height2)) in combinations(boxes.items(), 2):
        beside = x + width + GAP <= x2 or x2 + width2 + GAP <= x
        below = y + height + GAP <= y2 - TITLE_BAR or y2 + height2 + GAP <= y - TITLE_BAR
        assert beside or below, f"{one} and {other} overlap"
    for node in nodes(ui):
        x, y, width, height = boxes[node["title"]]
        homes = [
            group["title"]
            for group in ui["groups"]
            if group["bounding"][0] < x
            and group["bounding"][1] < y - TITLE_BAR
            and x + width < group["bounding"][0] + group["bounding"][2]
            and y + height < group["bounding"][1] + group["bounding"][3]
        ]
        assert len(homes) == 1, f"{node['title']} stands in {homes}"


def test_every_class_input_and_output_exists(ui: dict, comfy: ComfyServer) -> None:
    with urllib.request.urlopen(f"{comfy.url}/object_info") as answer:
        known = json.load(answer)
    for node in nodes(ui):
        schema = known[node["type"]]
        order = [*schema["input_order"].get("required", []), *schema["input_order"].get("optional", [])]
        assert {slot["name"].split(".")[0] for slot in node["inputs"]} == set(order), node["title"]
        assert [name for name in order if name in widgets(node)] == list(widgets(node)), node["title"]
        assert [slot["type"] for slot in node["outputs"]] == schema["output"], node["title"]

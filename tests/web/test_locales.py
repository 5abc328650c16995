"""The names that people read: each locale has exactly our nodes, inputs and outputs, and the editor shows them."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from consistent_face.tests.test_pack import described
from consistent_face.tests.web.editor import editor as opened
from consistent_face.tools.server import ComfyServer

ROOT = Path(__file__).resolve().parent.parent.parent
LANGUAGES = ["en", "zh"]
CHINESE = re.compile("[\u4e00-\u9fff]")
# The names of these are the same in Chinese.
WESTERN = {"VAE", "CFG", "ControlNet", "FaceID"}
SHOWN = """() => {
    const node = LiteGraph.createNode('ConsistentFace_RefineFaces')
    const joined = LiteGraph.createNode('ConsistentFace_BuildIdentity')
    app.graph.add(node)
    app.graph.add(joined)
    return {
        title: node.title,
        category: node.constructor.category,
        widget: node.widgets.find(widget => widget.name === 'min_size').label,
        socket: node.inputs.find(input => input.name === 'pose_sheet').localized_name,
        output: node.outputs[1].localized_name,
        grown: joined.inputs.find(input => input.name === 'faces.faces0').localized_name,
    }
}"""
NAMED = {
    "en": {
        "title": "Refine Faces",
        "category": "consistent face/refine",
        "widget": "Minimum size",
        "socket": "Pose sheet",
        "output": "Preview",
        "grown": "Faces 1",
    },
    "zh": {
        "title": "细化人脸",
        "category": "人脸一致/细化",
        "widget": "最小尺寸",
        "socket": "姿势图",
        "output": "预览",
        "grown": "人脸 1",
    },
}


def written(language: str, name: str = "nodeDefs") -> dict[str, Any]:
    return json.loads((ROOT / "locales" / language / f"{name}.json").read_text(encoding="utf-8"))


def texts(of: dict[str, Any]) -> Iterator[str]:
    for value in of.values():
        if isinstance(value, dict):
            yield from texts(value)
        else:
            yield value


def input_keys(node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The inputs' options by the front end's keys: a growing input also has a key for each of its slots."""
    keys = {}
    for part in ("required", "optional"):
        for name, declared in node["input"].get(part, {}).items():
            keys[name] = declared[1]
            if template := declared[1].get("template"):
                keys |= {f"{name}_{template['prefix']}{slot}": {} for slot in range(template["max"])}
    return keys


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_locale_names_exactly_what_the_nodes_have(comfy: ComfyServer, language: str) -> None:
    nodes, named = described(comfy), written(language)
    assert named.keys() == nodes.keys()
    for node, own in nodes.items():
        assert named[node]["inputs"].keys() == input_keys(own).keys(), node
        assert list(named[node]["outputs"]) == [str(number) for number in range(len(own["output"]))], node
        assert all(each["name"] for part in ("inputs", "outputs") for each in named[node][part].values()), node


def test_english_keeps_the_nodes_own_names_and_tells_nothing_twice(comfy: ComfyServer) -> None:
    for node, own in described(comfy).items():
        told = written("en")[node]
        assert told["display_name"] == own["display_name"]
        assert told.keys() == {"display_name", "inputs", "outputs"}  # descriptions and tooltips are the nodes' own
        assert all(each.keys() == {"name"} for part in ("inputs", "outputs") for each in told[part].values()), node


def test_chinese_translates_each_description_and_tooltip(comfy: ComfyServer) -> None:
    for node, own in described(comfy).items():
        told = written("zh")[node]
        assert told["description"]
        explained = {name for name, each in told["inputs"].items() if "tooltip" in each}
        assert explained == {name for name, options in input_keys(own).items() if options.get("tooltip")}, node
        tooltips = own.get("output_tooltips") or []
        explained = {number for number, each in told["outputs"].items() if "tooltip" in each}
        assert explained == {str(number) for number, tooltip in enumerate(tooltips) if tooltip}, node


def test_chinese_is_chinese_and_names_each_category(comfy: ComfyServer) -> None:
    categories = {word for node in described(comfy).values() for word in node["category"].split("/")}
    named = written("zh", "main")["nodeCategories"]
    assert named.keys() == categories
    assert [text for text in texts(written("zh") | named) if not CHINESE.search(text) and text not in WESTERN] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_holds_what_the_front_end_takes_for_its_own_marks(language: str) -> None:
    assert [text for text in texts(written(language)) if set(text) & set("{}@|")] == []


def test_comfyui_serves_the_locales(comfy: ComfyServer) -> None:
    with urllib.request.urlopen(f"{comfy.url}/i18n") as answer:
        served = json.load(answer)
    for language in LANGUAGES:
        assert served[language]["nodeDefs"].items() >= written(language).items()
    assert served["zh"]["nodeCategories"] == written("zh", "main")["nodeCategories"]


@pytest.mark.parametrize("front", ["comfy", "comfy_new_front"])
def test_the_editor_shows_the_names(browser: Browser, front: str, request: pytest.FixtureRequest) -> None:
    shown = {}
    for language, tag in (("en", "en-US"), ("zh", "zh-CN")):  # the front end starts in the browser's language
        with opened(browser, request.getfixturevalue(front), tag) as editor:
            shown[language] = editor.page.evaluate(SHOWN)
    assert shown == NAMED


def test_the_menu_entries_are_named_in_chinese() -> None:
    source = (ROOT / "web" / "consistentFace.js").read_text(encoding="utf-8")
    entries = {name.replace(".", "_") for name in re.findall(r'id: "(consistentFace\.\w+)"', source)}
    named = written("zh", "commands")
    assert set(named) == entries and all(CHINESE.search(text) for text in texts(named))

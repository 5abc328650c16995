"""Each template as an App: the documented endpoint's fields as a form, filled in and run by a person."""

import re

import pytest
from playwright.sync_api import Locator, expect

from consistent_face.api.comfyui import workflow as graph
from consistent_face.api.vendors import examples, modelslab, qolaba, segmind
from consistent_face.tests.web.editor import NAMES, PHOTOS, RUN_SECONDS, Editor

# Of each workflow: its endpoint, the body of the vendor's example, and which parameter takes which field.
ENDPOINTS = {
    "face_consistency": (
        "/getImagetoImage",
        examples.QOLABA_EXAMPLES["face_consistency"],
        {**qolaba.MODELS["face_consistency"][1], "image": "photo"},
    ),
    "face_avatar": (
        "/getImageToImage",
        examples.QOLABA_EXAMPLES["face_avatar"],
        {**qolaba.MODELS["face_avatar"][1], "image": "photo"},
    ),
    "face_generator": (
        f"{modelslab.answers.PREFIX}/make_gen",
        examples.MODELSLAB_EXAMPLES["make_gen"],
        {**modelslab.make_gen.PARAMETERS, "face_image": "photo"},
    ),
    "consistent_character": (
        f"/v1/{segmind.SLUG}",
        examples.SEGMIND_EXAMPLE,
        {**segmind.PARAMETERS, **segmind.PHOTOS},
    ),
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_form_has_the_documented_fields_in_their_order(name: str, ui: dict) -> None:
    path, example, parameters = ENDPOINTS[name]
    documented = [field for field in example if field in parameters]
    if name == "consistent_character":  # ours, named as in Segmind's later versions
        documented.insert(documented.index("image") + 1, "ip_image")
    slots = [graph.PARAMETERS[name][parameters[field]] for field in documented]
    asked = ui["extra"]["consistentFace"]
    assert asked == {
        "endpoint": path,
        "fields": {f: [s.title, s.input] for f, s in zip(documented, slots, strict=True)},
    }
    assert list(asked["fields"]) == documented
    ids = {node["title"]: node["id"] for node in ui["nodes"]}
    shown = {"inputs": [[ids[slot.title], slot.input] for slot in slots], "outputs": [ids["Result"]]}
    assert ui["extra"]["linearData"] == shown and ui["extra"]["linearMode"] is False


def labels(ui: dict) -> list[str]:
    slots = {(node["id"], slot["name"]): slot for node in ui["nodes"] for slot in node["inputs"]}
    return [slots[(node, name)]["label"] for node, name in ui["extra"]["linearData"]["inputs"]]


def test_labels_are_plain_words(ui: dict) -> None:
    assert all(re.fullmatch("[A-Z][A-Za-z():, ]+", label) for label in labels(ui))
    assert len(set(labels(ui))) == len(labels(ui))


def test_a_template_opens_as_a_form(editor: Editor, name: str, ui: dict) -> None:
    form = editor.open_app(name)
    expect(form.get_by_test_id("builder-widget-label")).to_have_text(labels(ui))
    assert editor.complaints == []


def field(form: Locator, label: str) -> Locator:
    return form.get_by_test_id("app-mode-widget-item").filter(has=form.page.get_by_text(label, exact=True))


# A run takes a while: in the newer front end one will do, unless --long.
RUNS = [
    *(("comfy", name) for name in NAMES),
    ("comfy_new_front", NAMES[0]),
    *(pytest.param("comfy_new_front", name, marks=pytest.mark.long) for name in NAMES[1:]),
]


# What nodes say while they work: the editor writes it on the node, the newer one until the run ends.
LISTEN = """() => {
    window.said = []
    app.api.addEventListener('progress_text', ({ detail }) => {
        window.said.push([app.graph.getNodeById(detail.nodeId).title, detail.text])
    })
}"""


@pytest.mark.parametrize(("editor", "name"), RUNS, indirect=True)
def test_a_form_is_filled_in_and_run(editor: Editor, name: str) -> None:
    form = editor.open_app(name)
    editor.use_small_models(name)
    photo = "Face photo (optional)" if name == "consistent_character" else "Face photo"
    field(form, photo).get_by_label("Upload").set_input_files(PHOTOS / "grace_hopper.jpg")
    expect(field(form, photo)).to_contain_text("grace_hopper.jpg")
    field(form, "Prompt").get_by_role("textbox").fill("a portrait in the rain")
    prompt = {node["_meta"]["title"]: node["inputs"] for node in editor.prompt().values()}
    assert prompt["Photo"]["image"] == "grace_hopper.jpg"
    assert "a portrait in the rain" in prompt["Prompt"].values()
    editor.page.evaluate(LISTEN)
    editor.page.get_by_role("button", name="Run", exact=True).last.click()
    result = editor.page.locator(f"img[src*='{name}_']").first
    result.wait_for(timeout=RUN_SECONDS * 1000)
    editor.page.wait_for_function("image => image.complete && image.naturalWidth", arg=result.element_handle())
    editor.wait_for_widget("Result", "report")
    assert "Picture 1: " in str(editor.widget("Result", "report"))  # of Score, on the node that shows the picture
    if name == "consistent_character":
        shows_its_stages(editor)
    assert editor.complaints == []


def shows_its_stages(editor: Editor) -> None:
    said = editor.page.evaluate("window.said")
    assert ["Upscale", "Drawing tile 1 of 9"] in said and ["Upscale", "Drawing tile 9 of 9"] in said
    assert ["Refine", "Drawing faces 1 to 2 of 2"] in said
    refine = "app.graph.nodes.find(node => node.title === 'Refine')"
    pairs = f"{refine}.widgets.find(widget => widget.name === 'before_after').element.querySelectorAll('img')"
    sources = editor.page.evaluate(f"[...{pairs}].map(image => image.src)")
    assert sources and len(sources) % 2 == 0 and len(set(sources)) == len(sources), "each face before and after"

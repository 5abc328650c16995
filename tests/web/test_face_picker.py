"""The face picker on Analyze Faces: faces are found by themselves, chosen by a click, and become the identity."""

import json
import re
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from consistent_face.tests.web.editor import PACK, PHOTOS, Editor

FACES = "ConsistentFace_AnalyzeFaces"


@pytest.fixture
def couple(tmp_path: Path) -> Path:
    """Two people beside each other; the left one is a little larger."""
    left, right = (Image.open(PHOTOS / f"{stem}_v0.jpg").resize((512, 512)) for stem in ("person0", "person1"))
    picture = Image.new("RGB", (1024, 512))
    picture.paste(left, (0, 0))
    picture.paste(right.resize((480, 480)), (512, 0))
    picture.save(tmp_path / "couple.jpg", quality=95)
    return tmp_path / "couple.jpg"


@pytest.fixture
def picker(editor: Editor, couple: Path) -> Locator:
    """That of Face Consistency, with the couple's photo."""
    name = editor.upload(couple)
    editor.open_template("face_consistency")
    editor.use_small_models("face_consistency")
    editor.set(("Photo", "image", name))
    return editor.page.locator(".consistent-face-picker")


def find(picker: Locator) -> Locator:
    """The faces, found without running the workflow."""
    picker.get_by_role("button", name="Find faces").click()
    faces = picker.locator(".face")
    expect(faces).to_have_count(2, timeout=60_000)
    return faces


def test_faces_are_found_at_once_and_chosen_by_a_click(editor: Editor, picker: Locator) -> None:
    faces = find(picker)
    assert editor.widget("Result", "report") is None, "the workflow was not run"
    expect(faces.nth(0)).to_have_attribute("aria-pressed", "true")  # the largest
    expect(faces.nth(0)).to_have_attribute("title", re.compile(r"^Face 1: \d+ pixels, score 0\.\d\d$"))
    expect(faces.nth(0)).to_have_css("position", "absolute")  # our style sheet is there
    faces.nth(1).click()
    assert (editor.widget("Faces", "select"), editor.widget("Faces", "index")) == ("index", "2")
    expect(faces.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(faces.nth(0)).to_have_attribute("aria-pressed", "false")
    faces.nth(0).click(modifiers=["Shift"])
    assert editor.widget("Faces", "index") == "1, 2"
    saved = editor.page.evaluate("app.graph.nodes.find(node => node.title === 'Faces').serialize().widgets_values")
    assert saved == ["index", "1, 2", 64, 0.5, "error"], "the picture of a face is not saved with the workflow"
    assert editor.complaints == []


def test_the_second_face_gives_another_identity(editor: Editor, picker: Locator) -> None:
    """Of the whole graph, only what leads to the identity is run, as the editor runs a part of it."""
    reports = []
    for face in find(picker).all():
        face.click()
        editor.page.evaluate(
            """async () => {
                const score = app.graph.nodes.find(node => node.title === 'Score').id
                const prompt = await app.graphToPrompt()
                const photo = Object.keys(prompt.output).find(id => prompt.output[id]._meta.title === 'Fit Photo')
                prompt.output[score].inputs.image = [photo, 0]
                await app.api.queuePrompt(0, prompt, { partialExecutionTargets: [String(score)] })
            }"""
        )
        editor.wait_for_widget("Score", "report")
        reports.append(str(editor.widget("Score", "report")))
        editor.set(("Score", "report", ""))
    assert "(face 1)" in reports[0] and "(face 2)" in reports[1]


def test_min_size_takes_faces_out(editor: Editor, picker: Locator) -> None:
    faces = find(picker)
    editor.set(("Faces", "min_size", 2000))
    expect(faces.nth(0)).to_be_disabled()
    assert "below the minimum size" in str(faces.nth(0).get_attribute("title"))


def test_what_stands_in_the_way_is_told(editor: Editor, picker: Locator) -> None:
    editor.set(("Face Analysis", "model", "nothing"))
    picker.get_by_role("button", name="Find faces").click()
    expect(picker).to_contain_text("'nothing' was not found")
    assert editor.complaints == []


def test_a_photo_without_a_face(editor: Editor, picker: Locator) -> None:
    editor.set(("Photo", "image", editor.upload(PHOTOS / "cat.jpg")))
    picker.get_by_role("button", name="Find faces").click()
    expect(picker).to_contain_text("No face found.", timeout=60_000)


CHOICES = [
    ("chosen({ select: 'index', index: '1,3 2', min_size: 64 }, [])", [1, 3, 2]),
    ("chosen({ select: 'largest', index: '', min_size: 64 }, [70, 90.5, 90.5])", [2]),
    ("chosen({ select: 'left to right', index: '', min_size: 64 }, [20, 70, 90])", [2]),
    ("chosen({ select: 'all', index: '', min_size: 64 }, [20, 64, 90])", [2, 3]),
    ("chosen({ select: 'largest', index: '', min_size: 64 }, [20])", []),
    ("clicked([1], 2, false)", [2]),
    ("clicked([3], 2, true)", [2, 3]),
    ("clicked([2, 3], 2, true)", [3]),
    ("clicked([2], 2, true)", [2]),
    ("written([1, 3])", {"select": "index", "index": "1, 3"}),
]


@pytest.mark.parametrize("editor", ["comfy"], indirect=True)
def test_the_rules_of_choosing(editor: Editor) -> None:
    with urlopen(f"{editor.server.url}/extensions") as answer:
        (ours,) = (path for path in json.load(answer) if PACK in path)
    source = ours.replace("consistentFace.js", "faceChoice.mjs")
    for expression, expected in CHOICES:
        found = editor.page.evaluate(
            f"async source => {{ const {{ chosen, clicked, written }} = await import(source); return {expression} }}",
            source,
        )
        assert found == expected, expression

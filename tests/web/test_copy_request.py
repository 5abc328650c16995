"""Copy as API request: the service accepts the request that the menu copies."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from PIL import Image
from playwright.sync_api import expect

from consistent_face.api.vendors import examples
from consistent_face.tests.web.editor import PHOTOS, Editor
from consistent_face.tools.demo import small_values
from consistent_face.tools.server import ComfyServer, free_port, service

NAME = "face_consistency"
PORT = "127.0.0.1:8190"  # that the copied command speaks to


@pytest.fixture(scope="module")
def address(comfy: ComfyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a service before the ComfyUI, with the small models."""
    folder = tmp_path_factory.mktemp("service")
    names = {name: value for name, value in small_values(NAME).items() if isinstance(value, str)}
    settings = {"port": free_port(), "data": folder / "data", "models": json.dumps({NAME: names})}
    with service(folder / "service.log", comfy, settings, own_folders=False) as url:
        yield url.removeprefix("http://")


def copy(editor: Editor, entry: str) -> str:
    """What a click in the main menu copies."""
    page = editor.page
    page.locator(".comfy-menu-button-wrapper, [data-testid=comfy-menu-button]").first.click()
    page.get_by_text("File", exact=True).first.hover()
    page.get_by_text(entry, exact=True).first.click()
    expect(page.get_by_text("is on the clipboard").first).to_be_visible()
    return page.evaluate("navigator.clipboard.readText()")


@pytest.fixture
def set_up(editor: Editor) -> Editor:
    photo = editor.upload(PHOTOS / "grace_hopper.jpg")
    editor.open_template(NAME)
    editor.set(("Photo", "image", photo), ("Prompt", "text", "a 'quoted' $HOME"), ("Sampler", "steps", 1))
    editor.set(("Size", "width", 256), ("Size", "height", 256), ("Size", "batch_size", 2))
    return editor


def test_the_copied_json_is_the_documented_request(set_up: Editor) -> None:
    body = json.loads(copy(set_up, "Copy as API request (JSON)"))
    documented = examples.QOLABA_EXAMPLES[NAME]
    assert [*body] == [field for field in documented if field in body] and set(body) >= {"image", "prompt", "strength"}
    assert (body["prompt"], body["batch"], body["width"]) == ("a 'quoted' $HOME", 2, 256)
    kind, photo = body["image"].split(",")
    assert kind == "data:image/jpeg;base64" and base64.b64decode(photo) == (PHOTOS / "grace_hopper.jpg").read_bytes()
    assert set_up.complaints == []


def test_the_service_answers_the_copied_request(set_up: Editor, address: str, tmp_path: Path) -> None:
    command = copy(set_up, "Copy as API request (curl)")
    assert "key" not in command.lower().split("{")[0] and PORT in command
    curl = shutil.which("curl")
    if curl:
        done = subprocess.run(["sh", "-c", command.replace(PORT, address)], capture_output=True, check=True)
        answer = json.loads(done.stdout)
    else:  # the body alone, by other means
        body = command[command.index("{") : command.rindex("}") + 1].encode()
        asked = Request(f"http://{address}/getImagetoImage", body, {"content-type": "application/json"})
        with urlopen(asked) as response:
            answer = json.load(response)
    assert answer["status"] == "SUCCESS" and answer["input"]["prompt"] == "a 'quoted' $HOME"
    with urlopen(answer["output"]["result"][1]) as picture:
        assert Image.open(picture).size == (256, 256)


@pytest.mark.parametrize("editor", ["comfy"], indirect=True)
def test_other_workflows_have_nothing_to_copy(editor: Editor) -> None:
    editor.page.evaluate("app.extensionManager.command.execute('consistentFace.copyJson')")
    expect(editor.page.get_by_text("has no endpoint in the web service").first).to_be_visible()
    assert (
        editor.page.evaluate("app.canvas.getCanvasMenuOptions().filter(each => /API request/.test(each?.content))")
        == []
    )


def test_the_canvas_has_the_entries_too(set_up: Editor) -> None:
    entries = (
        "app.canvas.getCanvasMenuOptions().filter(each => /API request/.test(each?.content)).map(each => each.content)"
    )
    assert set_up.page.evaluate(entries) == ["Copy as API request (curl)", "Copy as API request (JSON)"]


def test_a_photo_that_is_gone_is_named(set_up: Editor) -> None:
    set_up.set(("Photo", "image", "gone.jpg"))
    set_up.page.evaluate("app.extensionManager.command.execute('consistentFace.copyJson')")
    expect(set_up.page.get_by_text("The photo gone.jpg is not in ComfyUI's input folder").first).to_be_visible()

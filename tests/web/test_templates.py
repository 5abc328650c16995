"""Each template, opened as a person opens it, in both front ends: nothing missing, and the graph of its API twin."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from consistent_face.api import graph
from consistent_face.tools import chromium

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
PACK = "consistent-face"  # the folder below custom_nodes: the template browser and the addresses of our files use it


@dataclass
class Editor:
    """A page with ComfyUI's front end, and what our files complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def listen(self, message: ConsoleMessage) -> None:
        if message.type == "error" and PACK in f"{message.location['url']} {message.text}":
            self.complaints.append(message.text)

    def open_template(self, name: str) -> None:
        self.page.get_by_role("button", name="Templates").first.click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_text(PACK, exact=True).first.click()
        dialog.get_by_test_id(f"template-workflow-{name}").click()
        dialog.wait_for(state="hidden")
        self.page.wait_for_function("app.graph.nodes.some(node => node.title === 'Result')")

    def unknown_nodes(self) -> list[str]:
        return self.page.evaluate(
            "app.graph.nodes.filter(node => !LiteGraph.registered_node_types[node.type]).map(node => node.type)"
        )

    def prompt(self) -> graph.Graph:
        """What the front end would queue; of the newer front end's `_meta` the title alone."""
        queued = self.page.evaluate("async () => (await app.graphToPrompt()).output")
        return {key: {**node, "_meta": {"title": node["_meta"]["title"]}} for key, node in queued.items()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=["comfy", "comfy_new_front"])
def editor(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Editor]:
    server = request.getfixturevalue(request.param)
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.request.post(f"{server.url}/api/settings/Comfy.TutorialCompleted", data="true")  # no welcome over the page
    editor = Editor(page)
    page.on("console", editor.listen)
    page.on("pageerror", lambda error: editor.complaints.append(error.message) if PACK in str(error.stack) else None)
    page.goto(server.url)
    page.wait_for_function("window.app?.extensionManager && app.graph?.nodes")
    yield editor
    page.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_template_opens_and_is_its_api_twin(editor: Editor, name: str) -> None:
    editor.open_template(name)
    assert editor.unknown_nodes() == []
    assert editor.page.get_by_test_id("subgraph-breadcrumb-missing-nodes-icon").count() == 0
    assert editor.prompt() == graph.load(name)
    assert editor.complaints == []


def test_an_avatars_prompt_reaches_the_queue_as_it_is_written(editor: Editor) -> None:
    """The front end takes braces for choices and // for comments, in ComfyUI's own prompts for one."""
    prompt = "a {gender_word} // in a {red|blue} boat /* at sea */"
    editor.open_template("face_avatar")
    editor.page.evaluate(
        """text => {
            const texts = app.graph.nodes.filter(node => node.title.endsWith('Prompt')).flatMap(node => node.widgets)
            for (const widget of texts) widget.value = text
        }""",
        prompt,
    )
    queued = {node["_meta"]["title"]: node["inputs"] for node in editor.prompt().values()}
    assert queued["Prompt"] == {"prompt": prompt, "gender": prompt}
    assert queued["Negative Prompt"]["text"] != prompt


def test_a_missing_node_would_be_noticed(editor: Editor) -> None:
    workflow = json.loads((ROOT / "workflows" / f"{NAMES[0]}.json").read_text(encoding="utf-8"))
    workflow["nodes"][0]["type"] = "ConsistentFace_Nothing"
    editor.page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    assert editor.unknown_nodes() == ["ConsistentFace_Nothing"]
    editor.page.get_by_test_id("subgraph-breadcrumb-missing-nodes-icon").wait_for(state="attached")

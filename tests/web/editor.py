"""A page with ComfyUI's front end, used as a person uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Locator, Page

from consistent_face.api.comfyui import workflow
from consistent_face.tools.demo import small_values
from consistent_face.tools.server import ComfyServer

ROOT = Path(__file__).resolve().parent.parent.parent
PHOTOS = ROOT / "tests" / "photos"
NAMES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
PACK = "consistent-face"  # the folder below custom_nodes: the template browser and the addresses of our files use it
READY = "window.app?.extensionManager?.workflow?.activeWorkflow && app.graph?.nodes"
RUN_SECONDS = 120
# Nothing welcomes people over the page.
WELCOMES = {"Comfy.TutorialCompleted": "true", "Comfy.OnboardingCoachmarks.Seen": '["appMode", "firstRun"]'}
SET_WIDGETS = """values => {
    for (const [title, name, value] of values) {
        const widget = app.graph.nodes.find(node => node.title === title).widgets.find(each => each.name === name)
        widget.value = value
        widget.callback?.(value)
    }
}"""


@dataclass
class Editor:
    """The page, and what our files complained of."""

    page: Page
    server: ComfyServer
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

    def open_app(self, name: str) -> Locator:
        """The template as a form."""
        self.open_template(name)
        self.page.get_by_role("button", name="Enter app mode").first.click()
        form = self.page.get_by_test_id("linear-widgets")
        form.wait_for()
        return form

    def unknown_nodes(self) -> list[str]:
        return self.page.evaluate(
            "app.graph.nodes.filter(node => !LiteGraph.registered_node_types[node.type]).map(node => node.type)"
        )

    def prompt(self) -> workflow.Graph:
        """What the front end would queue; of the newer front end's `_meta` the title alone."""
        queued = self.page.evaluate("async () => (await app.graphToPrompt()).output")
        return {key: {**node, "_meta": {"title": node["_meta"]["title"]}} for key, node in queued.items()}

    def set(self, *values: tuple[str, str, object]) -> None:
        """Sets widgets, by title and name."""
        self.page.evaluate(SET_WIDGETS, [list(value) for value in values])

    def use_small_models(self, name: str) -> None:
        slots = workflow.PARAMETERS[name]
        small = {
            **small_values(name),
            **{stage: 1 for stage in ("steps", "upscale_steps", "fd_steps") if stage in slots},
        }
        self.set(*((slots[each].title, slots[each].input, value) for each, value in small.items()))

    def upload(self, photo: Path) -> str:
        """Puts a photo into ComfyUI's input folder."""
        form: dict[str, bytes | bool | float | str | FilePayload] = {
            "image": {"name": photo.name, "mimeType": "image/jpeg", "buffer": photo.read_bytes()},
            "overwrite": "true",
        }
        self.page.request.post(f"{self.server.url}/upload/image", multipart=form)
        return photo.name

    def widget(self, title: str, name: str) -> object:
        return self.page.evaluate(
            "([title, name]) => app.graph.nodes.find(node => node.title === title).widgets"
            ".find(widget => widget.name === name)?.value",
            [title, name],
        )

    def wait_for_widget(self, title: str, name: str) -> None:
        """Until a node has a widget that a run gives it, with something in it."""
        self.page.wait_for_function(
            "([title, name]) => app.graph.nodes.find(node => node.title === title).widgets"
            ".find(widget => widget.name === name)?.value",
            arg=[title, name],
            timeout=RUN_SECONDS * 1000,
        )


@contextmanager
def editor(browser: Browser, server: ComfyServer, locale: str | None = None) -> Iterator[Editor]:
    """A fresh page, in the browser's language; everything that a page may ask a person for is granted."""
    context = browser.new_context(viewport={"width": 1920, "height": 1080}, locale=locale)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    for setting, seen in WELCOMES.items():
        page.request.post(f"{server.url}/api/settings/{setting}", data=seen)
    opened = Editor(page, server)
    page.on("console", opened.listen)
    page.on("pageerror", lambda error: opened.complaints.append(error.message) if PACK in str(error.stack) else None)
    page.goto(server.url)
    page.wait_for_function(READY)
    yield opened
    context.close()

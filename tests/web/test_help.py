"""Each node's help page: its shape, its inputs and outputs, errors in the code's own words; and the editor shows it."""

import ast
import json
import re
from pathlib import Path

import pytest

from consistent_face.tests.test_pack import described
from consistent_face.tests.web.editor import Editor
from consistent_face.tools.server import ComfyServer

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "web" / "docs"
PAGES = sorted(path.stem for path in DOCS.glob("*.md"))
NAMES = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
HOLE = "\0"  # what a sentence takes in when it is said


def sentences() -> list[str]:
    """All texts in the pack's code, each value that is put into one as a hole."""
    found = []
    for path in [*(ROOT / "core").rglob("*.py"), *(ROOT / "nodes").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def sections(page: str) -> dict[str, str]:
    titles = re.split(r"^## (.+)\n", (DOCS / f"{page}.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(titles[1::2], titles[2::2], strict=True))


def test_each_node_has_its_page_and_each_page_its_node(comfy: ComfyServer) -> None:
    assert sorted(described(comfy)) == PAGES


def test_each_node_is_found_by_other_words_than_its_name(comfy: ComfyServer) -> None:
    for node in described(comfy).values():
        name = node["display_name"].lower()
        assert len([alias for alias in node["search_aliases"] if alias.lower() not in name]) >= 3, name


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_shape_of_all(comfy: ComfyServer, page: str) -> None:
    text, node = (DOCS / f"{page}.md").read_text(encoding="utf-8"), described(comfy)[page]
    title, purpose, _ = text.split("\n\n", 2)
    assert title == f"# {node['display_name']}"
    assert not purpose.startswith(("#", "|", "-"))
    titles = list(sections(page))
    assert titles[:2] == ["Inputs", "Outputs"] and titles[-2:] == ["Example", "Errors"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_tells_of_each_input_and_output_and_of_no_other(comfy: ComfyServer, page: str) -> None:
    node, told = described(comfy)[page], sections(page)
    inputs = [name for part in ("required", "optional") for name in node["input"].get(part, {})]
    first_cells = [line.split("|")[1] for line in told["Inputs"].splitlines() if re.match(r"\| [^|`]+`\w+`", line)]
    labelled = re.findall(r"(?:^|, )\s*([^`]+) `(\w+)`", "\n".join(first_cells), flags=re.MULTILINE)
    assert sorted(labelled) == sorted((NAMES[page]["inputs"][name]["name"], name) for name in inputs)
    listed = [line.split(":")[0] for line in told["Outputs"].splitlines() if line.startswith("- ")]
    assert re.findall(r"`([^`]+)`", "\n".join(listed)) == node["output_name"]


@pytest.mark.parametrize("page", PAGES)
def test_errors_are_quoted_as_they_are_said(page: str) -> None:
    said = sentences()
    lines = [line for line in sections(page)["Errors"].splitlines() if line.startswith("- ")]
    assert lines or page == "ConsistentFace_FitPhoto"  # which has none
    for line in lines:
        quotes = re.findall(r"\*\*(.+?)\*\*", line)
        assert quotes, f"no sentence is quoted in: {line}"
        for quote in quotes:
            assert any(quote.replace("...", HOLE) in sentence for sentence in said), f"nothing says: {quote}"


def test_the_editor_shows_the_page_of_a_node(editor: Editor) -> None:
    page = editor.page
    page.evaluate(
        """() => {
            const node = LiteGraph.createNode('ConsistentFace_AnalyzeFaces')
            app.graph.clear()
            app.graph.add(node)
            app.canvas.centerOnNode(node)
            app.canvas.selectNode(node)
        }"""
    )
    page.get_by_test_id("info-button").click()
    shown = page.locator(".node-help-content")
    shown.get_by_role("heading", name="Analyze Faces (InsightFace)").wait_for()
    assert "No face was found in" in shown.inner_text()

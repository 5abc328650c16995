"""Each template, opened as a person opens it, in both front ends: nothing missing, and the graph of its API twin."""

import json

import pytest

from consistent_face.api.comfyui import workflow as graph
from consistent_face.tests.web.editor import NAMES, ROOT, Editor


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

"""A node shows the report of its last run, in both front ends."""

import pytest
from playwright.sync_api import sync_playwright

from consistent_face.tools import chromium

SHOWN = """() => {
    const node = LiteGraph.createNode('ConsistentFace_ScoreIdentity')
    app.graph.add(node)
    const before = node.widgets.length
    node.onExecuted({ text: ['Picture 1: someone else.'] })
    node.onExecuted({ text: ['Picture 1: the same person.', 'Picture 2: no face.'] })
    const added = node.widgets.slice(before).map(widget => [widget.name, widget.value])
    return { added, saved: node.serialize().widgets_values.length - before }
}"""


@pytest.mark.parametrize("front", ["comfy", "comfy_new_front"])
def test_the_report_of_the_last_run_is_shown_and_not_saved(front: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(front)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_function("window.app?.extensionManager && app.graph?.nodes")
        shown = page.evaluate(SHOWN)
        browser.close()
    assert shown["added"] == [["report", "Picture 1: the same person.\nPicture 2: no face."]]
    assert shown["saved"] <= 0

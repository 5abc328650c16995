"""A node shows the report of its last run, in both front ends."""

from consistent_face.tests.web.editor import Editor

SHOWN = """async () => {
    const node = LiteGraph.createNode('ConsistentFace_ScoreIdentity')
    app.graph.add(node)
    const before = node.widgets.length
    await node.onExecuted({ text: ['Picture 1: someone else.'] })
    await node.onExecuted({ text: ['Picture 1: the same person.', 'Picture 2: no face.'] })
    const added = node.widgets.slice(before).map(widget => [widget.name, widget.value])
    return { added, saved: node.serialize().widgets_values.length - before }
}"""


def test_the_report_of_the_last_run_is_shown_and_not_saved(editor: Editor) -> None:
    shown = editor.page.evaluate(SHOWN)
    assert shown["added"] == [["report", "Picture 1: the same person.\nPicture 2: no face."]]
    assert shown["saved"] <= 0

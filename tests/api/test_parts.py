"""The graph that the service queues contains only the nodes that the result needs."""

import pytest

from consistent_face.api.base.order import Order
from consistent_face.api.comfyui.workflow import PARAMETERS, fill, load
from consistent_face.api.jobs.batches import cut, parts

FOR_PEOPLE = {"PreviewImage", "PreviewAny", "ConsistentFace_ScoreIdentity"}


@pytest.mark.parametrize("workflow", PARAMETERS)
def test_what_is_for_people_alone_is_not_run(workflow: str) -> None:
    order = Order(workflow)
    filled = fill(order, load(workflow))
    classes = {node["class_type"] for node in filled.values()}
    assert classes & FOR_PEOPLE, "the workflow shows something to people"
    (part,) = parts(order, 8)
    run = cut(filled, workflow, part)
    assert not {node["class_type"] for node in run.values()} & FOR_PEOPLE
    titles = {node["_meta"]["title"] for node in run.values()}
    assert {slot.title for slot in PARAMETERS[workflow].values()} <= titles, "every parameter still has its node"

"""fill: exact graphs for good orders, exact sentences for bad ones."""

import copy
from pathlib import Path

import pytest

from consistent_face.api.base.order import Order, OrderError, Value
from consistent_face.api.comfyui import parameters, workflow

ID = "11111111-2222-4333-8444-555555555555"
EVERYTHING: dict[str, Value | None] = {
    "photo": "anna.png",
    "prompt": "a portrait in the rain",
    "negative_prompt": "blurry",
    "batch": 3,
    "width": 769,
    "height": 1151,
    "steps": 12,
    "guidance": 6.5,
    "strength": 0.8,
    "seed": 2**63 - 1,
    "checkpoint": "small.safetensors",
    "adapter": "small.bin",
    "clip_vision": "eyes.safetensors",
    "face_analysis": "vectron",
    "safety_classifier": "mine.onnx",
    "safety_threshold": 0.8,
}
FILLED = {
    ("Photo", "image"): "anna.png",
    ("Prompt", "text"): "a portrait in the rain",
    ("Negative Prompt", "text"): "blurry",
    ("Size", "batch_size"): 3,
    ("Size", "width"): 768,
    ("Size", "height"): 1144,
    ("Sampler", "steps"): 12,
    ("Sampler", "cfg"): 6.5,
    ("Sampler", "seed"): 2**63 - 1,
    ("Apply Identity", "weight"): 0.8,
    ("Checkpoint", "ckpt_name"): "small.safetensors",
    ("Adapter", "adapter"): "small.bin",
    ("CLIP Vision", "clip_name"): "eyes.safetensors",
    ("Face Analysis", "model"): "vectron",
    ("Safety Classifier", "model"): "mine.onnx",
    ("Safety", "threshold"): 0.8,
    ("Result", "filename_prefix"): f"consistent-face/{ID}/result",
}


def order(**values: Value | None) -> Order:
    return Order("face_consistency", values, id=ID)


def differences(before: workflow.Graph, after: workflow.Graph) -> dict[tuple[str, str], object]:
    """The inputs that changed, by title and input; everything else must be as it was."""
    changed = {}
    rest = copy.deepcopy(after)
    for node, content in before.items():
        for name, value in content["inputs"].items():
            if after[node]["inputs"][name] != value:
                changed[content["_meta"]["title"], name] = after[node]["inputs"][name]
                rest[node]["inputs"][name] = value
    assert rest == before
    return changed


def test_every_parameter_goes_to_its_node_and_nothing_else_changes() -> None:
    template = workflow.load("face_consistency")
    assert differences(template, workflow.fill(order(**EVERYTHING), template)) == FILLED
    assert set(EVERYTHING) == set(workflow.PARAMETERS["face_consistency"])


def test_what_is_left_out_stays_as_the_workflow_has_it() -> None:
    template = workflow.load("face_consistency")
    assert differences(template, workflow.fill(order(), template)) == {
        ("Result", "filename_prefix"): f"consistent-face/{ID}/result"
    }


def test_the_template_itself_is_not_touched() -> None:
    template = workflow.load("face_consistency")
    before = copy.deepcopy(template)
    workflow.fill(order(**EVERYTHING), template)["1"]["inputs"].clear()
    assert template == before


def test_a_photo_is_filled_in_under_its_name_in_the_input_folder() -> None:
    ordered = Order("face_consistency", photos={"photo": Path("/somewhere/Me at sea.JPG")}, id=ID)
    changed = differences(template := workflow.load("face_consistency"), workflow.fill(ordered, template))
    assert changed["Photo", "image"] == f"consistent-face/{ID}/photo.jpg"


@pytest.mark.parametrize("wanted", [None, -1])
def test_a_random_seed_is_drawn_once(wanted: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([4711, 4712])
    monkeypatch.setattr(parameters.random, "randint", lambda low, high: (low, high) == (0, 2**63 - 1) and next(draws))
    settled = workflow.settle(order(seed=wanted))
    assert settled.values["seed"] == 4711
    assert workflow.settle(settled) == settled
    changed = differences(template := workflow.load("face_consistency"), workflow.fill(settled, template))
    assert changed["Sampler", "seed"] == 4711


@pytest.mark.parametrize(
    ("name", "kind", "low", "high"),
    [
        ("batch", "a whole number", 1, 8),
        ("width", "a whole number", 256, 1536),
        ("height", "a whole number", 256, 1536),
        ("steps", "a whole number", 1, 50),
        ("guidance", "a number", 1, 30),
        ("strength", "a number", 0, 1),
        ("seed", "a whole number", 0, 2**63 - 1),
    ],
)
def test_numbers_keep_to_their_ranges(name: str, kind: str, low: int, high: int) -> None:
    for good in (low, high):
        assert workflow.settle(order(**{name: good})).values[name] == good
    for bad in (low - 2, high + 1, float("nan"), float("inf"), True, str(low), [low]):
        with pytest.raises(OrderError) as refusal:
            workflow.settle(order(**{name: bad}))  # type: ignore[arg-type]
        assert str(refusal.value) == f"{name} must be {kind} from {low} to {high}, but {bad!r} was found."
        assert refusal.value.field == name


@pytest.mark.parametrize("name", ["batch", "width", "steps"])
def test_whole_numbers_are_not_rounded(name: str) -> None:
    with pytest.raises(OrderError, match=rf"{name} must be a whole number .* but 300\.0 was found"):
        workflow.settle(order(**{name: 300.0}))


@pytest.mark.parametrize("bad", [None, 7, b"bytes"])
def test_texts_are_texts(bad: object) -> None:
    with pytest.raises(OrderError) as refusal:
        workflow.settle(order(prompt=bad))  # type: ignore[arg-type]
    assert str(refusal.value) == f"prompt must be a text, but {bad!r} was found."


@pytest.mark.parametrize("values", [{"colour": "red"}, {}])
def test_an_unknown_parameter_is_named(values: dict[str, Value | None]) -> None:
    photos = {} if values else {"colour": Path("red.png")}
    with pytest.raises(OrderError, match=r"^face_consistency has no parameter colour, only photo, .*\.$") as bad:
        workflow.settle(Order("face_consistency", values, photos))
    assert bad.value.field == "colour"


@pytest.mark.parametrize("name", ["face_swap", "../face_consistency"])
def test_an_unknown_workflow_is_named(name: str) -> None:
    with pytest.raises(OrderError) as refusal:
        workflow.load(name)
    assert str(refusal.value) == f"There is no workflow {name}, only {', '.join(workflow.PARAMETERS)}."


def test_a_template_without_the_title_is_refused() -> None:
    template = workflow.load("face_consistency")
    for node in template.values():
        if node["_meta"]["title"] == "Sampler":
            node["_meta"]["title"] = "KSampler"
    with pytest.raises(
        workflow.TemplateError, match='has 0 nodes titled "Sampler" with the input steps, but needs one'
    ):
        workflow.fill(order(steps=3), template)


def test_a_template_with_the_title_twice_is_refused() -> None:
    template = workflow.load("face_consistency")
    template["99"] = copy.deepcopy(next(node for node in template.values() if node["_meta"]["title"] == "Prompt"))
    with pytest.raises(workflow.TemplateError, match='has 2 nodes titled "Prompt" with the input text'):
        workflow.fill(order(prompt="hello"), template)

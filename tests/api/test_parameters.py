"""Parameters of the avatar and the generator: exact places, exact ranges, exact sentences."""

import pytest

from consistent_face.api.base.order import Order, OrderError, Value
from consistent_face.api.comfyui import workflow as graph

AVATAR: dict[str, tuple[Value, str, str]] = {
    "photo": ("anna.png", "Photo", "image"),
    "prompt": ("a sailor", "Prompt", "prompt"),
    "gender": ("female", "Prompt", "gender"),
    "negative_prompt": ("blurry", "Negative Prompt", "text"),
    "batch": (8, "Size", "batch_size"),
    "width": (256, "Size", "width"),
    "height": (1536, "Size", "height"),
    "steps": (50, "Sampler", "steps"),
    "guidance": (29.5, "Sampler", "cfg"),
    "seed": (2**63 - 1, "Sampler", "seed"),
    "remove_background": (True, "Background", "remove_background"),
    "bg_color": ("#FFF", "Background", "bg_color"),
    "background_remover": ("mine.onnx", "Background Remover", "model"),
    "safety_classifier": ("mine.onnx", "Safety Classifier", "model"),
    "safety_threshold": (0.8, "Safety", "threshold"),
    "checkpoint": ("small.safetensors", "Checkpoint", "ckpt_name"),
    "adapter": ("small.bin", "Adapter", "adapter"),
    "clip_vision": ("eyes.safetensors", "CLIP Vision", "clip_name"),
    "face_analysis": ("vectron", "Face Analysis", "model"),
}
ELSEWHERE = ("prompt", "gender", "batch", "remove_background", "bg_color", "background_remover")
GENERATOR: dict[str, tuple[Value, str, str]] = {
    **{name: found for name, found in AVATAR.items() if name not in ELSEWHERE},
    "prompt": ("pretty woman", "Prompt", "text"),
    "samples": (2, "Size", "batch_size"),
    "width": (768, "Size", "width"),
    "height": (256, "Size", "height"),
    "steps": (41, "Sampler", "steps"),
    "guidance": (19.5, "Sampler", "cfg"),
    "s_scale": (0.5, "Apply Identity", "structure"),
    "safety_checker": (False, "Safety", "check"),
    "safety_checker_type": ("pixelate", "Safety", "mode"),
}


def settled(workflow: str, **values: object) -> dict[str, Value | None]:
    return dict(graph.settle(Order(workflow, values)).values)  # type: ignore[arg-type]


def refused(workflow: str, **values: object) -> OrderError:
    with pytest.raises(OrderError) as refusal:
        settled(workflow, **values)
    return refusal.value


@pytest.mark.parametrize(("workflow", "given"), [("face_avatar", AVATAR), ("face_generator", GENERATOR)])
def test_every_parameter_goes_to_its_node(workflow: str, given: dict[str, tuple[Value, str, str]]) -> None:
    assert set(given) == set(graph.PARAMETERS[workflow])
    ordered = Order(workflow, {name: value for name, (value, _, _) in given.items()})
    filled = graph.fill(ordered, graph.load(workflow)).values()
    inputs = {(node["_meta"]["title"], name): value for node in filled for name, value in node["inputs"].items()}
    assert {name: inputs[title, key] for name, (_, title, key) in given.items()} == dict(ordered.values)


@pytest.mark.parametrize("workflow", ["face_avatar", "face_generator"])
def test_what_is_left_out_is_what_the_documents_give(workflow: str) -> None:
    inputs = {
        (node["_meta"]["title"], name): value
        for node in graph.load(workflow).values()
        for name, value in node["inputs"].items()
    }
    documented = {
        "face_avatar": {
            ("Prompt", "prompt"): "",
            ("Prompt", "gender"): "",
            ("Background", "remove_background"): False,
            ("Background", "bg_color"): "",
            ("Safety", "check"): True,
            ("Safety", "mode"): "report",
            ("Size", "batch_size"): 1,
        },
        "face_generator": {
            ("Apply Identity", "structure"): 1.0,
            ("Safety", "check"): True,
            ("Safety", "mode"): "sensitive_content_text",
            ("Size", "width"): 512,
            ("Size", "height"): 512,
            ("Size", "batch_size"): 1,
            ("Sampler", "steps"): 21,
            ("Sampler", "cfg"): 7.5,
        },
    }[workflow]
    assert {place: inputs[place] for place in documented} == documented


@pytest.mark.parametrize(
    ("workflow", "name", "low", "high"),
    [
        ("face_avatar", "batch", 1, 8),
        ("face_avatar", "width", 256, 1536),
        ("face_avatar", "height", 256, 1536),
        ("face_avatar", "steps", 1, 50),
        ("face_avatar", "guidance", 1, 30),
        ("face_generator", "samples", 1, 2),
        ("face_generator", "width", 256, 768),
        ("face_generator", "height", 256, 768),
        ("face_generator", "guidance", 1, 20),
        ("face_generator", "s_scale", 0, 2),
        ("face_generator", "safety_threshold", 0.01, 0.99),
    ],
)
def test_numbers_keep_to_their_ranges(workflow: str, name: str, low: float, high: float) -> None:
    for good in (low, high):
        assert settled(workflow, **{name: good}) == {name: good}
    for bad in (low - 1, high + 1, float("nan"), True, str(low), None):
        refusal = refused(workflow, **{name: bad})
        assert refusal.field == name
        assert str(refusal).endswith(f"number from {low} to {high}, but {bad!r} was found.")


def test_steps_of_the_generator_are_three_choices() -> None:
    assert [settled("face_generator", steps=steps)["steps"] for steps in (21, 31, 41)] == [21, 31, 41]
    for bad in (20, 22, 21.0, "21", True, None, [21]):
        assert str(refused("face_generator", steps=bad)) == f"steps must be one of 21, 31, 41, but {bad!r} was found."


@pytest.mark.parametrize("how", ["blur", "sensitive_content_text", "pixelate", "black"])
def test_unsafe_pictures_of_the_generator_are_hidden_in_four_ways(how: str) -> None:
    assert settled("face_generator", safety_checker_type=how) == {"safety_checker_type": how}


@pytest.mark.parametrize("bad", ["report", "Blur", "", None, 3])
def test_an_unknown_way_to_hide_is_refused(bad: object) -> None:
    assert str(refused("face_generator", safety_checker_type=bad)) == (
        f"safety_checker_type must be one of blur, sensitive_content_text, pixelate, black, but {bad!r} was found."
    )


@pytest.mark.parametrize(("width", "height"), [(512, 768), (768, 512), (512, 512), (256, 768)])
def test_sizes_of_the_generator_lie_or_stand(width: int, height: int) -> None:
    assert settled("face_generator", width=width, height=height) == {"width": width, "height": height}


@pytest.mark.parametrize(("width", "height"), [(768, 768), (513, 513), (640, 520)])
def test_sizes_of_the_generator_are_one_side_long_at_most(width: int, height: int) -> None:
    assert str(refused("face_generator", width=width, height=height)) == (
        f"width x height must fit into 512x768 or 768x512, but {width}x{height} was found."
    )


@pytest.mark.parametrize("name", ["remove_background", "safety_checker"])
def test_switches_are_true_or_false(name: str) -> None:
    workflow = "face_avatar" if name == "remove_background" else "face_generator"
    assert [settled(workflow, **{name: value})[name] for value in (True, False)] == [True, False]
    for bad in (None, 1, "true"):
        assert str(refused(workflow, **{name: bad})) == f"{name} must be true or false, but {bad!r} was found."


@pytest.mark.parametrize("good", ["#FFF", "FFF", "#a0B1c2", "a0B1c2"])
def test_colours_are_taken_as_they_are_written(good: str) -> None:
    assert settled("face_avatar", bg_color=good) == {"bg_color": good}


@pytest.mark.parametrize("nothing", [None, "", " ", "None", "none"])
def test_no_colour(nothing: str | None) -> None:
    assert settled("face_avatar", bg_color=nothing) == {"bg_color": ""}


@pytest.mark.parametrize("bad", ["red", "#FF", "#FFFF", "#FFFFFFF", "##FFF", "#GGG", "FFF\n000"])
def test_what_is_no_colour_is_refused(bad: str) -> None:
    refusal = refused("face_avatar", bg_color=bad)
    assert str(refusal) == f"bg_color must be a colour such as #FFFFFF, but {bad!r} was found."
    assert refusal.field == "bg_color"


def test_no_prompt_and_no_gender_are_the_nodes_default() -> None:
    assert settled("face_avatar", prompt=None, gender=None) == {"prompt": "", "gender": ""}
    assert settled("face_avatar", prompt="None", gender=" male ") == {"prompt": "None", "gender": "male"}


def test_a_gender_has_forty_characters_at_most() -> None:
    assert settled("face_avatar", gender="é" * 40) == {"gender": "é" * 40}
    assert str(refused("face_avatar", gender="é" * 41)) == "gender may have 40 characters, but 41 were found."

"""The avatar's default prompt, word for word, and what takes its place."""

import pytest

from consistent_face.core.errors import ConsistentFaceError
from consistent_face.nodes.avatar import WriteAvatarPrompt

# Copied from the endpoint's documentation.
DOCUMENTED = "SFW Content, black plain background, joyous dating profile, VECTOR CARTOON ILLUSTRATION, half-body shot portrait enjoyable pleasing pleasurable nice {gender_word}, looking at camera, Relaxed, Charming, Cordial, Gracious, 5 o clock shadow, 3d bitmoji avatar render, pixar, high def textures 8k, highly detailed, 3d render, award winning, no background elements"  # noqa: E501


def written(prompt: str | None = None, gender: str | None = None) -> str:
    (text,) = WriteAvatarPrompt.execute(prompt, gender).args
    return text


@pytest.mark.parametrize("nothing", [None, "", "  \n", "None", "none"])
@pytest.mark.parametrize("gender", [None, "", "None"])
def test_no_prompt_and_no_gender_is_the_default_for_a_person(nothing: str | None, gender: str | None) -> None:
    assert written(nothing, gender) == DOCUMENTED.replace("{gender_word}", "person")


def test_absent_inputs_are_the_default() -> None:
    (text,) = WriteAvatarPrompt.execute().args
    assert text == DOCUMENTED.replace("{gender_word}", "person")


@pytest.mark.parametrize(
    ("gender", "word"),
    [
        ("male", "man"),
        ("female", "woman"),
        ("Male", "man"),
        ("old wizard", "old wizard"),
        ("{x}", "{x}"),
        ("é" * 40,) * 2,
    ],
)
def test_gender_chooses_the_word(gender: str, word: str) -> None:
    assert written(None, gender) == DOCUMENTED.replace("{gender_word}", word)


@pytest.mark.parametrize("gender", [None, "male", "x" * 41])
def test_a_prompt_overrides_and_gender_has_no_effect(gender: str | None) -> None:
    prompt = " a {gender_word} // in a boat, {red|blue} "
    assert written(prompt, gender) == prompt


def test_a_long_gender_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConsistentFaceError, match="41 characters, and at most 40") as refused:
        written(None, "x" * 41)
    assert "\n" not in str(refused.value)


def test_the_front_end_leaves_braces_and_slashes_alone() -> None:
    inputs = WriteAvatarPrompt.INPUT_TYPES()["optional"]
    assert inputs["prompt"][1]["dynamicPrompts"] is False
    assert inputs["gender"][1]["dynamicPrompts"] is False
    assert inputs["prompt"][1]["placeholder"] == DOCUMENTED

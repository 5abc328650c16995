"""Face Avatar on a real ComfyUI: prompt and gender, background out, colour in, and what bad input says."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from consistent_face.api.base.order import Order, Value
from consistent_face.api.comfyui.client import Comfy, RefusedError
from consistent_face.api.comfyui.workflow import fill, load
from consistent_face.core.avatar_prompt import DEFAULT_PROMPT
from consistent_face.tests.workflows.runs import (
    PHOTOS,
    again,
    by_title,
    images,
    order,
    run_unsampled,
    texts,
    unsampled,
)

ASTRONAUT = PHOTOS / "astronaut.jpg"
HAIR, WALL = (60, 225), (20, 440)  # row, column
GREEN = (0, 255, 0)
ABSENT = "BiRefNet-portrait-epoch_150.onnx"  # of no set that `models` fetches


def for_a(person: str) -> str:
    return DEFAULT_PROMPT.replace("{gender_word}", person)


async def test_a_photo_becomes_a_transparent_avatar_and_the_gender_matters(client: Comfy) -> None:
    async def avatar(ordered: Order) -> np.ndarray:
        job = await client.run(ordered, timeout=120)
        (picture,) = await images(client, job)
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", (256, 256))
        assert job.unsafe == (False,)
        return np.asarray(picture)

    woman = order("face_avatar", ASTRONAUT, gender="female", remove_background=True)
    assert not np.array_equal(await avatar(woman), await avatar(again(woman, gender="male")))


async def test_the_background_becomes_nothing(client: Comfy) -> None:
    (picture,) = await images(
        client, await run_unsampled(client, order("face_avatar", ASTRONAUT, remove_background=True))
    )
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", (512, 512))
    alpha = np.asarray(picture)[..., 3]
    assert alpha[HAIR] > 240 and alpha[WALL] < 15


@pytest.mark.parametrize(("remove", "colour"), [(True, "#0F0"), (False, "00ff00")])
async def test_the_background_becomes_a_colour(client: Comfy, remove: bool, colour: str) -> None:
    values: dict[str, Value] = {"remove_background": remove, "bg_color": colour}
    (picture,) = await images(client, await run_unsampled(client, order("face_avatar", ASTRONAUT, **values)))
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture)[WALL].astype(int) - GREEN).max() < 15
    assert np.abs(np.asarray(picture)[HAIR].astype(int) - GREEN).max() > 60


async def test_the_background_stays_where_nothing_is_asked(client: Comfy) -> None:
    (picture,) = await images(client, await run_unsampled(client, order("face_avatar", ASTRONAUT, bg_color=None)))
    with Image.open(ASTRONAUT) as photo:
        assert np.array_equal(np.asarray(picture), np.asarray(photo.convert("RGB")))


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ({}, for_a("person")),
        ({"prompt": None, "gender": None}, for_a("person")),
        ({"prompt": "", "gender": "male"}, for_a("man")),
        ({"prompt": "None", "gender": "female"}, for_a("woman")),
        ({"gender": "old wizard"}, for_a("old wizard")),
        ({"prompt": "a {gender_word} // {red|blue}", "gender": "male"}, "a {gender_word} // {red|blue}"),
    ],
)
async def test_the_prompt_that_is_encoded(client: Comfy, values: dict[str, Value | None], written: str) -> None:
    ordered = order("face_avatar", ASTRONAUT, **values)
    graph = fill(ordered, load("face_avatar"))
    encoded = graph[by_title(graph, "Encode Prompt")]["inputs"]["text"]
    shown = {"class_type": "PreviewAny", "inputs": {"source": encoded}, "_meta": {"title": "Shown"}}
    await client.queue(ordered.id, {encoded[0]: graph[encoded[0]], "shown": shown})
    assert texts(client, await client.wait(ordered.id, timeout=60)) == {"Shown": written}


async def test_a_picture_with_nothing_in_front_is_returned_with_a_warning(client: Comfy, tmp_path: Path) -> None:
    Image.new("RGB", (256, 256), (90, 120, 150)).save(tmp_path / "sky.png")
    job = await run_unsampled(client, order("face_avatar", tmp_path / "sky.png", remove_background=True))
    (picture,) = await images(client, job)
    assert picture.mode == "RGBA" and picture.getextrema() == ((90, 90), (120, 120), (150, 150), (255, 255))
    assert "no foreground was found" in texts(client, job)["Background"]


async def test_a_missing_background_model_is_told_with_its_cure(client: Comfy) -> None:
    missing = order("face_avatar", ASTRONAUT, remove_background=True, background_remover=ABSENT)
    job = await run_unsampled(client, missing)
    assert job.failure is not None and job.failure.kind == "ModelMissingError"
    assert ABSENT in job.failure.message and "models/rembg" in job.failure.message
    assert job.pictures == ()


async def test_a_missing_background_model_does_not_matter_where_the_background_stays(client: Comfy) -> None:
    job = await run_unsampled(client, order("face_avatar", ASTRONAUT, background_remover=ABSENT))
    assert len(await images(client, job)) == 1


async def test_comfyui_refuses_what_is_no_colour(client: Comfy) -> None:
    ordered = order("face_avatar", ASTRONAUT)
    graph = unsampled(ordered)
    graph[by_title(graph, "Background")]["inputs"]["bg_color"] = "reddish"
    with pytest.raises(RefusedError, match=r"Background: .*'reddish' is no background colour"):
        await client.queue(ordered.id, graph)

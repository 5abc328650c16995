"""The shipped workflows behind the service, with the small models: what the documents say of photos and of batches."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from consistent_face.api.comfyui.workflow import WORKFLOWS
from consistent_face.tests.api.conftest import PHOTO, Running, Settings, serving
from consistent_face.tests.api.graphs import STAND_INS, landed
from consistent_face.tools.demo import small_values

CAT = PHOTO.parent / "cat.jpg"
SHEET = PHOTO.parent.parent / "golden" / "pose" / "two.png"


@pytest.fixture
def shipped(with_comfy: Settings) -> Iterator[Running]:
    """The real workflows."""
    names = [name for name in ("face_consistency", *STAND_INS) if landed(name)]
    models = {name: {**small_values(name)} for name in names}
    for name in names:
        said = ("steps",) if name == "consistent_character" else ("steps", "width", "height")
        models[name] = {parameter: value for parameter, value in models[name].items() if parameter not in said}
    with serving(
        with_comfy.model_copy(update={"workflows": WORKFLOWS, "models": models, "modelslab_sync_wait_s": 300})
    ) as one:
        yield one


def text(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("path", ["/getImagetoImage", "/getImageToImage"])
def test_a_photo_without_a_face_as_qolaba_says_it(shipped: Running, path: str) -> None:
    answer = shipped.post(path, {"image": text(CAT), "prompt": "a portrait", "width": 256, "height": 256})
    body = answer.json()
    assert (answer.status_code, body["status"], body["error"]) == (500, "FAILED", "Face Consistent Error")
    assert body["error_data"] == "Unable to detect faces. Please provide a clear image."


def test_a_photo_without_a_face_for_modelslab(shipped: Running) -> None:
    body = {"face_image": text(CAT), "prompt": "a portrait", "width": 256, "height": 256}
    answer = shipped.post("/api/v1/enterprise/face_gen/make_gen", body)
    assert (answer.status_code, answer.json()["status"]) == (400, "error")
    assert "face" in answer.json()["message"]


@pytest.mark.skipif(not landed("consistent_character"), reason="workflows/api/consistent_character.json is not there")
def test_what_segmind_refuses_before_the_model_runs(shipped: Running) -> None:
    key, path = shipped.key("paying", credits=1), "/v1/consistent-character-ai-neolemon"
    body = {"image": text(SHEET), "prompt": "a sheet"}
    for wrong, said in (({"sampler": "no_such"}, "sampler_name"), ({"image": text(CAT)}, "pose")):
        answer = shipped.post(path, {**body, **wrong}, key)
        assert (answer.status_code, said in answer.json()["error"].lower()) == (406, True), answer.text
        assert answer.headers["x-remaining-credits"] == "1"


@pytest.mark.long
def test_a_batch_is_the_same_pictures_in_one_prompt_and_in_several(
    shipped: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise is drawn by index; a batch of another size changes the arithmetic by rounding alone."""
    monkeypatch.setattr("consistent_face.api.comfyui.parameters.random.randint", lambda low, high: 4711)
    body = {"image": text(PHOTO), "prompt": "a portrait", "width": 264, "height": 264, "num_inference_steps": 3}
    made = []
    for largest in (3, 1, 2):
        shipped.service.settings = shipped.service.settings.model_copy(update={"max_batch": largest})
        links = shipped.post("/getImagetoImage", {**body, "batch": 3}).json()["output"]["result"]
        pictures = [Image.open(io.BytesIO(shipped.get(link).content)).convert("RGB") for link in links]
        made.append(np.stack([np.asarray(picture, dtype=np.int16) for picture in pictures]))
    assert np.abs(made[0][0] - made[0][1]).mean() > 1  # three different pictures
    for other in made[1:]:
        assert np.abs(made[0] - other).max() <= 2

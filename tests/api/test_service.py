"""The service from end to end: each vendor's request through a real ComfyUI to its documented answer."""

import io
from collections.abc import Callable

from PIL import Image

from consistent_face.tests.api.conftest import Running


def picture(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_qolaba_waits_and_answers(running: Running, consistency: Callable[..., dict]) -> None:
    answer = running.post("/getImagetoImage", consistency(batch=2))
    body = answer.json()
    assert answer.status_code == 200, body
    assert list(body) == ["time_required", "error", "error_data", "input", "output", "app_id", "task_id", "status"]
    assert (body["status"], body["error"], body["error_data"]) == ("SUCCESS", None, None)
    assert body["output"]["Has_NSFW_Content"] == [False, False]
    assert set(body["time_required"]) == {"startup_time", "runtime"}
    for link in (*body["output"]["result"], *body["output"]["low_res_urls"]):
        image = picture(running.get(link).content)
        assert image.size == (256, 256)
        assert not image.info.keys() & {"prompt", "workflow", "exif"}

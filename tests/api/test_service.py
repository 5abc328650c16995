"""The service from end to end: each vendor's request through a real ComfyUI to its documented answer."""

import base64
import io
import time
import uuid
from collections.abc import Callable

import pytest
import requests
from PIL import Image

from consistent_face.tests.api.conftest import Running, Settings, serving

META = (
    "base64 face_image file_prefix guidance_scale height negative_prompt num_inference_steps outdir prompt "
    "safety_checker safety_checker_type samples seed temp width"
)
MAKE_GEN = "/api/v1/enterprise/face_gen/make_gen"
CHARACTER = "/v1/consistent-character-ai-neolemon"


def picture(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_qolaba_waits_and_answers(running: Running, consistency: Callable[..., dict]) -> None:
    answer = running.post("/getImagetoImage", consistency(batch=2))
    body = answer.json()
    assert answer.status_code == 200, body
    assert " ".join(body) == "time_required error error_data input output app_id task_id status"
    assert (body["status"], body["error"], body["error_data"]) == ("SUCCESS", None, None)
    assert " ".join(body["output"]) == "result Has_NSFW_Content low_res_urls"
    assert body["output"]["Has_NSFW_Content"] == [False, False]
    assert set(body["time_required"]) == {"startup_time", "runtime"}
    assert body["input"]["prompt"] == "a portrait"
    assert body["input"]["image"] is None
    for link in (*body["output"]["result"], *body["output"]["low_res_urls"]):
        image = picture(running.get(link).content)
        assert image.size == (256, 256)
        assert not image.info.keys() & {"prompt", "workflow", "exif"}


def test_qolaba_queues_and_tells_status(running: Running, consistency: Callable[..., dict]) -> None:
    queued = running.post("/getImageToImage", consistency(celery=True, gender="male", prompt=None)).json()
    assert queued["status"] == "PENDING" and queued["output"] == {} and queued["time_required"] == {}
    assert queued["app_id"] == "ap-jL9u1wFpY5sRv2XmN3aQ44"
    running.wait(queued["task_id"])
    for name in ("refID", "ref_id", "reference_id"):
        done = running.post("/getImage", {"id": queued["task_id"], name: "mine"}).json()
        assert (done["status"], len(done["output"]["result"]), done["input"]["ref_id"]) == ("SUCCESS", 1, "mine")


def test_modelslab_answers_field_for_field(running: Running, generator: Callable[..., dict]) -> None:
    body = running.post(MAKE_GEN, generator(samples="2", seed=1234, track_id=None)).json()
    assert body["status"] == "success"
    assert isinstance(body["id"], int) and isinstance(body["generationTime"], float)
    meta = body["meta"]
    assert " ".join(meta) == META
    assert (meta["samples"], meta["seed"], meta["safety_checker"], meta["temp"]) == (2, 1234, "yes", "yes")
    assert len(body["output"]) == 2 and body["proxy_links"] == body["output"]
    for number, link in enumerate(body["output"]):
        assert f"/{meta['file_prefix']}-{number}.png?" in link
        assert picture(running.get(link).content).format == "PNG"


def test_modelslab_base64(running: Running, generator: Callable[..., dict]) -> None:
    body = running.post(MAKE_GEN, generator(base64="true")).json()
    assert picture(base64.b64decode(body["output"][0])).size == (256, 256)
    assert (body["meta"]["base64"], body["meta"]["face_image"]) == ("yes", "")


def test_modelslab_processes_and_is_fetched(idle: Running, generator: Callable[..., dict]) -> None:
    idle.service.settings = idle.settings.model_copy(update={"modelslab_sync_wait_s": 0.0})
    body = idle.post(MAKE_GEN, generator()).json()
    assert body["status"] == "processing" and body["output"] == []
    assert body["message"] == body["messege"] and body["eta"] >= 1
    assert len(body["future_links"]) == 1
    again = requests.post(body["fetch_result"], json={"key": ""}).json()
    assert (again["status"], again["id"]) == ("processing", body["id"])


def test_segmind_gives_the_picture_itself(running: Running, character: Callable[..., dict]) -> None:
    answer = running.post(CHARACTER, character(seed=4898558797))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), answer.content
    assert picture(answer.content).format == "JPEG"
    assert (answer.headers["x-image-count"], answer.headers["x-seed-value"]) == ("1", "4898558797")
    assert answer.headers["x-remaining-credits"] == "999999"


def test_segmind_with_several_samples(running: Running, character: Callable[..., dict]) -> None:
    answer = running.post(CHARACTER, character(samples=3))
    assert answer.headers["x-image-count"] == "3"
    links = requests.utils.parse_header_links(answer.headers["link"])
    assert len(links) == 2 and picture(running.get(links[0]["url"]).content).format == "JPEG"
    body = running.post(CHARACTER, character(samples=2), headers={"Accept": "application/json"}).json()
    assert len(body["images"]) == 2 and picture(base64.b64decode(body["images"][1])).format == "JPEG"


def test_a_form_with_a_file(running: Running, character: Callable[..., dict]) -> None:
    fields = {name: value for name, value in character(samples="1").items() if name != "image"}
    content = base64.b64decode(character()["image"])
    answer = requests.post(running.url + CHARACTER, data=fields, files={"image": ("a.jpg", content, "image/jpeg")})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), answer.content


def test_a_repeated_idempotency_key_gives_the_same_job(running: Running, consistency: Callable[..., dict]) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = running.post("/getImagetoImage", consistency(), headers=headers).json()
    again = running.post("/getImagetoImage", consistency(), headers=headers).json()
    assert first["task_id"] == again["task_id"] and first["output"] == again["output"]
    other = running.post("/getImagetoImage", consistency(prompt="another"), headers=headers)
    assert (other.status_code, other.json()["status"]) == (409, "FAILED")


def test_a_client_that_hangs_up_cancels_nothing(running: Running, consistency: Callable[..., dict]) -> None:
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{running.url}/getImagetoImage", json=consistency(prompt="impatient"), timeout=0.03)
    jobs: list[dict] = []
    while not jobs:  # the request may still be read
        jobs = running.get("/jobs").json()["jobs"]
    assert running.wait(jobs[0]["id"])["state"] == "succeeded"


def test_a_lost_photo_fails_the_job_without_naming_folders(
    with_comfy: Settings, consistency: Callable[..., dict]
) -> None:
    with serving(with_comfy, run_jobs=False) as one:
        job = one.post("/getImagetoImage", consistency(celery=True)).json()["task_id"]
        (photo,) = one.service.photos.iterdir()
        photo.unlink()
    with serving(with_comfy) as one:
        ended = one.wait(job)
    assert (ended["state"], "send the request again" in ended["error"]) == ("failed", True)
    assert photo.name not in ended["error"] and str(with_comfy.data) not in ended["error"]


def test_orders_over_max_batch_become_several_prompts(running: Running, consistency: Callable[..., dict]) -> None:
    whole = running.post("/getImagetoImage", consistency(batch=4)).json()
    running.service.settings = running.settings.model_copy(update={"max_batch": 3})
    parts = running.post("/getImagetoImage", consistency(batch=4)).json()
    contents = [[running.get(link).content for link in body["output"]["result"]] for body in (whole, parts)]
    assert len(contents[1]) == 4 and contents[0] == contents[1]


def test_a_job_can_be_cancelled(idle: Running, consistency: Callable[..., dict]) -> None:
    job = idle.post("/getImagetoImage", consistency(celery=True)).json()["task_id"]
    assert [one["id"] for one in idle.get("/jobs").json()["jobs"]] == [job]
    requests.delete(f"{idle.url}/jobs/{job}")
    assert idle.get(f"/jobs/{job}").status_code == 404
    assert idle.post("/getImage", {"id": job}).status_code == 404


def test_a_running_job_can_be_cancelled(
    running: Running, consistency: Callable[..., dict], slow_graphs: object
) -> None:
    running.service.settings = running.settings.model_copy(update={"workflows": slow_graphs})
    job = running.post("/getImagetoImage", consistency(celery=True, width=512, height=512, batch=8)).json()["task_id"]
    while running.get(f"/jobs/{job}").json()["state"] == "queued":
        time.sleep(0.05)
    assert requests.delete(f"{running.url}/jobs/{job}").json()["state"] in ("deleting", "deleted")
    for _ in range(400):
        if running.service.store.get(job) is None:
            return
        time.sleep(0.05)
    raise AssertionError("The job is still there.")

"""Bad requests: each vendor's own shape and code, with the field named, and never a traceback."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import requests

from consistent_face.tests.api.conftest import Running

FACE = "/getImagetoImage"
AVATAR = "/getImageToImage"
GEN = "/api/v1/enterprise/face_gen/make_gen"
CHARACTER = "/v1/consistent-character-ai-neolemon"


@dataclass(frozen=True)
class Refused:
    """Reads a refusal in a vendor's shape."""

    path: str
    code: int  # of a value that is not accepted
    image: str

    def message(self, answer: requests.Response) -> str:
        body = answer.json()
        if self.path in (FACE, AVATAR):
            assert len(body) == 8 and body["status"] == "FAILED"
            return body["error_data"]
        if self.path == GEN:
            assert body["status"] == "error"
            return body["message"]
        assert list(body) == ["error"] and "x-remaining-credits" in answer.headers
        return body["error"]


VENDORS = [Refused(FACE, 400, "image"), Refused(GEN, 400, "face_image"), Refused(CHARACTER, 406, "image")]
EACH = pytest.mark.parametrize("vendor", VENDORS, ids=["qolaba", "modelslab", "segmind"])


@pytest.fixture
def body(photo_text: str) -> Callable[..., dict]:
    return lambda vendor, **more: {vendor.image: photo_text, "prompt": "a portrait", **more}


@EACH
@pytest.mark.parametrize(
    "broken",
    [
        "AAAA",
        "not base64 at all!",
        base64.b64encode(b"GIF89a" + bytes(100)).decode(),
        "data:text/html;base64,AAAA",
        "http://",
        "http://[::1",
        "file:///etc/passwd",
        "é" * 100,
        "\ud800",
        7,
        ["x"],
        {"a": 1},
        True,
    ],
    ids=lambda broken: repr(broken)[:20],
)
def test_a_picture_that_is_none(idle: Running, vendor: Refused, body: Callable[..., dict], broken: object) -> None:
    answer = idle.post(vendor.path, body(vendor, **{vendor.image: broken}))
    assert answer.status_code == vendor.code, answer.text
    assert vendor.image in vendor.message(answer)


@EACH
def test_a_truncated_picture(idle: Running, vendor: Refused, body: Callable[..., dict], photo_text: str) -> None:
    content = base64.b64decode(photo_text)
    half = base64.b64encode(content[: len(content) // 2]).decode()
    answer = idle.post(vendor.path, body(vendor, **{vendor.image: half}))
    assert (answer.status_code, vendor.image in vendor.message(answer)) == (vendor.code, True)


@EACH
@pytest.mark.parametrize("field", ["prompt", "picture"])
def test_missing_fields(idle: Running, vendor: Refused, body: Callable[..., dict], field: str) -> None:
    name = vendor.image if field == "picture" else field
    for absent in (None, "", "None"):
        answer = idle.post(vendor.path, body(vendor, **{name: absent}))
        assert (answer.status_code, vendor.message(answer)) == (vendor.code, f"{name} is required")


@pytest.mark.parametrize(
    ("path", "field", "found", "sentence"),
    [
        (FACE, "batch", 9, "batch must be a whole number from 1 to 8, but 9 was found."),
        (FACE, "batch", "9", "batch must be a whole number from 1 to 8, but '9' was found."),
        (FACE, "width", 255, "width must be a whole number from 256 to 1536, but 255 was found."),
        (FACE, "height", 1e999, "The body is not valid JSON: send a JSON object."),
        (FACE, "guidance_scale", 31, "guidance_scale must be a number from 1 to 30, but 31 was found."),
        (FACE, "guidance_scale", "nan", "guidance_scale must be a number from 1 to 30, but 'nan' was found."),
        (FACE, "strength", -0.1, "strength must be a number from 0 to 1, but -0.1 was found."),
        (
            FACE,
            "num_inference_steps",
            1.5,
            "num_inference_steps must be a whole number from 1 to 50, but 1.5 ",
        ),
        (
            FACE,
            "num_inference_steps",
            True,
            "num_inference_steps must be a whole number from 1 to 50, but True ",
        ),
        (FACE, "celery", "perhaps", "celery must be true or false, but 'perhaps' was found."),
        (FACE, "inference_type", "t4", "inference_type must be one of 'a10g', 'a100' or 'h100', but 't4' was found."),
        (FACE, "prompt", 7, "prompt must be a text, but 7 was found."),
        (FACE, "prompt", "x" * 8001, "prompt has more than 8000 characters."),
        (FACE, "app_id", "ap-other", "app_id 'ap-other' is unknown: send one of "),
        (AVATAR, "bg_color", "red", "bg_color must be "),
        (AVATAR, "gender", "x" * 41, "gender has more than 40 characters."),
        (GEN, "safety_checker_type", "hide", "safety_checker_type must be one of 'blur', "),
        (GEN, "width", "wide", "width must be a whole number, but 'wide' was found."),
        (GEN, "webhook", "ftp://x", "webhook must be an https URL"),
        (CHARACTER, "upscale_by", 5, "upscale_by must be a whole number from 1 to 4, but 5 was found."),
        (CHARACTER, "seed", 2**63, f"seed must be a whole number from -1 to {2**63 - 1}, but {2**63} was found."),
        (CHARACTER, "samples", 0, "samples must be a whole number from 1 to 4, but 0 was found."),
        (CHARACTER, "upscale_mode_type", "Round", "upscale_mode_type must be one of 'Linear', 'Chess' or 'None'"),
    ],
)
def test_values_that_are_refused(
    idle: Running, body: Callable[..., dict], path: str, field: str, found: object, sentence: str
) -> None:
    vendor = next((one for one in VENDORS if one.path == path), Refused(AVATAR, 400, "image"))
    if found == 1e999:
        text = '{"height": Infinity, "prompt": "a"}'
        answer = requests.post(idle.url + path, data=text, headers={"Content-Type": "application/json"})
    else:
        answer = idle.post(path, body(vendor, **{field: found}))
    assert answer.status_code == vendor.code
    assert vendor.message(answer).startswith(sentence)


@EACH
@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"x"', "[" * 100_000, b"\xff\xfe", '{"a": 1e400'])
def test_bodies_that_are_no_json_object(idle: Running, vendor: Refused, text: str | bytes) -> None:
    answer = requests.post(idle.url + vendor.path, data=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == vendor.code
    assert "JSON" in vendor.message(answer)


@EACH
def test_a_wrong_content_type(idle: Running, vendor: Refused) -> None:
    answer = requests.post(idle.url + vendor.path, data="{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == (406 if vendor.path == CHARACTER else 415)
    assert vendor.message(answer).startswith("Invalid content type text/plain")


@EACH
def test_a_form_that_is_none(idle: Running, vendor: Refused) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = requests.post(idle.url + vendor.path, data="nothing", headers={"Content-Type": kind})
        assert answer.status_code == vendor.code, answer.text
        assert vendor.message(answer)


@EACH
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_a_body_of_100_megabytes(idle: Running, vendor: Refused, announced: bool) -> None:
    block = bytes(2**20)
    data = (block for _ in range(100)) if not announced else block * 100
    try:
        answer = requests.post(idle.url + vendor.path, data=data, headers={"Content-Type": "application/json"})
    except requests.ConnectionError:  # refused while it was still being sent
        return
    assert answer.status_code == 413
    assert "bytes" in vendor.message(answer)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/another-model", 404),
        ("POST", "/v1/another-model", 404),
        ("GET", CHARACTER, 405),
        ("PUT", GEN, 405),
        ("POST", "/api/v1/enterprise/nothing", 404),
        ("POST", "/nothing", 404),
        ("GET", FACE, 405),
        ("GET", "/jobs/none", 404),
        ("GET", "/jobs?limit=0", 400),
        ("GET", "/files/x.png", 403),
    ],
)
def test_unmatched_paths_have_their_vendors_shape(idle: Running, method: str, path: str, code: int) -> None:
    answer = requests.request(method, idle.url + path)
    body = answer.json()
    assert answer.status_code == code
    assert "detail" not in body
    expected = {"error"} if path.startswith("/v1/") else {"status", "message"} if path.startswith("/api/v1/") else None
    assert set(body) == expected if expected else len(body) == 8


def test_modelslab_takes_the_nearest_value_and_says_so(idle: Running, generator: Callable[..., dict]) -> None:
    idle.service.settings = idle.settings.model_copy(update={"modelslab_sync_wait_s": 0.0})
    wild = generator(s_scale=7.5, num_inference_steps=20, width=4000, height="2000", samples=9, guidance_scale=99)
    answer = idle.post(GEN, {**wild, "colour": "red"})
    meta, warnings = answer.json()["meta"], answer.headers["x-warnings"]
    assert (meta["width"], meta["height"], meta["samples"], meta["num_inference_steps"]) == (512, 768, 2, 21)
    assert meta["guidance_scale"] == 20
    for name in ("s_scale 7.5", "num_inference_steps 20", "width", "height", "samples 9", "colour"):
        assert name in warnings


@pytest.mark.parametrize("digits", [30, 400, 5000])
def test_numbers_without_end(idle: Running, generator: Callable[..., dict], digits: int) -> None:
    idle.service.settings = idle.settings.model_copy(update={"modelslab_sync_wait_s": 0.0})
    answer = idle.post(GEN, generator(width="9" * digits))
    assert answer.status_code in (200, 400) and (digits == 5000 or answer.json()["meta"]["width"] == 768)
    assert idle.get(f"/jobs?before={'9' * digits}").status_code == 400


@EACH
def test_a_body_of_nothing_but_lists(idle: Running, vendor: Refused) -> None:
    """Parsed, it would take 25 times its size in memory."""
    body = '{"prompt": [' + ",".join(["[]"] * 100_000) + "]}"
    answer = requests.post(idle.url + vendor.path, data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == vendor.code and "values" in vendor.message(answer)


@EACH
def test_a_large_body_under_a_wrong_key(idle: Running, vendor: Refused, body: Callable[..., dict]) -> None:
    """It is not kept; who sends it still gets the answer."""
    idle.key()
    sent = body(vendor, **{vendor.image: "A" * 20_000_000})
    answer = idle.post(vendor.path, sent, "cf_wrong")
    assert answer.status_code == 401


@pytest.mark.parametrize(("found", "taken"), [(1, 21), (26, 31), (25, 21), ("36", 41), (1000, 41)])
def test_modelslab_rounds_steps(idle: Running, generator: Callable[..., dict], found: object, taken: int) -> None:
    idle.service.settings = idle.settings.model_copy(update={"modelslab_sync_wait_s": 0.0})
    assert idle.post(GEN, generator(num_inference_steps=found)).json()["meta"]["num_inference_steps"] == taken


@pytest.mark.parametrize(
    ("path", "more", "app_id"),
    [
        (FACE, {}, "ap-SwsTOsD7STxJ0obCkskUHw"),
        (AVATAR, {}, "ap-jL9u1wFpY5sRv2XmN3aQ44"),
        (FACE, {"gender": "male"}, "ap-jL9u1wFpY5sRv2XmN3aQ44"),
        (AVATAR, {"app_id": "ap-SwsTOsD7STxJ0obCkskUHw"}, "ap-SwsTOsD7STxJ0obCkskUHw"),
        (FACE, {"app_id": "ap-jL9u1wFpY5sRv2XmN3aQ44"}, "ap-jL9u1wFpY5sRv2XmN3aQ44"),
        (AVATAR, {"app_id": None, "bg_color": "#fff"}, "ap-jL9u1wFpY5sRv2XmN3aQ44"),
    ],
)
def test_qolaba_tells_its_models_apart(
    idle: Running, consistency: Callable[..., dict], path: str, more: dict, app_id: str
) -> None:
    assert idle.post(path, consistency(celery=True, **more)).json()["app_id"] == app_id


def test_numbers_and_booleans_may_be_texts(idle: Running, consistency: Callable[..., dict]) -> None:
    body = idle.post(FACE, consistency(batch="2", celery="yes", strength="0.5", width="257", height=None)).json()
    assert (body["status"], body["input"]["batch"], body["input"]["strength"]) == ("PENDING", 2, 0.5)
    row = idle.service.store.get(body["task_id"])
    assert row is not None and (row.values["width"], row.values["height"]) == (256, 1024)


def test_file_url_is_image(idle: Running, photo_text: str) -> None:
    answer = idle.post(FACE, {"file_url": photo_text, "prompt": "a", "celery": True})
    assert answer.json()["status"] == "PENDING"
    assert "file_url" not in answer.headers.get("x-warnings", "")


def test_what_is_not_finished_in_time_is_told(
    idle: Running, consistency: Callable[..., dict], character: Callable[..., dict]
) -> None:
    idle.service.settings = idle.settings.model_copy(update={"sync_wait_s": 0.1})
    pending = idle.post(FACE, consistency()).json()
    assert (pending["status"], bool(pending["task_id"])) == ("PENDING", True)
    answer = idle.post(CHARACTER, character())
    job = idle.get("/jobs").json()["jobs"][0]["id"]
    assert (answer.status_code, job in answer.json()["error"]) == (500, True)


def test_a_fault_of_ours_has_the_vendors_shape(
    idle: Running, consistency: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(idle.service.store, "add", broken)
    answer = idle.post(FACE, consistency())
    assert (answer.status_code, answer.json()["status"]) == (500, "FAILED")
    assert "secret" not in answer.text and "Traceback" not in answer.text

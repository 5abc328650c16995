"""The operator's routes: health, metrics, logs, documents, CORS, and a service without keys."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from consistent_face.api.__main__ import main
from consistent_face.api.base.logs import JsonFormatter, redacted
from consistent_face.api.jobs.lock import AlreadyRunningError, hold
from consistent_face.tests.api.conftest import Running, Settings, serving
from consistent_face.tools.paths import ROOT
from consistent_face.tools.server import free_port


def test_health_and_readiness(running: Running, settings: Settings) -> None:
    assert running.get("/healthz").text == "ok"
    assert running.get("/readyz").json() == {"store": True, "comfyui": True}
    with serving(settings, run_jobs=False) as alone:
        answer = alone.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"store": True, "comfyui": False})


def test_metrics_count_jobs_and_requests(running: Running, consistency: Callable[..., dict]) -> None:
    running.post("/getImagetoImage", consistency())
    ended = 'consistent_face_jobs_ended_total{state="succeeded",workflow="face_consistency"} 1.0'
    text = ""
    for _ in range(100):
        if ended in (text := running.get("/metrics").text):
            break
        time.sleep(0.02)
    assert 'consistent_face_jobs{state="succeeded"} 1.0' in text
    assert 'consistent_face_requests_total{route="/getImagetoImage",status="200"} 1.0' in text
    assert ended in text


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("Authorization: Bearer abc.def-1", "Authorization: [...] [...]"),
        ('{"key": "cf_0123456789012345678901234567890123456789"}', '{"key": "[...]"}'),
        ("x-api-key=SG_12345", "x-api-key=[...]"),
        ("posted to https://a.example/hook?token=s3cret&x=1 now", "posted to https://a.example/hook?[...] now"),
        ("https://me:pass@a.example/x", "https://[...]@a.example/x"),
        ("aws_secret_access_key: abc", "aws_secret_access_key: [...]"),
        ("image " + "QUJD" * 100, "image [base64]"),
        ("started cf_0123456789012345678901234567890123456789", "started [key]"),
        ("about a monkey: it is 5 years old", "about a monkey: it is 5 years old"),
    ],
)
def test_logs_keep_nothing_secret(said: str, left: str) -> None:
    assert redacted(said) == left


def test_a_request_is_logged_as_one_object_without_secrets(
    idle: Running, consistency: Callable[..., dict], photo_text: str
) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("consistent_face")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        key = idle.key()
        body = consistency(celery=True, prompt="secret prompt")
        idle.post("/getImagetoImage?token=hidden", body, key)
        idle.post("/getImage", {"id": "x"}, "cf_wrong-key-wrong-key-wrong-key")
    finally:
        logger.removeHandler(handler)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines[0]["route"] == "/getImagetoImage" and lines[0]["status"] == 200
    assert lines[0]["key_id"] == idle.service.keys.all()[0].id
    for secret in (key, "hidden", "secret prompt", photo_text[:100], "wrong-key"):
        assert secret not in out.getvalue()


def test_documents_for_all_and_for_each_vendor(idle: Running) -> None:
    whole = idle.get("/openapi.json").json()
    paths = {
        "qolaba": {"/getImagetoImage", "/getImageToImage", "/getImage"},
        "segmind": {"/v1/consistent-character-ai-neolemon"},
    }
    for vendor, expected in paths.items():
        assert set(idle.get(f"/openapi/{vendor}.json").json()["paths"]) == expected
    modelslab = set(idle.get("/openapi/modelslab.json").json()["paths"])
    assert {"/api/v1/enterprise/face_gen/make_gen", "/api/v1/enterprise/face_gen/fetch/{number}"} <= modelslab
    assert {"/jobs", "/jobs/{job_id}"} <= set(whole["paths"])
    for methods in whole["paths"].values():
        for operation in methods.values():
            assert "422" not in operation["responses"]
    body = whole["paths"]["/getImagetoImage"]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"]["app_id"] == "ap-SwsTOsD7STxJ0obCkskUHw"
    assert "segmind" in idle.get("/docs/segmind").text
    assert idle.get("/docs/nobody").status_code == 404


def test_cors_by_an_allow_list(settings: Settings) -> None:
    with serving(settings.model_copy(update={"cors_origins": ("https://app.example",)}), run_jobs=False) as one:
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}
        url = f"{one.url}/v1/consistent-character-ai-neolemon"
        allowed = requests.options(url, headers={"Origin": "https://app.example", **asks})
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-api-key" in allowed.headers["access-control-allow-headers"]
        denied = requests.options(url, headers={"Origin": "https://evil.example", **asks})
        assert "access-control-allow-origin" not in denied.headers
        answer = requests.post(url, json={}, headers={"Origin": "https://app.example"})
        assert "x-remaining-credits" in answer.headers["access-control-expose-headers"]


def test_without_keys_foreign_names_are_refused(idle: Running) -> None:
    """A page under a name of its own that leads to this machine (DNS rebinding) gets nothing."""
    answer = requests.get(f"{idle.url}/jobs", headers={"Host": "rebound.example"})
    assert (answer.status_code, answer.json()["status"]) == (403, "FAILED")
    idle.key()
    assert requests.get(f"{idle.url}/jobs", headers={"Host": "public.example"}).status_code == 401


def test_without_keys_pages_of_other_origins_are_refused(settings: Settings) -> None:
    """A form may be sent anywhere: any page could set a bucket of its own for all results."""
    evil = "https://evil.example"
    details = {"endpoint_url": f"{evil}/b", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    with serving(settings.model_copy(update={"cors_origins": ("https://app.example",)}), run_jobs=False) as one:
        path = f"{one.url}/api/v1/enterprise/update_s3"
        for origin in (evil, "null", "http://127.0.0.1:1"):
            answer = requests.post(path, data=details, headers={"Origin": origin})
            assert (answer.status_code, "CORS_ORIGINS" in answer.json()["message"]) == (403, True), origin
        assert one.service.bucket_for("open") == ""
        for origin in (one.url, "https://app.example"):
            assert requests.post(path, data=details, headers={"Origin": origin}).status_code == 200, origin
        one.key()
        assert requests.post(path, data=details, headers={"Origin": evil}).status_code == 401


def test_an_address_that_no_link_can_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"HOST": "0.0.0.0", "DATA": str(tmp_path)}.items():
        monkeypatch.setenv(f"CONSISTENT_FACE_{name}", value)
    assert main(["keys", "add", "anna"]) == 0
    assert main(["serve"]) == 1
    assert "set CONSISTENT_FACE_PUBLIC_URL" in capsys.readouterr().err


def test_links_begin_with_the_public_url(settings: Settings) -> None:
    public = settings.model_copy(update={"public_url": "https://faces.example/"})
    with serving(public, run_jobs=False) as one:
        assert one.service.disk.link("x.png", 0).startswith("https://faces.example/files/x.png?")
        assert requests.get(f"{one.url}/jobs", headers={"Host": "faces.example"}).status_code == 200


def test_one_service_a_data_folder(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(AlreadyRunningError, match="Another service runs on"), hold(tmp_path):
        pass
    with hold(tmp_path):
        pass


def test_alone_it_binds_to_loopback_says_so_and_stops_gracefully(tmp_path: Path) -> None:
    port = free_port()
    settings = {"HOST": "0.0.0.0", "PORT": str(port), "DATA": str(tmp_path)}
    environment = {**os.environ, **{f"CONSISTENT_FACE_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "api"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "running on" in line:
            break
    assert "There are no keys" in lines[0]
    assert f"http://127.0.0.1:{port}" in lines[-1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) in (0, -signal.SIGTERM)


def test_metrics_need_the_scope_admin_as_soon_as_there_are_keys(idle: Running) -> None:
    assert idle.get("/metrics").status_code == 200
    assert idle.get("/metrics", idle.key("plain")).status_code == 403
    assert idle.get("/metrics").status_code == 401
    assert idle.get("/metrics", idle.key("boss", scopes=("admin",))).status_code == 200


def test_a_fault_in_one_job_does_not_end_the_work(
    running: Running, consistency: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("consistent_face.api.jobs.runner.fill", lambda *_: 1 / 0)
        answer = running.post("/getImagetoImage", consistency()).json()
        assert (answer["status"], answer["error_data"]) == ("FAILED", "Internal error: tell the operator the job's id.")
    for _ in range(4):
        assert running.post("/getImagetoImage", consistency()).json()["status"] == "SUCCESS"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_data_folder_is_readable_by_its_owner_alone(settings: Settings) -> None:
    settings.data.mkdir(mode=0o755)
    with serving(settings, run_jobs=False):
        assert settings.data.stat().st_mode & 0o777 == 0o700

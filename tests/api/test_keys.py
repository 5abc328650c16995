"""Keys: where they are accepted, their scopes and credits, and that each sees only its own jobs."""

import hashlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from consistent_face.api.__main__ import main
from consistent_face.tests.api.conftest import Running

FACE = "/getImagetoImage"
GEN = "/api/v1/enterprise/face_gen/make_gen"
CHARACTER = "/v1/consistent-character-ai-neolemon"


@pytest.mark.parametrize(
    ("path", "headers", "fields"),
    [
        (FACE, {"Authorization": "Bearer {key}"}, {}),
        (FACE, {"authorization": "bearer {key}"}, {}),
        (GEN, {}, {"key": "{key}"}),
        (CHARACTER, {"x-api-key": "{key}"}, {}),
    ],
)
def test_every_documented_place_is_read(
    idle: Running, consistency: Callable[..., dict], path: str, headers: dict, fields: dict
) -> None:
    key = idle.key()
    body = {**consistency(batch=99, samples=99), **{name: value.format(key=key) for name, value in fields.items()}}
    body.pop("prompt")
    sent = {name: value.format(key=key) for name, value in headers.items()}
    assert requests.post(idle.url + path, json=body, headers=sent).status_code in (400, 406)


@pytest.mark.parametrize("path", [FACE, GEN, CHARACTER, "/getImage", "/api/v1/enterprise/update_s3"])
@pytest.mark.parametrize("key", [None, "cf_wrong", "", "é", "x" * 5000])
def test_wrong_and_missing_keys(idle: Running, path: str, key: str | None) -> None:
    idle.key()
    answer = idle.post(path, {"key": key})
    assert answer.status_code == 401
    assert "Invalid API key" in answer.text
    assert answer.headers.get("x-remaining-credits", "0") == "0"


def test_a_revoked_key_is_refused_and_does_not_open_the_service(idle: Running) -> None:
    key = idle.key()
    assert idle.get("/jobs", key).status_code == 200
    assert idle.service.keys.revoke("tester") and not idle.service.keys.revoke("tester")
    assert idle.get("/jobs", key).status_code == 401
    assert idle.get("/jobs").status_code == 401


def test_only_the_hash_is_kept(idle: Running) -> None:
    key = idle.key()
    with sqlite3.connect(idle.settings.data / "jobs.db") as database:
        stored = database.execute("SELECT * FROM keys").fetchone()
    assert hashlib.sha256(key.encode()).hexdigest() in stored
    assert not any(key in str(value) for value in stored)


def test_a_key_sees_its_own_jobs_alone(idle: Running, consistency: Callable[..., dict]) -> None:
    mine, other = idle.key("mine"), idle.key("other")
    job = idle.post(FACE, consistency(celery=True), mine).json()["task_id"]
    assert [one["id"] for one in idle.get("/jobs", mine).json()["jobs"]] == [job]
    assert idle.get("/jobs", other).json()["jobs"] == []
    assert idle.get(f"/jobs/{job}", other).status_code == 404
    delete = requests.delete(f"{idle.url}/jobs/{job}", headers={"x-api-key": other})
    assert delete.status_code == 404
    status = idle.post("/getImage", {"id": job}, other)
    assert (status.status_code, status.json()["status"]) == (404, "FAILED")
    number = idle.get(f"/jobs/{job}", mine).json()["number"]
    fetched = idle.post(f"/api/v1/enterprise/face_gen/fetch/{number}", {"key": other})
    assert (fetched.status_code, fetched.json()["status"]) == (404, "error")


def test_credits_are_reserved_and_come_back(idle: Running, consistency: Callable[..., dict]) -> None:
    key = idle.key("paying", credits=3)
    job = idle.post(FACE, consistency(celery=True, batch=2), key).json()["task_id"]
    refused = idle.post(FACE, consistency(celery=True, batch=2), key)
    assert (refused.status_code, "Insufficient credits" in refused.text) == (402, True)
    requests.delete(f"{idle.url}/jobs/{job}", headers={"x-api-key": key})
    assert idle.post(FACE, consistency(celery=True, batch=3), key).status_code == 200


def test_segmind_tells_credits_everywhere(idle: Running, character: Callable[..., dict]) -> None:
    idle.service.settings = idle.settings.model_copy(update={"sync_wait_s": 0.0})
    headers = {"x-api-key": idle.key("paying", credits=2)}
    late = idle.post(CHARACTER, character(samples=2), headers=headers)
    assert (late.status_code, late.headers["x-remaining-credits"]) == (500, "0")
    exhausted = idle.post(CHARACTER, character(), headers=headers)
    assert (exhausted.status_code, exhausted.headers["x-remaining-credits"]) == (406, "0")
    assert "Insufficient credits" in exhausted.json()["error"]


def test_credits_are_never_spent_twice(idle: Running, consistency: Callable[..., dict]) -> None:
    key = idle.key("racing", credits=5)
    with ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(lambda _: idle.post(FACE, consistency(celery=True), key).status_code, range(12)))
    assert sorted(codes) == [200] * 5 + [402] * 7


def test_safety_stays_on_without_the_scope(idle: Running, generator: Callable[..., dict]) -> None:
    idle.service.settings = idle.settings.model_copy(update={"modelslab_sync_wait_s": 0.0})
    answer = idle.post(GEN, generator(safety_checker=False, key=idle.key("plain")))
    assert answer.json()["meta"]["safety_checker"] == "yes"
    assert "safety_off" in answer.headers["x-warnings"]
    free = idle.post(GEN, generator(safety_checker=False, key=idle.key("free", scopes=("safety_off",))))
    assert free.json()["meta"]["safety_checker"] == "no"


def test_rate_and_concurrency_are_limited(idle: Running, consistency: Callable[..., dict]) -> None:
    key = idle.key("busy")
    idle.service.settings = idle.settings.model_copy(update={"concurrency": 2})
    codes = [idle.post(FACE, consistency(celery=True), key).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    idle.service.settings = idle.settings.model_copy(update={"rate_limit": "5/minute"})
    answers = [idle.post("/getImage", {"id": "x"}, idle.key("hasty")) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [404] * 5 + [429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


def test_guessing_keys_is_slowed_down(idle: Running) -> None:
    idle.key()
    idle.service.settings = idle.settings.model_copy(update={"failures_limit": "3/minute"})
    answers = [idle.post(GEN, {"key": f"cf_guess{number}"}) for number in range(4)]
    assert [answer.status_code for answer in answers][-1] == 429
    assert answers[-1].json()["status"] == "error"


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CONSISTENT_FACE_DATA", str(tmp_path))
    assert main(["keys", "add", "anna", "--credits", "10", "--scope", "admin"]) == 0
    key = capsys.readouterr().out.split()[1]
    assert key.startswith("cf_") and len(key) > 40
    assert main(["keys", "add", "anna"]) == 1
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert "anna\tactive\t10 credits\tadmin" in listed and key not in listed
    assert main(["keys", "revoke", "anna"]) == 0 and main(["keys", "revoke", "anna"]) == 1
    assert main(["webhooks", "redeliver"]) == 0
    assert main(["webhooks", "secret", "anna"]) == 0
    assert "whsec_" in capsys.readouterr().out

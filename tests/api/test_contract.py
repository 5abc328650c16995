"""schemathesis: whatever is sent to the paths of our own OpenAPI document, the answers keep to it."""

import subprocess
import sys

import pytest

from consistent_face.tests.api.conftest import Running

# A text that the schema allows is seldom a picture, so that well-formed requests are refused too.
EXCLUDED = "positive_data_acceptance"


def run(idle: Running, examples: int, seed: int) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{idle.url}/openapi.json", "--no-color"]
    command += ["--checks", "all", "--exclude-checks", EXCLUDED, "--suppress-health-check", "all"]
    # One worker: two threads in `ast` at once fail in Python 3.11 (github.com/python/cpython/issues/106905).
    command += ["--workers", "1"]
    # The phase of examples recurses so deep that Python 3.11 fails in `ast`; they have a test of their own.
    command += ["--phases", "coverage,fuzzing,stateful", "--max-examples", str(examples), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]


def test_every_operation(idle: Running) -> None:
    idle.service.settings = idle.settings.model_copy(update={"sync_wait_s": 0.1, "modelslab_sync_wait_s": 0.1})
    run(idle, 15, seed=6)


def test_the_documents_examples_are_accepted(idle: Running, photo_text: str) -> None:
    idle.service.settings = idle.settings.model_copy(update={"sync_wait_s": 0.0, "modelslab_sync_wait_s": 0.0})
    for path, methods in idle.get("/openapi.json").json()["paths"].items():
        body = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        if not {"image", "face_image"} & set(example := body.get("example", {})):
            continue
        own = {name: photo_text for name in ("image", "face_image") if name in example}
        answer = idle.post(path, {**example, **own})
        assert answer.status_code == 200 or "not finished yet" in answer.text, answer.text
        assert "ignored" not in answer.headers.get("x-warnings", "")


@pytest.mark.long
def test_every_operation_at_length(idle: Running) -> None:
    run(idle, 500, seed=60)

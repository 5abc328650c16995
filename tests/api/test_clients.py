"""Programs written for the vendors: the samples that their documents print, and their own clients from PyPI.

Nothing in them is changed but the host, the key and the picture's address.
"""

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from modelslab_py.core.apis.image_editing import Image_editing
from modelslab_py.core.client import Client
from modelslab_py.schemas.image_editing import FacegenSchema
from PIL import Image
from playwright.sync_api import sync_playwright
from segmind import SegmindClient
from segmind.exceptions import SegmindError

from consistent_face.tests.api.conftest import PHOTO, Running, Settings, serving
from consistent_face.tools import chromium

SAMPLES = Path(__file__).parent / "samples"
CHARACTER = "consistent-character-ai-neolemon"


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """A web server of the test photos, which is also where a page of one's own would come from."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(PHOTO.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_modelslabs_fetch_call_in_a_browser(with_comfy: Settings, web: str) -> None:
    with serving(with_comfy.model_copy(update={"cors_origins": (web,)})) as running:
        script = (SAMPLES / "modelslab.js").read_text()
        picture = script.partition('"face_image":"')[2].partition('"')[0]
        script = script.replace("https://modelslab.com", running.url).replace(picture, f"{web}/{PHOTO.name}")
        script = script.replace('"key": ""', f'"key": "{running.key()}"')
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"{web}/README.md")
            with page.expect_console_message(lambda message: message.type == "log") as said:
                page.evaluate(script)
            text = said.value.text
            browser.close()
        job = running.get("/jobs", running.key()).json()["jobs"][0]
    assert '"status":"success"' in text, text
    assert '"seed":1234' in text and '"safety_checker":"yes"' in text and f'"id":{job["number"]}' in text


def test_segminds_requests_call(running: Running, web: str, tmp_path: Path) -> None:
    script = (SAMPLES / "segmind.py.txt").read_text().replace("https://api.segmind.com", running.url)
    picture = script.partition('image_url_to_base64("')[2].partition('"')[0]
    script = script.replace(picture, f"{web}/{PHOTO.name}").replace("YOUR_API_KEY", running.key())
    (tmp_path / "sample.py").write_text(script)
    done = subprocess.run([sys.executable, "sample.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    content = eval(done.stdout)  # what the sample prints: the bytes of the picture
    assert Image.open(io.BytesIO(content)).format == "JPEG"
    assert running.service.store.jobs(running.service.keys.all()[0].id, 1, None)[0].values["seed"] == 4898558797


def test_qolabas_body(running: Running, web: str) -> None:
    """Every field of the documented table, each with an ordinary value."""
    body = {
        "app_id": "ap-SwsTOsD7STxJ0obCkskUHw",
        "image": f"{web}/{PHOTO.name}",
        "prompt": "portrait photo of a person",
        "batch": 1,
        "height": 512,
        "width": 512,
        "num_inference_steps": 30,
        "guidance_scale": 7.5,
        "negative_prompt": "blurry",
        "strength": 0.8,
        "celery": False,
        "inference_type": "a10g",
    }
    answer = running.post("/getImagetoImage", body, running.key())
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCESS")
    assert "x-warnings" not in answer.headers
    assert {name: answer.json()["input"][name] for name in body} == body


def test_segminds_own_client(running: Running, character: Callable[..., dict]) -> None:
    client = SegmindClient(api_key=running.key("theirs", credits=1), base_url=f"{running.url}/v1")
    answer = client.run_sync(CHARACTER, **character())
    assert Image.open(io.BytesIO(answer.content)).format == "JPEG"
    assert answer.headers["x-remaining-credits"] == "0"
    with pytest.raises(SegmindError, match="Insufficient credits") as refusal:
        client.run_sync(CHARACTER, **character())
    assert refusal.value.status == 406


def test_modelslabs_own_client(running: Running, web: str) -> None:
    client = Client(api_key=running.key(), fetch_retry=3, fetch_timeout=1)
    client.base_url = f"{running.url}/api/"
    api = Image_editing(client, enterprise=True)
    made = api.facegen(FacegenSchema(prompt="pretty woman", face_image=f"{web}/{PHOTO.name}"))  # type: ignore[call-arg]
    assert made is not None
    assert (made["status"], made["meta"]["num_inference_steps"]) == ("success", 21)
    fetched = api.fetch(str(made["id"]))
    assert fetched is not None and fetched["output"] == made["output"]
    address = f"{client.base_url}v1/enterprise/face_gen/make_gen"
    again = client.post(address, {"prompt": "pretty woman", "face_image": f"{web}/{PHOTO.name}"})
    assert again is not None and again["status"] == "success"
    with pytest.raises(Exception, match="face_image is required"):
        client.post(address, {"prompt": "pretty woman"})

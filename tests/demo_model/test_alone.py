"""Training needs torch, numpy, Pillow and safetensors alone; the demo takes the trained model where it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from consistent_face.tools import demo
from consistent_face.tools import trained_model as trained
from consistent_face.tools.demo_requests import REQUESTS
from consistent_face.tools.paths import HOST

ELSEWHERE = (
    *("aiohttp", "cv2", "comfy", "diffusers", "huggingface_hub", "insightface", "onnx", "onnxruntime", "openvino"),
    *("pooch", "rembg", "scipy", "torchvision", "transformers"),
)


def test_a_training_machine_needs_little() -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({ELSEWHERE!r}))"
    command = f"{blocked}; sys.path.insert(0, {str(HOST / 'package')!r}); import consistent_face.demo_model.train"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_weights_are_no_model(tmp_path: Path) -> None:
    assert not trained.present(tmp_path)
    (tmp_path / "demo-1-of-1.safetensors").touch()
    assert trained.present(tmp_path)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.workflow)
def test_the_demo_takes_the_trained_model(request_: demo.Request) -> None:
    names = {"checkpoint": "demo_sd15_0.safetensors", "adapter": "demo_faceid_sd15_0.safetensors"}
    random, made = demo.small_models(request_, {}), demo.small_models(request_, names)
    assert random["checkpoint"] == "offline_sd15.safetensors"
    assert {name: made[name] for name in names} == names
    assert made["guidance"] == 3.0 and set(random) - set(made) == set()
    assert set(trained.SUITS[request_.workflow]) <= set(demo.PARAMETERS[request_.workflow])

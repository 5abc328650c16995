"""The demo's requests: one for each documented endpoint that has a workflow, in the vendor's format."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..api.comfyui.workflow import PARAMETERS
from ..api.vendors.examples import MODELSLAB_EXAMPLES, SEGMIND_EXAMPLE
from .paths import ROOT

PHOTO = ROOT / "tests" / "photos" / "astronaut.jpg"  # Eileen Collins, NASA, public domain
POSES = ROOT / "tests" / "golden" / "pose" / "two.png"  # a sheet of two figures
JobId = Callable[[bytes, Mapping[str, str]], str]  # (the answer's body, its headers)
SMALL_SIZE = {"width": 256, "height": 256}  # the small models know no other


@dataclass(frozen=True)
class Request:
    """`pictures` are files by field, sent as base64; `small` changes the body for the small models."""

    workflow: str
    path: str
    body: Mapping[str, object]
    job_id: JobId
    pictures: Mapping[str, Path] = field(default_factory=lambda: {"image": PHOTO})
    small: Mapping[str, object] = field(default_factory=dict)


def _qolaba(content: bytes, headers: Mapping[str, str]) -> str:
    return json.loads(content)["task_id"]


def _modelslab(content: bytes, headers: Mapping[str, str]) -> str:
    return json.loads(content)["meta"]["file_prefix"]


def _segmind(content: bytes, headers: Mapping[str, str]) -> str:
    return headers["x-request-id"]


ALL = (
    Request(
        "face_consistency",
        "/getImagetoImage",
        {
            "app_id": "ap-SwsTOsD7STxJ0obCkskUHw",
            "prompt": "portrait photo of a person in a red coat, city street, soft light",
            "negative_prompt": "blurry, low quality",
            "batch": 2,
        },
        _qolaba,
        small={**SMALL_SIZE, "num_inference_steps": 10},
    ),
    Request(
        "face_avatar",
        "/getImageToImage",
        {"app_id": "ap-jL9u1wFpY5sRv2XmN3aQ44", "prompt": None, "gender": "female", "remove_background": True},
        _qolaba,
        small={**SMALL_SIZE, "num_inference_steps": 10},
    ),
    Request(
        "face_generator",
        "/api/v1/enterprise/face_gen/make_gen",
        {name: value for name, value in MODELSLAB_EXAMPLES["make_gen"].items() if name not in ("key", "face_image")},
        _modelslab,
        pictures={"face_image": PHOTO},
        small=SMALL_SIZE,
    ),
    Request(
        "consistent_character",
        "/v1/consistent-character-ai-neolemon",
        {name: value for name, value in SEGMIND_EXAMPLE.items() if name != "image"},
        _segmind,
        pictures={"image": POSES, "ip_image": PHOTO},
        small={"num_inference_steps": 4, "upscale_steps": 4, "fd_steps": 4},
    ),
)
REQUESTS = tuple(request for request in ALL if request.workflow in PARAMETERS)

"""ComfyUI's own modules, in process and on the CPU, for tests of single nodes."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch

from consistent_face.tools.launcher import declare_missing_operators
from consistent_face.tools.paths import COMFYUI

if not (COMFYUI / "main.py").exists():
    raise RuntimeError(f"No ComfyUI in {COMFYUI}: start the tests with 'python dev.py test', which fetches it.")

sys.path.insert(0, str(COMFYUI))
declare_missing_operators()

import comfy.cli_args  # noqa: E402

comfy.cli_args.args.cpu = True  # read once, when comfy.model_management is imported

if TYPE_CHECKING:
    from comfy.clip_vision import ClipVisionModel
    from comfy.model_patcher import ModelPatcher

    from consistent_face.core.ip_adapter.checkpoint import Adapter


@pytest.fixture
def inference() -> Iterator[None]:
    with torch.inference_mode():  # as ComfyUI runs nodes
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tensors of narrow UNets are so small that threads wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def sd15() -> "ModelPatcher":
    from consistent_face.tests.nodes import unets

    with torch.inference_mode():
        return unets.sd15()


@pytest.fixture(scope="session")
def sdxl() -> "ModelPatcher":
    from consistent_face.tests.nodes import unets

    with torch.inference_mode():
        return unets.sdxl()


@pytest.fixture(scope="session")
def clip_vision() -> "ClipVisionModel":
    """A CLIP vision that is small enough to run here."""
    from comfy.clip_vision import ClipVisionModel

    from consistent_face.tests.nodes.people import WIDTH

    size = {"num_hidden_layers": 3, "hidden_size": WIDTH, "num_attention_heads": 2, "intermediate_size": 128}
    look = {"hidden_act": "gelu", "image_size": 224, "patch_size": 14, "num_channels": 3, "projection_dim": 32}
    clip = ClipVisionModel({"model_type": "clip_vision_model", **size, **look})
    generator = torch.Generator().manual_seed(7)
    for parameter in clip.model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    return clip


@pytest.fixture(scope="session")
def adapter() -> "Adapter":
    """FaceID Plus v2 for the narrow SD1.5."""
    from consistent_face.core.ip_adapter.checkpoint import read_adapter
    from consistent_face.tests.nodes import people, unets

    return read_adapter("small_plusv2.bin", people.file_of(unets.SD15_LAYERS, 768, plus=True), lambda: "")


@pytest.fixture(scope="session")
def adapter_sdxl() -> "Adapter":
    from consistent_face.core.ip_adapter.checkpoint import read_adapter
    from consistent_face.tests.nodes import people, unets

    return read_adapter("small_sdxl.bin", people.file_of(unets.SDXL_LAYERS, 2048), lambda: "")


@pytest.fixture
def blind(adapter: "Adapter", inference: None) -> dict[str, Any]:
    """Plus v2 without CLIP vision, which wants structure 0."""
    from consistent_face.tests.nodes.people import encoded

    return {"identity": encoded(adapter), "structure": 0.0}

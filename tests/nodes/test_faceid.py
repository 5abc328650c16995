"""Load Adapter and Encode Identity inside ComfyUI: encoding, other families, bad files."""

import gc
import pickle
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from safetensors.torch import save_file
from torch.nn.functional import linear

from consistent_face.core.errors import IdentityError, ModelMissingError, WrongModelError
from consistent_face.core.identity.build import Identity
from consistent_face.core.ip_adapter.checkpoint import Adapter, read_adapter
from consistent_face.core.ip_adapter.encoding import encode
from consistent_face.core.ip_adapter.projection import Reading, build_projection
from consistent_face.core.ip_adapter.variants import Kind
from consistent_face.nodes.comfy import encoding
from consistent_face.nodes.faceid import EncodeIdentity, LoadAdapter
from consistent_face.tests import adapters
from consistent_face.tests.nodes import unets
from consistent_face.tests.nodes.people import WIDTH, applied, encoded, file_of, person

pytestmark = pytest.mark.usefixtures("inference", "one_thread")


def test_encoding_is_the_networks_on_the_crops_and_on_zeros(adapter: Adapter, clip_vision: ClipVisionModel) -> None:
    identity = person(2)
    found = encoded(adapter, identity, clip_vision)
    pixels = (identity.crops.movedim(-1, 1) - torch.tensor(clip_vision.image_mean).view(3, 1, 1)) / torch.tensor(
        clip_vision.image_std
    ).view(3, 1, 1)
    states = clip_vision.model.vision_model(torch.cat([pixels, torch.zeros_like(pixels[:1])]), intermediate_output=-2)
    sight, blank = states[1][:2].float(), states[1][2:].float()
    network = build_projection(adapter.kind, adapter.projection)
    reading = Reading(identity.embeddings, identity.unit, identity.weights, sight, blank)
    expected = encode(adapter, *network.read(reading))
    assert found.structure is not None and expected.structure is not None
    for ours, theirs in zip(found.base + found.structure, expected.base + expected.structure, strict=True):
        torch.testing.assert_close(ours.keys, theirs.keys, atol=2e-5, rtol=0)
        torch.testing.assert_close(ours.values, theirs.values, atol=2e-5, rtol=0)


def test_nothing_of_the_network_stays_after_encoding(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = []

    def noted(*args: Any) -> torch.nn.Module:
        network = build_projection(*args)
        networks.append(weakref.ref(network))
        return network

    monkeypatch.setattr(encoding, "build_projection", noted)
    encoded(adapter)
    gc.collect()
    assert len(networks) == 1 and networks[0]() is None


def test_an_empty_identity_encodes_to_nothing_and_changes_nothing(adapter: Adapter, sd15: ModelPatcher) -> None:
    nothing = encoded(adapter, Identity.empty())
    assert nothing.is_empty
    assert applied(sd15, nothing) is sd15


def test_models_are_asked_for_only_where_there_is_a_face_and_clip_vision_only_where_it_is_read(
    adapter: Adapter, adapter_sdxl: Adapter
) -> None:
    needs: Callable[..., list[str]] = EncodeIdentity.check_lazy_status
    both = {"adapter": None, "clip_vision": None}
    assert needs(identity=Identity.empty(), **both) == []
    assert needs(identity=person(), **both) == ["adapter"]
    assert needs(identity=person(), adapter=adapter, clip_vision=None) == ["clip_vision"]
    assert needs(identity=person(), adapter=adapter_sdxl, clip_vision=None) == []  # plain FaceID
    assert needs(identity=person(), adapter=adapter) == []  # none is connected
    assert EncodeIdentity.execute(None, Identity.empty())[0].is_empty


def test_another_clip_vision_and_another_recognizer_are_refused(clip_vision: ClipVisionModel) -> None:
    file = file_of((32,), 768) | {"image_proj": adapters.meta(adapters.plus_shapes(768))}
    wants_vit_h = read_adapter("plusv2.bin", file, lambda: "")
    with pytest.raises(WrongModelError, match=f"width 1280, but the connected CLIP vision gives {WIDTH}"):
        encoded(wants_vit_h, person(), clip_vision)
    with pytest.raises(IdentityError, match=r"the identity has 256 \(from w600k_mbf\)"):
        encoded(wants_vit_h, person(width=256), clip_vision)


# Wrong models


def test_an_adapter_of_the_other_family_is_refused(
    sd15: ModelPatcher, sdxl: ModelPatcher, adapter: Adapter, adapter_sdxl: Adapter
) -> None:
    with pytest.raises(WrongModelError, match=r'"small_plusv2\.bin" is an adapter for SD1\.5, but the model is SDXL'):
        applied(sdxl, encoded(adapter), structure=0.0)
    with pytest.raises(WrongModelError, match=r'"small_sdxl\.bin" is an adapter for SDXL, but the model is SD1\.5'):
        applied(sd15, encoded(adapter_sdxl))


@pytest.mark.parametrize(
    ("layers", "message"),
    [(unets.SD15_LAYERS[:-1], "has 15 cross-attention layers, but the model has 16"), ((320,) * 16, "is 320 wide")],
)
def test_an_adapter_for_another_unet_is_refused(layers: tuple[int, ...], message: str, sd15: ModelPatcher) -> None:
    other = read_adapter("other.bin", file_of(layers, 768), lambda: "")
    with pytest.raises(WrongModelError, match=message):
        applied(sd15, encoded(other))


def test_a_model_without_unet_is_refused(adapter: Adapter) -> None:
    model = torch.nn.Module()
    model.diffusion_model = torch.nn.Linear(1, 1)
    flux = ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
    with pytest.raises(WrongModelError, match="has no UNet with cross-attention"):
        applied(flux, encoded(adapter), structure=0.0)


def test_structure_without_clip_vision_is_refused(sd15: ModelPatcher, adapter: Adapter) -> None:
    with pytest.raises(IdentityError, match="connect CLIP vision to Encode Identity, or set structure to 0"):
        applied(sd15, encoded(adapter))


# Files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    entry = ([str(tmp_path)], set(folder_paths.supported_pt_extensions))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "ipadapter", entry)
    return tmp_path


def load(name: str, variant: str = "auto") -> Adapter:
    return LoadAdapter.execute(name, variant)[0]


def test_bin_and_safetensors_load_alike(folder: Path) -> None:
    file = file_of((32, 64), 768)
    torch.save(file, folder / "face.bin")
    save_file(adapters.flat(file), folder / "face.safetensors")
    one, other = load("face.bin"), load("face.safetensors")
    for ours, theirs in zip(one.keys + one.values, other.keys + other.values, strict=True):
        assert torch.equal(ours, theirs)
    tokens = torch.ones(2, 4, 768)
    layer = encode(one, tokens, None).base[0].keys[:, 0]
    assert torch.equal(layer, linear(tokens, file["ip_adapter"]["1.to_k_ip.weight"]))


def test_the_setting_decides_what_nothing_else_can(folder: Path) -> None:
    torch.save(file_of((32,), 768, plus=True), folder / "face.bin")
    with pytest.raises(WrongModelError, match="set 'variant'"):
        load("face.bin")
    kinds = [load("face.bin", setting).kind for setting in ("plus", "plus v2")]
    assert kinds == [Kind.PLUS, Kind.PLUS_V2]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code of a pickle was run",))


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "pickle", "code", "json as safetensors", "cut safetensors"])
def test_what_is_no_file_of_tensors_is_refused_in_a_sentence(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(file_of((32,), 768), folder / "whole.bin")
    save_file(adapters.flat(file_of((32,), 768)), folder / "whole.safetensors")
    whole, tensors = (folder / "whole.bin").read_bytes(), (folder / "whole.safetensors").read_bytes()
    name, content = {
        "text": ("a.bin", b"<html>Access to this model is restricted</html>"),
        "empty": ("a.bin", b""),
        "cut": ("a.bin", whole[: len(whole) // 2]),
        "pickle": ("a.bin", pickle.dumps([1, 2], 2)),
        "code": ("a.bin", pickle.dumps(Evil(), 2)),
        "json as safetensors": ("a.safetensors", b'{"a": 1}'),
        "cut safetensors": ("a.safetensors", tensors[: len(tensors) // 2]),
    }[kind]
    (folder / name).write_bytes(content)
    with pytest.raises(WrongModelError, match=rf'^"{name}" is (not a file of tensors|no IP-Adapter)[^\n]*\.$'):
        load(name)
    assert "code of a pickle" not in capsys.readouterr().out


def test_a_file_of_other_tensors_is_refused(folder: Path) -> None:
    save_file({"model.weight": torch.zeros(2)}, folder / "lora.safetensors")
    with pytest.raises(WrongModelError, match=r'"lora\.safetensors" is no IP-Adapter'):
        load("lora.safetensors")


def test_a_missing_file_is_named_with_its_source(folder: Path) -> None:
    name = "ip-adapter-faceid-plusv2_sdxl.bin"
    message = LoadAdapter.validate_inputs(name)
    assert isinstance(message, str) and name in message and "https://" in message
    with pytest.raises(ModelMissingError, match=re.escape(name)):
        load(name)
    (folder / name).touch()
    assert LoadAdapter.validate_inputs(name) is True
    assert LoadAdapter.validate_inputs(None) is True
    assert LoadAdapter.validate_inputs("../../etc/passwd") is not True

"""The small models have the published layouts, and are the same wherever they are made."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from consistent_face.tools import offline, shapes, weights


def count(layout: shapes.Shapes) -> int:
    return sum(math.prod(shape) for shape in layout.values())


def test_sizes_are_those_of_the_published_models() -> None:
    assert count(shapes.clip_text()) == 123_060_480
    assert count(shapes.clip_vision(range(32))) == 632_076_800
    assert count(shapes.taesd()) == 2_445_063
    assert count(shapes.unet()) == 25_789_444


def test_face_layers_are_numbered_as_published() -> None:
    layers = shapes.face_layers(16)
    assert len(layers) == 288, "256 of LoRA and 32 of K and V, as in ip-adapter-faceid-plusv2_sd15.bin"
    assert layers["1.to_k_ip.weight"] == (320, 768) and "0.to_k_ip.weight" not in layers
    assert layers["0.to_k_lora.down.weight"] == (128, 320)
    assert layers["1.to_k_lora.down.weight"] == (128, 768)


def test_face_layers_count_the_unets_transformers() -> None:
    transformers = [name for name in shapes.unet() if name.endswith("attn2.to_k.weight")]
    assert len(transformers) == offline.TRANSFORMERS


def test_the_same_seed_gives_the_same_values() -> None:
    layout = shapes.face_layers(1)
    first, again, other = (weights.fill(layout, seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in layout)
    assert not torch.equal(first["1.to_k_ip.weight"], other["1.to_k_ip.weight"])


def test_values_keep_a_signals_size() -> None:
    state = weights.fill(shapes.face_projection(), 1)
    signal = torch.nn.functional.linear(torch.ones(1280), state["perceiver_resampler.proj_in.weight"])
    assert 0.8 < signal.std() < 1.2
    assert state["norm.weight"].eq(1).all() and state["norm.bias"].eq(0).all()


def test_a_saved_file_is_safetensors_with_zeros_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    value = torch.arange(6.0).reshape(2, 3)
    weights.save({"a": value}, path, zeros={"b": (4, 5)})
    loaded = load_file(path)
    assert torch.equal(loaded["a"], value.half())
    assert torch.equal(loaded["b"], torch.zeros(4, 5, dtype=torch.float16))


def test_autoencoder_gives_a_smooth_picture_back() -> None:
    vae = weights.fill(shapes.taesd(), 0)
    weights.autoencode(vae)
    halved = torch.nn.functional.conv2d(
        torch.eye(64)[:3].sum(0)[None, :, None, None].expand(1, 64, 8, 8),
        vae["taesd_encoder.2.weight"],
        stride=2,
        padding=1,
    )
    assert torch.equal(halved[0, :3, :, :], torch.ones(3, 4, 4)), "an average of 2x2 pixels keeps a flat colour"
    assert not vae["taesd_encoder.3.conv.0.weight"].any()


def test_what_exists_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def write(path: Path) -> None:
        made.append(path.name)
        path.write_text("x")

    monkeypatch.setattr(offline, "FILES", {"a/b.txt": write, "c.txt": write})
    offline.make(tmp_path)
    offline.make(tmp_path)
    assert made == ["b.txt", "c.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c.txt"}, "nothing half made is left"


def test_a_broken_off_file_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError("no space left")

    monkeypatch.setattr(offline, "FILES", {"a/b.txt": write})
    with pytest.raises(OSError):
        offline.make(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_controlnet_is_half_of_that_unet() -> None:
    half = {name.removeprefix("control_model.") for name in shapes.controlnet()}
    assert {name for name in shapes.unet() if not name.startswith("out")} < half
    assert sum(name.startswith("zero_convs") for name in half) == 4  # weight and bias, for two blocks
    assert sum(name.startswith("input_hint_block") for name in half) == 16

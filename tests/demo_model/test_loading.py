"""Exports a trained network and loads it again, by ComfyUI's loaders and ours: it is the same network."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from consistent_face.core.faces.detection import Recognizer
from consistent_face.core.identity.build import Identity
from consistent_face.core.ip_adapter.encoding import EncodedIdentity
from consistent_face.core.ip_adapter.variants import AUTO, Kind
from consistent_face.demo_model import captions, data
from consistent_face.demo_model.text import TextEncoder
from consistent_face.demo_model.unet import CONTEXT
from consistent_face.demo_model.unet_stage import Model
from consistent_face.demo_model.vae import SD15_SCALE, Autoencoder
from consistent_face.nodes.apply import ApplyIdentity
from consistent_face.nodes.comfy.encoding import encode_identity, load_adapter
from consistent_face.nodes.comfy.folders import ADAPTERS
from consistent_face.tools import trained_model as trained
from consistent_face.tools import trained_weights as export
from consistent_face.tools.paths import COMFYUI

pytestmark = pytest.mark.usefixtures("inference", "one_thread")


@dataclass(frozen=True)
class Made:
    """The networks that were exported, with the values that were stored, and what the loaders made of the files."""

    network: Model
    vae: Autoencoder
    files: list[Path]
    model: Any
    clip: Any
    loaded_vae: Any
    adapter: str


def lively(module: torch.nn.Module) -> None:
    """Random values everywhere, for fresh layers that are zero would hide a mistake."""
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        value = torch.randn(parameter.shape, generator=generator)
        parameter.data = value / value[0].numel() ** 0.5 if value.ndim > 1 else 1 + 0.1 * value


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("demo-model")
    network, vae = Model(), Autoencoder()
    lively(network)
    vae.standardise(torch.randn(1, 4, 32, 32) * 1.7 + 0.3)
    whole = export.prefixed(export.UNET, network.unet.state_dict()) | export.prefixed(export.VAE, vae.state_dict())
    files = export.write(whole | network.adapter.state_dict(), folder / "weights", {"steps": "0"})
    names = trained.make(folder, folder / "weights")

    stored = {name: x.half().float() if x.ndim else x for name, x in export.read(folder / "weights").items()}
    network.unet.load_state_dict(export.under(export.UNET, stored))
    network.adapter.load_state_dict({name: x for name, x in stored.items() if name.startswith(export.ADAPTER)})
    vae.load_state_dict(export.under(export.VAE, stored))

    folder_paths.add_model_folder_path("checkpoints", str(folder / "checkpoints"))
    folder_paths.add_model_folder_path(ADAPTERS, str(folder / "ipadapter"))
    sys.path.insert(0, str(COMFYUI))
    import nodes

    loader: Any = nodes
    with torch.inference_mode():
        model, clip, loaded_vae = loader.CheckpointLoaderSimple().load_checkpoint(names["checkpoint"])
    yield Made(network.eval(), vae.eval(), files, model, clip, loaded_vae, names["adapter"])


def test_the_shards_fit(made: Made) -> None:
    sizes = [path.stat().st_size for path in made.files]
    assert max(sizes) <= 15 * 2**20
    assert sum(sizes) <= 40e6


def test_fp8_keeps_the_values(made: Made) -> None:
    generator = torch.Generator().manual_seed(6)
    value = torch.randn(320, 640, 3, 3, generator=generator) * torch.logspace(-4, 1, 320)[:, None, None, None]
    again = export.restored(export.reduced({"a": value}))["a"]
    assert ((again - value).flatten(1).norm(dim=1) / value.flatten(1).norm(dim=1)).max() < 0.04, "in every row"


def inputs() -> tuple[Tensor, ...]:
    """Latents, times, text and unit embeddings of two rows: somebody, and nobody."""
    generator = torch.Generator().manual_seed(7)
    x, text = torch.randn(2, 4, 32, 24, generator=generator), torch.randn(2, 77, CONTEXT, generator=generator)
    person = normalize(torch.randn(512, generator=generator), dim=0)
    return x, torch.tensor([500, 500]), text, torch.stack([person, torch.zeros(512)])


def encoded(made: Made, person: Tensor) -> EncodedIdentity:
    adapter = load_adapter(made.adapter, AUTO)
    assert adapter.kind is Kind.FACEID and not adapter.lora
    crop = torch.zeros(1, 224, 224, 3)
    one = Identity(20 * person[None], crop, torch.ones(1), Recognizer("w600k_mbf", "0" * 64))
    return encode_identity(adapter, one, None)


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_comfyui_finds_the_same_noise(made: Made, weight: float) -> None:
    x, time, text, embedding = inputs()
    patched = ApplyIdentity.execute(made.model, encoded(made, embedding[0]), weight, 1.0, 1.0, 0.0, 1.0)[0]
    assert type(made.model.model).__name__ == "BaseModel"
    assert type(made.model.model.model_config).__name__ == "SD15"
    options = {**patched.model_options["transformer_options"], "cond_or_uncond": [0, 1], "sigmas": torch.ones(2)}
    found = patched.model.diffusion_model(x, time, text, transformer_options=options)
    expected = made.network(x, time, text, embedding, torch.full((2,), weight))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    other = made.network(x, time, text, embedding, torch.full((2,), 1 - weight))
    assert (other - expected).abs().amax((1, 2, 3)).min() > 0.01, "the identity, and nobody's too, does something"


@pytest.mark.parametrize("text", ["photo of a person in a (red:1.0) coat, on a plain blue background", ""])
def test_comfyui_reads_a_prompt_alike(made: Made, text: str) -> None:
    theirs = made.clip.encode_from_tokens(made.clip.tokenize(text))
    words = captions.tokens([text.replace("(", "").replace(":1.0)", "")], data.TOKENIZER)
    torch.testing.assert_close(theirs, TextEncoder()(torch.tensor(words)), atol=2e-5, rtol=0)


def test_comfyui_codes_pictures_alike(made: Made) -> None:
    picture = torch.rand(1, 64, 96, 3, generator=torch.Generator().manual_seed(8))
    own = made.vae.encode(picture.movedim(-1, 1))
    latents = made.loaded_vae.encode(picture)
    torch.testing.assert_close(latents * SD15_SCALE, own, atol=2e-3, rtol=0)  # ComfyUI stores latents in its own type
    shown = made.loaded_vae.decode(latents).movedim(-1, 1)
    torch.testing.assert_close(shown, made.vae.decode(own).clamp(0, 1), atol=2e-3, rtol=0)


def test_a_missing_shard_is_told(made: Made, tmp_path: Path) -> None:
    for path in made.files[1:]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(FileNotFoundError, match=f"{len(made.files) - 1} of the {len(made.files)} files"):
        export.read(tmp_path)

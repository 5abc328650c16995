"""The noise that the UNet finds with each adapter equals diffusers': SD1.5's full depth, the same weights."""

from typing import Any

import pytest
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.nn.functional import normalize

from consistent_face.core.ip_adapter.checkpoint import read_adapter
from consistent_face.core.ip_adapter.encoding import EncodedIdentity, encode
from consistent_face.core.ip_adapter.projection import Reading, build_projection
from consistent_face.nodes.apply import ApplyIdentity
from consistent_face.tests import adapters
from consistent_face.tests.nodes import reference, unets

WIDTH = 64  # of CLIP vision's states
SD15 = 768
PROJECTIONS = {
    "faceid": (adapters.face_shapes(SD15), True),
    "plusv2": (adapters.plus_shapes(SD15, WIDTH), True),
    "portrait": (adapters.face_shapes(SD15, tokens=16), False),
    "unnorm": (adapters.latent_shapes(SD15, 512), False),
    "plus-face": (adapters.latent_shapes(SD15, WIDTH), False),
    "full-face": (adapters.full_shapes(SD15, WIDTH), False),
}


pytestmark = pytest.mark.usefixtures("inference", "one_thread")


def file_of(variant: str) -> reference.Parts:
    shapes, lora = PROJECTIONS[variant]
    layers = adapters.layer_shapes(unets.SD15_LAYERS, SD15, lora)
    return {"image_proj": adapters.random(shapes), "ip_adapter": adapters.random(layers, 3)}


def person(variant: str) -> Reading:
    generator = torch.Generator().manual_seed(4)
    embedding = 20 * torch.randn(1, 512, generator=generator)
    sight = torch.randn(2, 1, 10, WIDTH, generator=generator)
    sees = variant in ("plusv2", "plus-face", "full-face")
    return Reading(embedding, normalize(embedding[0], dim=0), torch.ones(1), *(sight if sees else ()))


def read_by_diffusers(variant: str, who: Reading) -> Tensor:
    """Row 0 of the person, row 1 of nobody; each with one face."""
    if variant in ("plus-face", "full-face"):
        assert who.sight is not None and who.blank is not None
        return torch.stack([who.sight, who.blank])
    face = who.embeddings[0] if variant == "unnorm" else who.unit
    rows = torch.stack([face, torch.zeros(512)]).unsqueeze(1)
    return rows.unsqueeze(1) if variant == "unnorm" else rows


def ours(model: ModelPatcher, encoded: EncodedIdentity, **more: Any) -> Tensor:
    values = {"weight": 0.8, "structure": 1.5, "lora_strength": 0.7, "start_percent": 0.0, "end_percent": 1.0, **more}
    return unets.predict(ApplyIdentity.execute(model, encoded, **values)[0])


@pytest.mark.parametrize("variant", PROJECTIONS)
def test_noise_equals_diffusers(variant: str, sd15: ModelPatcher) -> None:
    """Both rows, the positive prompt's and the other's; with the LoRA of the file against one merged beforehand."""
    file, who = file_of(variant), person(variant)
    adapter = read_adapter("plusv2.bin", file, lambda: "")
    encoded = encode(adapter, *build_projection(adapter.kind, adapter.projection).read(who))
    found = ours(sd15, encoded)

    unet = reference.diffusers_unet(sd15, file, lora=0.7)
    states = (who.sight, who.blank) if variant == "plusv2" else ()
    sight = torch.stack([x for x in states if x is not None]) if states else None
    inputs = unets.inputs(sd15, rows=2)
    expected = reference.predict(unet, read_by_diffusers(variant, who), 0.8, sight, 1.5, inputs)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    without = ours(sd15, encoded, weight=0.0)
    effect, error = (x.abs().amax((1, 2, 3)) for x in (expected - without, expected - found))
    assert (effect > 1000 * error).all(), "in both rows the adapter does far more than the two differ"

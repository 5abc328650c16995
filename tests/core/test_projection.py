"""Each variant's network gives the tokens of diffusers' own, with the same random weights."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from diffusers.models.embeddings import (
    IPAdapterFaceIDImageProjection,
    IPAdapterFaceIDPlusImageProjection,
    IPAdapterFullImageProjection,
    IPAdapterPlusImageProjection,
)
from torch import Tensor
from torch.nn.functional import normalize

from consistent_face.core.ip_adapter.projection import Reading, build_projection
from consistent_face.core.ip_adapter.variants import Kind
from consistent_face.tests import adapters
from consistent_face.tests.adapters import SD15, SDXL

BOTH = pytest.mark.parametrize("context", [SD15, SDXL], ids=["sd15", "sdxl"])


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.inference_mode():
        yield


def assert_close(found: Tensor | None, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


LAYERS = {  # a file's names, and diffusers'
    r"\.0\.norm1\.": ".ln0.",
    r"\.0\.norm2\.": ".ln1.",
    r"\.0\.(to_[qkv])\.": r".attn.\1.",
    r"\.0\.to_out\.": ".attn.to_out.0.",
    r"(layers\.\d)\.1\.0\.": r"\1.ff.0.",
    r"(layers\.\d)\.1\.1\.": r"\1.ff.1.net.0.proj.",
    r"(layers\.\d)\.1\.3\.": r"\1.ff.1.net.2.",
}
PLUS = {r"perceiver_resampler\.": "", r"^proj\.0\.": "proj.net.0.proj.", r"^proj\.2\.": "proj.net.2."} | LAYERS
FACE = {r"^proj\.0\.": "ff.net.0.proj.", r"^proj\.2\.": "ff.net.2.", r"^proj\.3\.": "norm."}


def reference(kind: type, weights: dict[str, Tensor], **sizes: int) -> Any:
    """diffusers' own module with the same weights."""
    weights = dict(weights)
    for name in [name for name in weights if ".to_kv." in name]:
        both = weights.pop(name).chunk(2)
        weights |= {name.replace("to_kv", part): half for part, half in zip(("to_k", "to_v"), both, strict=True)}
    names = {IPAdapterFaceIDPlusImageProjection: PLUS, IPAdapterPlusImageProjection: LAYERS}.get(kind, FACE)
    for old, new in names.items():
        weights = {re.sub(old, new, name): tensor for name, tensor in weights.items()}
    with torch.device("meta"):
        module = kind(**sizes)
    module.load_state_dict(weights, assign=True)
    return module


@cache
def plus(context: int) -> tuple[dict[str, Tensor], Any]:
    weights = adapters.random(adapters.plus_shapes(context))
    sizes = {"embed_dims": context, "output_dims": context, "hidden_dims": 1280, "heads": context // 64}
    return weights, reference(IPAdapterFaceIDPlusImageProjection, weights, **sizes)


def people(faces: int = 1, sees: bool = True) -> Reading:
    """Unequal faces: raw embeddings as long as those of ArcFace, and states as CLIP vision's."""
    generator = torch.Generator().manual_seed(faces)
    embeddings = 20 * torch.randn(faces, 512, generator=generator)
    shares = torch.arange(1.0, faces + 1) / sum(range(1, faces + 1))
    unit = normalize(shares @ normalize(embeddings, dim=1), dim=0)
    sight = torch.randn(faces + 1, 257, 1280, generator=generator)
    return Reading(embeddings, unit, shares, *((sight[:-1], sight[-1:]) if sees else (None, None)))


@BOTH
def test_faceid(context: int) -> None:
    weights = adapters.random(adapters.face_shapes(context))
    person = people(2, sees=False)
    tokens, structure = build_projection(Kind.FACEID, weights).read(person)
    theirs = reference(
        IPAdapterFaceIDImageProjection, weights, image_embed_dim=512, cross_attention_dim=context, mult=2, num_tokens=4
    )
    assert_close(tokens, theirs(torch.stack([person.unit, torch.zeros(512)])))
    assert structure is None
    assert tokens[1].abs().mean() > 0.1, "no face is a token of its own, not zero"


@BOTH
def test_plus_v2(context: int) -> None:
    weights, theirs = plus(context)
    person = people()
    tokens, structure = build_projection(Kind.PLUS_V2, weights).read(person)
    assert structure is not None and person.sight is not None and person.blank is not None
    theirs.shortcut = True
    theirs.clip_embeds = torch.stack([person.sight, person.blank])
    for scale in (0, 0.5, 1, 2):
        theirs.shortcut_scale = scale
        assert_close(tokens + scale * structure, theirs(torch.stack([person.unit, torch.zeros(512)])))


def test_plus_is_v2_without_the_shortcut() -> None:
    weights, theirs = plus(SD15)
    person = people()
    tokens, structure = build_projection(Kind.PLUS, weights).read(person)
    assert person.sight is not None and person.blank is not None
    theirs.shortcut = False
    theirs.clip_embeds = torch.stack([person.sight, person.blank])
    assert_close(tokens, theirs(torch.stack([person.unit, torch.zeros(512)])))
    assert structure is None


def test_plus_v2_without_sight_has_no_structure() -> None:
    network = build_projection(Kind.PLUS_V2, plus(SD15)[0])
    seeing, blind = network.read(people()), network.read(people(sees=False))
    assert torch.equal(seeing[0], blind[0]) and blind[1] is None


def test_structure_of_several_crops_is_their_weighted_mean() -> None:
    network, both = build_projection(Kind.PLUS_V2, plus(SD15)[0]), people(2)
    assert both.sight is not None
    one = torch.ones(1)
    first, second = (
        network.read(Reading(both.embeddings, both.unit, one, sight, both.blank))[1] for sight in both.sight.split(1)
    )
    assert first is not None and second is not None
    assert_close(network.read(both)[1], (first + 2 * second) / 3)


@BOTH
def test_portrait(context: int) -> None:
    """As in the reference, 16 tokens of each face, side by side."""
    weights = adapters.random(adapters.face_shapes(context, tokens=16))
    person = people(3, sees=False)
    tokens, _ = build_projection(Kind.PORTRAIT, weights).read(person)
    sizes = {"image_embed_dim": 512, "cross_attention_dim": context, "mult": 2, "num_tokens": 16}
    theirs = reference(IPAdapterFaceIDImageProjection, weights, **sizes)
    faces = normalize(person.embeddings, dim=1)
    assert tokens.shape == (2, 48, context)
    assert_close(tokens[0], theirs(faces).flatten(0, 1))
    assert_close(tokens[1], theirs(torch.zeros_like(faces)).flatten(0, 1))


def latents(context: int, seen: int) -> tuple[dict[str, Tensor], Any]:
    weights = adapters.random(adapters.latent_shapes(context, seen))
    width = weights["latents"].shape[-1]
    sizes = {"embed_dims": seen, "output_dims": context, "hidden_dims": width, "heads": width // 64, "num_queries": 16}
    return weights, reference(IPAdapterPlusImageProjection, weights, **sizes)


def test_portrait_unnorm_reads_the_raw_embeddings() -> None:
    weights, theirs = latents(SDXL, 512)
    person = people(2, sees=False)
    tokens, _ = build_projection(Kind.PORTRAIT_UNNORM, weights).read(person)
    assert tokens.shape == (2, 32, SDXL)
    assert_close(tokens[0], theirs(person.embeddings.unsqueeze(1)).flatten(0, 1))
    assert_close(tokens[1], theirs(torch.zeros(2, 1, 512)).flatten(0, 1))


@BOTH
def test_plus_face(context: int) -> None:
    weights, theirs = latents(context, 1280)
    person = people(2)
    tokens, _ = build_projection(Kind.PLUS_FACE, weights).read(person)
    assert person.sight is not None and person.blank is not None
    assert_close(tokens[0], theirs(person.sight).flatten(0, 1))
    assert_close(tokens[1], theirs(person.blank).repeat(2, 1, 1).flatten(0, 1))


@BOTH
def test_full_face(context: int) -> None:
    weights = adapters.random(adapters.full_shapes(context))
    person = people(2)
    tokens, _ = build_projection(Kind.FULL_FACE, weights).read(person)
    theirs = reference(IPAdapterFullImageProjection, weights, image_embed_dim=1280, cross_attention_dim=context)
    assert person.sight is not None and person.blank is not None
    assert tokens.shape == (2, 514, context)
    assert_close(tokens[0], theirs(person.sight).flatten(0, 1))
    assert_close(tokens[1], theirs(person.blank).repeat(2, 1, 1).flatten(0, 1))

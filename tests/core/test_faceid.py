"""FaceID adapters: kinds, tokens equal to diffusers, linearity, and files that are none."""

import re
from functools import cache
from typing import Any

import pytest
import torch
from diffusers.models.embeddings import IPAdapterFaceIDImageProjection, IPAdapterFaceIDPlusImageProjection
from torch import Tensor
from torch.nn.functional import linear, normalize

from consistent_face.core.errors import IdentityError, WrongModelError
from consistent_face.core.faceid import (
    Adapter,
    EncodedIdentity,
    check_identity,
    check_sight,
    encode,
    project,
    read_adapter,
)
from consistent_face.core.faces import Recogniser
from consistent_face.core.identity import Identity
from consistent_face.core.projection import build_projection
from consistent_face.core.variants import PUBLISHED, Kind, recognise
from consistent_face.tests import adapters
from consistent_face.tests.adapters import SD15, SDXL

UNKNOWN = "0" * 64
PLUS_SHA, PLUS_V2_SHA = PUBLISHED  # in the table's order
RESAMPLER = adapters.affine("proj_in", 768, 1280) | {"latents": (1, 16, 768)}
FULL = adapters.affine("proj.0", 1280, 1280) | adapters.affine("proj.2", 768, 1280) | adapters.affine("proj.3", 768)


def assert_close(found: Tensor | None, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.fixture(autouse=True)
def _no_grad() -> Any:
    with torch.inference_mode():
        yield


RENAMED = {  # a file's names, and diffusers'
    r"perceiver_resampler\.": "",
    r"^proj\.0\.": "proj.net.0.proj.",
    r"^proj\.2\.": "proj.net.2.",
    r"\.0\.norm1\.": ".ln0.",
    r"\.0\.norm2\.": ".ln1.",
    r"\.0\.(to_[qkv])\.": r".attn.\1.",
    r"\.0\.to_out\.": ".attn.to_out.0.",
    r"(layers\.\d)\.1\.0\.": r"\1.ff.0.",
    r"(layers\.\d)\.1\.1\.": r"\1.ff.1.net.0.proj.",
    r"(layers\.\d)\.1\.3\.": r"\1.ff.1.net.2.",
}


def reference(weights: dict[str, Tensor]) -> Any:
    """diffusers' own module with the same weights."""
    weights = dict(weights)
    for name in [name for name in weights if ".to_kv." in name]:
        both = weights.pop(name).chunk(2)
        weights |= {name.replace("to_kv", part): half for part, half in zip(("to_k", "to_v"), both, strict=True)}
    context = weights["norm.weight"].shape[0]
    plus = any("perceiver" in name for name in weights)
    with torch.device("meta"):
        if plus:
            module = IPAdapterFaceIDPlusImageProjection(context, context, 1280, heads=context // 64)
        else:
            module = IPAdapterFaceIDImageProjection(512, context, mult=2, num_tokens=4)
    for old, new in RENAMED.items() if plus else ((r"^proj\.0\.", "ff.net.0.proj."), (r"^proj\.2\.", "ff.net.2.")):
        weights = {re.sub(old, new, name): tensor for name, tensor in weights.items()}
    module.load_state_dict(weights, assign=True)
    return module


def a_face(seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """A unit embedding, CLIP states of its crop, and those of no face."""
    generator = torch.Generator().manual_seed(seed)
    embedding = normalize(torch.randn(512, generator=generator), dim=0)
    sight, blank = torch.randn(2, 1, 257, 1280, generator=generator)
    return embedding, sight, blank


@cache
def plus_weights(context: int) -> dict[str, Tensor]:
    return adapters.random(adapters.plus_shapes(context))


@pytest.mark.parametrize("context", [SD15, SDXL], ids=["sd15", "sdxl"])
def test_plus_v2_tokens_equal_diffusers(context: int) -> None:
    weights = plus_weights(context)
    unit, sight, blank = a_face()
    tokens, structure = project(build_projection(weights), unit, torch.ones(1), sight, blank)
    theirs = reference(weights)
    assert structure is not None
    theirs.shortcut = True
    theirs.clip_embeds = torch.stack([sight, blank])
    for scale in (0, 0.5, 1, 2):
        theirs.shortcut_scale = scale
        expected = theirs(torch.stack([unit, torch.zeros(512)]))
        assert_close(tokens + scale * structure, expected)


def test_plus_tokens_are_diffusers_without_the_shortcut() -> None:
    unit, sight, blank = a_face()
    weights = plus_weights(SD15)
    _, structure = project(build_projection(weights), unit, torch.ones(1), sight, blank)
    theirs = reference(weights)
    theirs.clip_embeds = torch.stack([sight, blank])
    assert_close(structure, theirs(torch.stack([unit, torch.zeros(512)])))


@pytest.mark.parametrize("context", [SD15, SDXL], ids=["sd15", "sdxl"])
def test_plain_tokens_equal_diffusers(context: int) -> None:
    weights = adapters.random(adapters.face_shapes(context))
    unit, *_ = a_face()
    tokens, structure = project(build_projection(weights), unit, torch.ones(1), None, None)
    expected = reference(weights)(torch.stack([unit, torch.zeros(512)]))
    assert_close(tokens, expected)
    assert structure is None
    assert tokens[1].abs().mean() > 0.1, "no face is a token of its own, not zero"


def test_structure_of_several_crops_is_their_weighted_mean() -> None:
    projection = build_projection(plus_weights(SD15))
    unit, sight, blank = a_face()
    _, other, _ = a_face(2)
    (_, first), (_, second) = (project(projection, unit, torch.ones(1), x, blank) for x in (sight, other))
    _, both = project(projection, unit, torch.tensor([0.75, 0.25]), torch.cat([sight, other]), blank)
    assert first is not None and second is not None and both is not None
    assert_close(both, 0.75 * first + 0.25 * second)


def file_of(kind: str, context: int = SD15, layers: tuple[int, ...] = (320, 640)) -> dict[str, dict[str, Tensor]]:
    shapes = adapters.face_shapes(context) if kind == "faceid" else adapters.plus_shapes(context)
    return {
        "image_proj": plus_weights(context) if kind != "faceid" else adapters.random(shapes),
        "ip_adapter": adapters.random(adapters.layer_shapes(layers, context), 3),
    }


def read(file: object, name: str = "ip-adapter-faceid-plusv2_sd15.bin", setting: str = "auto") -> Adapter:
    return read_adapter(name, file, lambda: UNKNOWN, setting)


def encoded(name: str) -> tuple[EncodedIdentity, Adapter, Tensor, Tensor]:
    adapter = read(file_of("plus"), name)
    unit, sight, blank = a_face()
    tokens, structure = project(build_projection(adapter.projection), unit, torch.ones(1), sight, blank)
    assert structure is not None
    return encode(adapter, tokens, structure), adapter, tokens, structure


@pytest.mark.parametrize("structure", [0.0, 0.5, 2.0])
def test_keys_and_values_are_linear_in_structure_and_values_in_weight(structure: float) -> None:
    identity, adapter, x, r = encoded("plusv2.bin")
    for layer, (keys, values) in enumerate(zip(adapter.keys, adapter.values, strict=True)):
        ours = identity.weighted(0.7, structure)[layer]
        assert_close(ours.keys, linear(x + structure * r, keys))
        assert_close(ours.values, 0.7 * linear(x + structure * r, values))


def test_plus_v1_has_no_structure_to_scale() -> None:
    identity, adapter, _, r = encoded("faceid-plus.bin")
    assert identity.structure is None
    once, twice = (identity.weighted(1, s)[1].keys for s in (1, 2))
    assert torch.equal(once, twice)
    assert_close(once, linear(r, adapter.keys[1]))


def test_a_file_in_half_precision_is_encoded_in_single() -> None:
    file = {part: {name: x.half() for name, x in tensors.items()} for part, tensors in file_of("faceid").items()}
    adapter = read(file)
    tokens = torch.randn(2, 4, SD15)
    layer = encode(adapter, tokens, None).weighted(1, 1)[0]
    assert layer.keys.dtype == torch.float32
    assert_close(layer.keys, linear(tokens, adapter.keys[0].float()))


def test_plus_v2_without_sight_wants_structure_zero() -> None:
    _, adapter, x, _ = encoded("plusv2.bin")
    blind = encode(adapter, x, None)
    assert len(blind.weighted(1, 0)) == 2
    with pytest.raises(IdentityError, match=r"without CLIP vision.*structure of 0\.5.*or set structure to 0"):
        blind.weighted(1, 0.5)


def test_an_empty_identity_is_empty() -> None:
    assert EncodedIdentity().is_empty
    assert not encoded("plusv2.bin")[0].is_empty


@pytest.mark.parametrize(
    ("name", "shapes", "layers", "context", "kind"),
    [
        ("ip-adapter-faceid_sd15.bin", adapters.face_shapes(SD15), adapters.SD15_LAYERS, SD15, Kind.FACEID),
        ("ip-adapter-faceid-plus_sd15.bin", adapters.plus_shapes(SD15), adapters.SD15_LAYERS, SD15, Kind.PLUS),
        ("ip-adapter-faceid-plusv2_sd15.bin", adapters.plus_shapes(SD15), adapters.SD15_LAYERS, SD15, Kind.PLUS_V2),
        ("ip-adapter-faceid_sdxl.bin", adapters.face_shapes(SDXL), adapters.SDXL_LAYERS, SDXL, Kind.FACEID),
        ("ip-adapter-faceid-plusv2_sdxl.bin", adapters.plus_shapes(SDXL), adapters.SDXL_LAYERS, SDXL, Kind.PLUS_V2),
        ("renamed to plus.bin", adapters.plus_shapes(SDXL), adapters.SDXL_LAYERS, SDXL, Kind.PLUS_V2),
    ],
)
def test_published_files_are_recognised(
    name: str, shapes: adapters.Shapes, layers: tuple[int, ...], context: int, kind: Kind
) -> None:
    file = {"image_proj": adapters.meta(shapes), "ip_adapter": adapters.meta(adapters.layer_shapes(layers, context))}
    adapter = read(file, name)
    assert (adapter.kind, adapter.context, adapter.embedding) == (kind, context, 512)
    assert adapter.sight == (None if kind is Kind.FACEID else 1280)
    assert [x.shape[0] for x in adapter.keys] == list(layers)
    assert len(adapter.lora) == 16 * len(layers)  # two attentions, four matrices each, down and up
    assert adapter.keys[0] is file["ip_adapter"]["1.to_k_ip.weight"]


@pytest.mark.parametrize(
    ("name", "digest", "setting", "kind"),
    [
        ("face.bin", PLUS_SHA, "auto", Kind.PLUS),
        ("face.bin", PLUS_V2_SHA, "auto", Kind.PLUS_V2),
        ("my plusv2.bin", PLUS_SHA, "auto", Kind.PLUS),
        ("my_plus-V2.bin", UNKNOWN, "auto", Kind.PLUS_V2),
        ("my_Plus.bin", UNKNOWN, "auto", Kind.PLUS),
        ("my_plusv2.bin", PLUS_V2_SHA, "plus", Kind.PLUS),
        ("face.bin", UNKNOWN, "plus v2", Kind.PLUS_V2),
    ],
)
def test_hash_then_name_tell_plus_from_v2_and_the_setting_overrides(
    name: str, digest: str, setting: str, kind: Kind
) -> None:
    weights = adapters.meta(adapters.plus_shapes(SD15))
    assert recognise(name, weights, lambda: digest, setting) is kind


def test_a_plus_file_that_nothing_tells_apart_asks_for_the_setting() -> None:
    weights = adapters.meta(adapters.plus_shapes(SD15))
    with pytest.raises(WrongModelError, match=r'"face\.bin".*set \'variant\''):
        recognise("face.bin", weights, lambda: UNKNOWN)


def test_only_a_doubtful_file_is_hashed() -> None:
    def never() -> str:
        raise AssertionError("hashed a file that its tensors had told apart")

    assert recognise("x", adapters.meta(adapters.face_shapes(SD15)), never) is Kind.FACEID
    assert recognise("x", adapters.meta(adapters.plus_shapes(SDXL)), never) is Kind.PLUS_V2


@pytest.mark.parametrize(
    "shapes",
    [adapters.face_shapes(SD15, tokens=16), RESAMPLER, FULL, adapters.affine("proj", 3072, 1024)],
    ids=["portrait", "plus-face", "full-face", "standard"],
)
def test_other_adapters_are_named_as_such(shapes: adapters.Shapes) -> None:
    layers = adapters.meta(adapters.layer_shapes((320,), SD15, lora=False))
    with pytest.raises(WrongModelError, match="another kind than FaceID"):
        read({"image_proj": adapters.meta(shapes), "ip_adapter": layers})


@pytest.mark.parametrize("layers", ["ip_adapter", "adapter_modules"])
def test_flat_names_give_the_same_adapter(layers: str) -> None:
    file = file_of("faceid")
    nested, plain = read(file), read(adapters.flat({"image_proj": file["image_proj"], layers: file["ip_adapter"]}))
    for ours, theirs in zip(nested.keys + nested.values, plain.keys + plain.values, strict=True):
        assert ours is theirs
    assert nested.lora.keys() == plain.lora.keys()
    assert nested.projection.keys() == plain.projection.keys()


@pytest.mark.parametrize("content", [None, [], "text", {}, {"model.weight": torch.zeros(2)}, torch.zeros(3)])
def test_what_is_no_adapter_is_said_to_be_none(content: object) -> None:
    with pytest.raises(WrongModelError, match=r'^"a\.bin" is no IP-Adapter'):
        read(content, "a.bin")


@pytest.mark.parametrize(
    ("part", "name", "shape"),
    [
        ("image_proj", "norm.bias", None),
        ("image_proj", "proj.0.bias", (7,)),
        ("image_proj", "proj.0.weight", (7,)),
        ("image_proj", "more.weight", (7,)),
        ("image_proj", "proj.0.bias", ()),
        ("image_proj", "proj.0.bias", (0,)),
        ("ip_adapter", "3.to_v_ip.weight", None),
        ("ip_adapter", "1.to_k_ip.weight", None),
        ("ip_adapter", "1.to_v_ip.weight", (7, SD15)),
        ("ip_adapter", "3.to_k_ip.weight", (640, SDXL)),
    ],
)
def test_missing_and_misshapen_tensors_are_found_on_reading(
    part: str, name: str, shape: tuple[int, ...] | None
) -> None:
    shapes = {"image_proj": adapters.face_shapes(SD15), "ip_adapter": adapters.layer_shapes((320, 640), SD15)}
    file = {key: adapters.meta(value) for key, value in shapes.items()}
    if shape is None:
        del file[part][name]
    else:
        file[part][name] = torch.empty(shape, device="meta")
    with pytest.raises(WrongModelError, match="missing or of a wrong shape: download the file again"):
        read(file)


def person(width: int = 512) -> Identity:
    recogniser = Recogniser("other_net", UNKNOWN)
    return Identity(torch.randn(1, width), torch.zeros(1, 224, 224, 3), torch.ones(1), recogniser)


def test_embeddings_of_another_width_are_refused_with_their_recogniser() -> None:
    adapter = read(file_of("faceid"))
    check_identity(adapter, person(), sees=False)
    with pytest.raises(IdentityError, match=r"of 512 numbers, but the identity has 128 \(from other_net\)"):
        check_identity(adapter, person(128), sees=False)


def test_plus_needs_clip_vision_and_v2_does_not() -> None:
    check_identity(read(file_of("plus"), "plusv2.bin"), person(), sees=False)
    with pytest.raises(IdentityError, match=r"without CLIP vision: connect Load CLIP Vision"):
        check_identity(read(file_of("plus"), "plus.bin"), person(), sees=False)


def test_another_clip_vision_is_refused() -> None:
    adapter = read(file_of("plus"))
    check_sight(adapter, 1280)
    with pytest.raises(WrongModelError, match="width 1280, but the connected CLIP vision gives 1664"):
        check_sight(adapter, 1664)

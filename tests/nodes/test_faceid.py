"""Load Adapter, Encode Identity and Apply Identity inside ComfyUI: every layer, LoRA, guiders, clones, bad files."""

import gc
import pickle
import re
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.sample
import comfy.samplers
import comfy.utils
import folder_paths
import pytest
import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_custom_sampler import DualCFGGuider
from comfy_extras.nodes_perpneg import PerpNeg, PerpNegGuider
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import linear

from consistent_face.core.adapter import Adapter, read_adapter
from consistent_face.core.attention import IdentityAttention, conditional
from consistent_face.core.errors import IdentityError, ModelMissingError, WrongModelError
from consistent_face.core.faceid import EncodedIdentity, encode
from consistent_face.core.faces import Recogniser
from consistent_face.core.identity import Identity
from consistent_face.core.projection import Reading, build_projection
from consistent_face.core.unet import cross_attentions, lora_targets
from consistent_face.core.variants import Kind
from consistent_face.nodes import encoding
from consistent_face.nodes.apply import ApplyIdentity
from consistent_face.nodes.faceid import CombineIdentities, EncodeIdentity, LoadAdapter
from consistent_face.tests import adapters
from consistent_face.tests.nodes import unets

WIDTH = 64  # of a CLIP vision that is small enough to run here
APPLY: dict[str, Any] = {
    "weight": 1.0,
    "structure": 1.0,
    "lora_strength": 1.0,
    "start_percent": 0.0,
    "end_percent": 1.0,
}


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():  # as ComfyUI runs nodes
        yield


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """These tensors are so small that threads wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sd15() -> ModelPatcher:
    return unets.sd15()


@pytest.fixture(scope="module")
def sdxl() -> ModelPatcher:
    return unets.sdxl()


@pytest.fixture(scope="module")
def clip_vision() -> ClipVisionModel:
    size = {"num_hidden_layers": 3, "hidden_size": WIDTH, "num_attention_heads": 2, "intermediate_size": 128}
    look = {"hidden_act": "gelu", "image_size": 224, "patch_size": 14, "num_channels": 3, "projection_dim": 32}
    clip = ClipVisionModel({"model_type": "clip_vision_model", **size, **look})
    generator = torch.Generator().manual_seed(7)
    for parameter in clip.model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    return clip


def file_of(layers: tuple[int, ...], context: int, plus: bool = False) -> dict[str, dict[str, Tensor]]:
    shapes = adapters.plus_shapes(context, WIDTH) if plus else adapters.face_shapes(context)
    layout = adapters.layer_shapes(layers, context)
    return {"image_proj": adapters.random(shapes), "ip_adapter": adapters.random(layout, 3)}


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    return read_adapter("small_plusv2.bin", file_of(unets.SD15_LAYERS, 768, plus=True), lambda: "")


@pytest.fixture(scope="module")
def adapter_sdxl() -> Adapter:
    return read_adapter("small_sdxl.bin", file_of(unets.SDXL_LAYERS, 2048), lambda: "")


def person(faces: int = 1, width: int = 512) -> Identity:
    generator = torch.Generator().manual_seed(faces)
    crops = torch.rand(faces, 224, 224, 3, generator=generator).mul(255).round() / 255
    embeddings = 20 * torch.randn(faces, width, generator=generator)
    return Identity(embeddings, crops, torch.full((faces,), 1 / faces), Recogniser("w600k_mbf", ""))


def encoded(adapter: Adapter, identity: Identity | None = None, clip: ClipVisionModel | None = None) -> EncodedIdentity:
    return EncodeIdentity.execute(adapter, identity or person(), clip)[0]


def applied(model: ModelPatcher, identity: EncodedIdentity, **changes: Any) -> ModelPatcher:
    return ApplyIdentity.execute(model, identity, **{**APPLY, **changes})[0]


@pytest.fixture
def blind(adapter: Adapter) -> dict[str, Any]:
    """Plus v2 without CLIP vision, which wants structure 0."""
    return {"identity": encoded(adapter), "structure": 0.0}


# Encoding


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


def test_another_clip_vision_and_another_recogniser_are_refused(clip_vision: ClipVisionModel) -> None:
    file = file_of((32,), 768) | {"image_proj": adapters.meta(adapters.plus_shapes(768))}
    wants_vit_h = read_adapter("plusv2.bin", file, lambda: "")
    with pytest.raises(WrongModelError, match=f"width 1280, but the connected CLIP vision gives {WIDTH}"):
        encoded(wants_vit_h, person(), clip_vision)
    with pytest.raises(IdentityError, match=r"the identity has 256 \(from w600k_mbf\)"):
        encoded(wants_vit_h, person(width=256), clip_vision)


# Every layer


@pytest.mark.parametrize(("family", "count"), [("sd15", 16), ("sdxl", 70)])
def test_every_cross_attention_layer_is_called_once(
    family: str, count: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: ModelPatcher = request.getfixturevalue(family)
    file = request.getfixturevalue("adapter" if family == "sd15" else "adapter_sdxl")
    patched = applied(model, encoded(file), structure=0.0)
    called, run = [], IdentityAttention.__call__

    def noted(patch: IdentityAttention, q: Tensor, k: Tensor, v: Tensor, options: Any) -> Tensor:
        called.append((*options["block"], options["block_index"], id(patch)))
        return run(patch, q, k, v, options)

    monkeypatch.setattr(IdentityAttention, "__call__", noted)
    unets.predict(patched)
    attentions = [name for name, _ in model.model.diffusion_model.named_modules() if name.endswith(".attn2")]
    assert len(attentions) == count
    assert len(called) == len(set(called)) == len({patch for *_, patch in called}) == count
    assert sum(block == "middle" for block, *_ in called) == (1 if family == "sd15" else 10)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_layers_are_counted_as_diffusers_does(family: str, request: pytest.FixtureRequest) -> None:
    """Down, up, middle; each self-attention before its cross-attention: so the names of the LoRA show it all."""
    model: ModelPatcher = request.getfixturevalue(family)
    names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
    keys = [key for key in names if re.search(r"attn[12]\.to_(q|k|v|out\.0)\.weight", key)]
    rooms = ["down_blocks", "up_blocks", "mid_block"]
    attentions = sorted(
        {key.partition(".to_")[0] for key in keys},
        key=lambda name: (rooms.index(name.split(".")[0]), [int(n) for n in re.findall(r"\d+", name)]),
    )
    expected = {
        f"{n}.to_{part.removesuffix('.0')}": f"diffusion_model.{names[f'{attention}.to_{part}.weight']}"
        for n, attention in enumerate(attentions)
        for part in ("q", "k", "v", "out.0")
    }
    assert lora_targets(cross_attentions(model.model.diffusion_model)) == expected


@pytest.mark.parametrize(("family", "count"), [("sd15", 128), ("sdxl", 560)])
def test_every_lora_tensor_finds_its_weight(family: str, count: int, request: pytest.FixtureRequest) -> None:
    model: ModelPatcher = request.getfixturevalue(family)
    file = request.getfixturevalue("adapter" if family == "sd15" else "adapter_sdxl")
    patched = applied(model, encoded(file), structure=0.0, lora_strength=0.6)
    assert len(patched.patches) == count and not model.patches
    weights = model.model.state_dict()
    for key, [(strength, lora, *_)] in patched.patches.items():
        up, down = lora.weights[:2]
        assert strength == 0.6 and (up.shape[0], down.shape[1]) == tuple(weights[key].shape)
    assert sum(len(lora.loaded_keys) for [(_, lora, *_)] in patched.patches.values()) >= len(file.lora)


def test_an_adapter_without_lora_patches_no_weight(sd15: ModelPatcher) -> None:
    file = file_of(unets.SD15_LAYERS, 768)
    file["ip_adapter"] = {name: x for name, x in file["ip_adapter"].items() if "_lora." not in name}
    patched = applied(sd15, encoded(read_adapter("plain.bin", file, lambda: "")))
    assert not patched.patches and len(patched.model_options["transformer_options"]["patches_replace"]["attn2"]) == 16


# What it does to the model


def test_weight_0_is_the_model_without_the_identity(sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    plain = unets.predict(sd15)
    assert torch.equal(unets.predict(applied(sd15, **blind, weight=0.0, lora_strength=0.0)), plain)
    lora = sd15.clone()
    targets = lora_targets(cross_attentions(sd15.model.diffusion_model))
    lora.add_patches(comfy.lora.load_lora(dict(blind["identity"].lora), targets), 0.8)
    found = unets.predict(applied(sd15, **blind, weight=0.0, lora_strength=0.8))
    assert torch.equal(found, unets.predict(lora)) and not torch.equal(found, plain)


def test_weight_and_structure_act_continuously(
    sd15: ModelPatcher, adapter: Adapter, clip_vision: ClipVisionModel
) -> None:
    identity = encoded(adapter, clip=clip_vision)
    full = [
        unets.predict(applied(sd15, identity, weight=w, structure=s)) for w, s in ((0, 0), (1e-6, 0), (1, 0), (1, 1e-6))
    ]
    torch.testing.assert_close(full[0], full[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(full[2], full[3], atol=1e-4, rtol=0)
    assert (full[2] - full[0]).abs().max() > 1e-2


def test_the_uncond_row_gets_the_uncond_tokens(sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    patched = applied(sd15, **blind)
    both = unets.predict(patched, (0, 1))
    assert not torch.allclose(both[1], unets.predict(patched, (0, 0))[1], atol=1e-3)
    torch.testing.assert_close(both[0], unets.predict(patched, (0, 0))[0], atol=1e-5, rtol=0)


def test_applying_again_and_branching_leave_the_first_model_as_it_was(
    sd15: ModelPatcher, adapter: Adapter, blind: dict[str, Any]
) -> None:
    plain, first = unets.predict(sd15), applied(sd15, **blind)
    once = unets.predict(first)
    second = applied(first, encoded(adapter, person(3)), structure=0.0, weight=0.5)
    branch = applied(first, encoded(adapter, person(4)), structure=0.0, mask=torch.zeros(1, 8, 8))
    twice = unets.predict(second)
    unets.predict(branch)
    assert torch.equal(unets.predict(first), once)
    assert torch.equal(unets.predict(second), twice)
    assert torch.equal(unets.predict(sd15), plain)
    assert torch.equal(unets.predict(applied(sd15, **blind)), once)
    assert not torch.equal(once, twice)


def test_models_share_no_patch_unless_one_is_the_others_clone(sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    def patches(model: ModelPatcher) -> dict[Any, IdentityAttention]:
        return model.model_options["transformer_options"]["patches_replace"]["attn2"]

    first = applied(sd15, **blind)
    before = dict(patches(first))
    second = applied(first, **blind)
    assert patches(first) == before
    assert not set(map(id, patches(first).values())) & set(map(id, patches(second).values()))
    assert all(patches(second)[key].previous is before[key] for key in before)
    assert "patches_replace" not in sd15.model_options["transformer_options"]


@pytest.mark.parametrize("whole_block", [False, True])
def test_a_replacement_of_another_pack_stays_in_effect(
    whole_block: bool, sd15: ModelPatcher, blind: dict[str, Any]
) -> None:
    calls: Counter[tuple[Any, ...]] = Counter()

    def foreign(q: Tensor, k: Tensor, v: Tensor, options: Any) -> Tensor:
        calls[options["block"]] += 1
        return torch.zeros_like(q)

    other = sd15.clone()
    for block in (("middle", 0), ("input", 4)):
        other.set_model_attn2_replace(foreign, *block, None if whole_block else 0)
    alone, both = unets.predict(other), unets.predict(applied(other, **blind))
    assert calls == {("middle", 0): 2, ("input", 4): 2}
    assert not torch.equal(both, alone) and not torch.equal(both, unets.predict(applied(sd15, **blind)))


def test_a_batch_larger_than_the_identity(sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    patched = applied(sd15, **blind)
    latent, text = torch.zeros(3, 4, 8, 8), [[torch.randn(1, 7, 768), {}]]
    noise = torch.randn(1, 4, 8, 8).expand(3, -1, -1, -1).clone()
    found = comfy.sample.sample(patched, noise, 2, 3.0, "euler", "normal", text, text, latent, seed=1)
    torch.testing.assert_close(found[0], found[2], atol=1e-3 * float(found.abs().max()), rtol=0)


# Control


def test_what_is_not_connected_is_as_its_default(sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    plain = unets.predict(applied(sd15, **blind, weight=0.7))
    given = {"curve": "flat", "block_weights": "", "scaling": "values", "mask": None}
    assert torch.equal(unets.predict(applied(sd15, **blind, weight=0.7, **given)), plain)


def test_block_weights_reach_their_layers_alone(sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    def values(**changes: Any) -> dict[Any, Tensor]:
        patched = applied(sd15, **blind, **changes)
        patches = patched.model_options["transformer_options"]["patches_replace"]["attn2"]
        return {place: patch.tokens.values for place, patch in patches.items()}

    full, changed = values(), values(block_weights="1: 0.5, 7: 0")
    for place, tokens in full.items():
        factor = {("input", 1, 0): 0.5, ("middle", 0, 0): 0.0}.get(place, 1.0)
        assert torch.equal(changed[place], factor * tokens)
    peak = values(curve="peak", weight=2.0)
    assert torch.equal(peak["middle", 0, 0], 2 * full["middle", 0, 0]) and not peak["input", 1, 0].any()


@pytest.mark.parametrize("changes", [{"curve": "rising"}, {"block_weights": "2-5: 0"}, {"scaling": "keys and values"}])
def test_each_control_changes_the_noise(changes: dict[str, Any], sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    full = unets.predict(applied(sd15, **blind, weight=0.5))
    assert (unets.predict(applied(sd15, **blind, weight=0.5, **changes)) - full).abs().max() > 1e-3


def test_sdxl_counts_eleven_blocks(sdxl: ModelPatcher, adapter_sdxl: Adapter) -> None:
    silent = applied(sdxl, encoded(adapter_sdxl), block_weights="1-11: 0", lora_strength=0.0)
    assert torch.equal(unets.predict(silent), unets.predict(sdxl))
    with pytest.raises(IdentityError, match="no weight for blocks 1 to 11"):
        applied(sdxl, encoded(adapter_sdxl), block_weights="12: 0")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": 3.5}, "weight is 3.5: set it between 0 and 3"),
        ({"lora_strength": -1.0}, "lora is -1"),
        ({"start_percent": 0.8, "end_percent": 0.2}, "from 0.8 to 0.2 of sampling"),
        ({"end_percent": 1.5}, "between 0 and 1"),
        ({"mask": torch.zeros(0, 8, 8)}, "mask has no picture"),
    ],
)
def test_values_out_of_range_are_refused_though_they_come_by_wire(
    changes: dict[str, Any], message: str, sd15: ModelPatcher, blind: dict[str, Any]
) -> None:
    with pytest.raises(IdentityError, match=message):
        applied(sd15, **blind, **changes)


# Several people


def people(adapter: Adapter, *faces: int, together: bool) -> EncodedIdentity:
    grown = {f"encoded_identity{n}": encoded(adapter, person(seed)) for n, seed in enumerate(faces)}
    arrangement = "all in each picture" if together else "one for each picture"
    return CombineIdentities.execute(grown, arrangement)[0]


def test_each_picture_of_a_batch_is_as_with_its_identity_alone(sd15: ModelPatcher, adapter: Adapter) -> None:
    alone = [unets.predict(applied(sd15, encoded(adapter, person(n)), structure=0.0), (0, 0, 1, 1)) for n in (1, 2)]
    # as ComfyUI batches: two pictures of the positive prompt, two of the negative one
    both = applied(sd15, people(adapter, 1, 2, together=False), structure=0.0)
    found = unets.predict(both, (0, 1), pictures=2)
    for row, one in enumerate((0, 1, 0, 1)):
        torch.testing.assert_close(found[row], alone[one][row], atol=2e-5, rtol=0)
    assert not torch.allclose(alone[0][1], alone[1][1], atol=1e-3)


def halves(side: int = 8) -> Tensor:
    left = torch.zeros(1, side, side)
    left[..., : side // 2] = 1
    return torch.cat([left, 1 - left])


def test_people_in_one_picture_are_as_applied_one_after_another(sd15: ModelPatcher, adapter: Adapter) -> None:
    masks = halves()
    chained = applied(sd15, encoded(adapter, person(1)), structure=0.0, mask=masks[:1])
    chained = applied(chained, encoded(adapter, person(2)), structure=0.0, mask=masks[1:])
    both = applied(sd15, people(adapter, 1, 2, together=True), structure=0.0, mask=masks)
    assert torch.equal(unets.predict(both), unets.predict(chained))
    swapped = applied(sd15, people(adapter, 2, 1, together=True), structure=0.0, mask=masks)
    assert not torch.allclose(unets.predict(swapped), unets.predict(both), atol=1e-3)


def test_one_person_in_both_halves_is_that_person_without_a_mask(sd15: ModelPatcher, adapter: Adapter) -> None:
    twice = applied(sd15, people(adapter, 1, 1, together=True), structure=0.0, mask=halves())
    once = applied(sd15, encoded(adapter, person(1)), structure=0.0)
    torch.testing.assert_close(unets.predict(twice), unets.predict(once), atol=2e-5, rtol=0)


def test_more_identities_than_masks_are_refused(sd15: ModelPatcher, adapter: Adapter) -> None:
    with pytest.raises(IdentityError, match="3 identities share the picture, but there are 2 masks"):
        applied(sd15, people(adapter, 1, 2, 3, together=True), structure=0.0, mask=halves())


def test_the_lora_of_an_adapter_is_added_once(sd15: ModelPatcher, adapter: Adapter, blind: dict[str, Any]) -> None:
    def patches(model: ModelPatcher) -> list[list[float]]:
        return [[patch[0] for patch in patches] for patches in model.patches.values()]

    first = applied(sd15, **blind, lora_strength=0.5)
    assert patches(first) == patches(applied(first, **blind, lora_strength=1.0)) == [[0.5]] * 128
    assert patches(applied(applied(sd15, **blind, lora_strength=0.0), **blind, lora_strength=0.7)) == [[0.7]] * 128
    other = read_adapter("my plusv2.bin", file_of(unets.SD15_LAYERS, 768, plus=True), lambda: "")
    assert patches(applied(first, encoded(other), structure=0.0)) == [[0.5, 1.0]] * 128
    assert not sd15.patches


# Sampling with ComfyUI's guiders


@pytest.fixture
def rows(sd15: ModelPatcher) -> tuple[ModelPatcher, set[tuple[int, bool]]]:
    """A model that notes, of each cond that runs, its number and whether it gets the identity."""
    noted: set[tuple[int, bool]] = set()

    def note(q: Tensor, k: Tensor, v: Tensor, options: Any) -> Tensor:
        noted.update(zip(options["cond_or_uncond"], conditional(options), strict=True))
        return torch.zeros_like(q)

    model = sd15.clone()
    model.set_model_attn2_replace(note, "middle", 0, 0)
    return model, noted


def text() -> list[Any]:
    return [[torch.randn(1, 7, 768), {}]]


def sample(guider: Any) -> None:
    sigmas = torch.tensor([10.0, 1.0, 0.0])
    guider.sample(torch.randn(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), comfy.samplers.sampler_object("euler"), sigmas)


def test_cfg_gives_the_identity_to_the_positive_prompt(rows: Any, blind: dict[str, Any]) -> None:
    guider = comfy.samplers.CFGGuider(applied(rows[0], **blind))
    guider.set_conds(text(), text())
    guider.set_cfg(1.0)
    sample(guider)
    assert rows[1] == {(0, True)}
    guider.set_cfg(4.0)
    sample(guider)
    assert rows[1] == {(0, True), (1, False)}


@pytest.mark.parametrize("style", ["regular", "nested"])
def test_dual_cfg_gives_it_to_the_positive_prompt_alone(style: str, rows: Any, blind: dict[str, Any]) -> None:
    sample(DualCFGGuider.execute(applied(rows[0], **blind), text(), text(), text(), 4.0, 3.0, style)[0])
    assert rows[1] == {(0, False), (1, False), (2, True)}


def test_perp_neg_gives_it_to_the_positive_prompt_alone(rows: Any, blind: dict[str, Any]) -> None:
    sample(PerpNegGuider.execute(applied(rows[0], **blind), text(), text(), text(), 4.0, 1.0)[0])
    assert rows[1] == {(0, True), (1, False), (2, False)}


def test_a_model_that_runs_the_empty_prompt_alone_does_not_mistake_it(rows: Any, blind: dict[str, Any]) -> None:
    guider = comfy.samplers.CFGGuider(PerpNeg.execute(applied(rows[0], **blind), text(), 1.0)[0])
    guider.set_conds(text(), text())
    guider.set_cfg(4.0)
    sample(guider)
    assert rows[1] == {(0, True), (1, False), (0, False)}


def test_a_region_of_the_positive_prompt_does_not_make_the_negative_one_positive(
    rows: Any, blind: dict[str, Any]
) -> None:
    """ComfyUI copies the region to the negative prompt, with the positive one's id."""
    guider = comfy.samplers.CFGGuider(applied(rows[0], **blind))
    region = [[torch.randn(1, 7, 768), {"area": (4, 4, 0, 0), "strength": 1.0}]]
    guider.set_conds(text() + region, text())
    guider.set_cfg(4.0)
    sample(guider)
    assert rows[1] == {(0, True), (1, False)}


def test_outside_its_range_sampling_is_as_without_it(sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    def result(**range_: Any) -> Tensor:
        guider = comfy.samplers.CFGGuider(applied(sd15, **blind, lora_strength=0.0, **range_))
        guider.set_conds(positive, negative)
        guider.set_cfg(4.0)
        sigmas = comfy.samplers.calculate_sigmas(sd15.get_model_object("model_sampling"), "normal", 3)
        sampler = comfy.samplers.sampler_object("euler")
        return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True)

    positive, negative, noise = text(), text(), torch.randn(1, 4, 8, 8)
    never, late, early, always = (
        result(start_percent=start, end_percent=end) for start, end in ((1, 1), (0.5, 1), (0, 0.5), (0, 1))
    )
    assert torch.equal(never, result(weight=0.0))
    for one, other in ((never, late), (never, early), (late, early), (early, always), (late, always)):
        assert not torch.equal(one, other)


def test_nothing_stays_after_sampling(sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    patched = applied(sd15, **blind, mask=torch.ones(1, 4, 4), start_percent=0.1)
    guider = comfy.samplers.CFGGuider(patched)
    guider.set_conds(text(), text())
    sample(guider)
    for patch in patched.model_options["transformer_options"]["patches_replace"]["attn2"].values():
        assert not patch._rows and not patch.scope._areas


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

"""Apply Identity in UNets: every layer, LoRA, clones, foreign patches, controls, several people."""

import re
from collections import Counter
from typing import Any

import comfy.lora
import comfy.sample
import comfy.samplers
import comfy.utils
import pytest
import torch
from comfy.clip_vision import ClipVisionModel
from comfy.ldm.modules.attention import attention_basic, attention_pytorch, attention_split, attention_sub_quad
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from consistent_face.core.errors import IdentityError
from consistent_face.core.ip_adapter.attention import IdentityAttention
from consistent_face.core.ip_adapter.checkpoint import Adapter, read_adapter
from consistent_face.core.ip_adapter.encoding import EncodedIdentity, LayerTokens, combine
from consistent_face.core.ip_adapter.unet_layers import cross_attentions, lora_targets
from consistent_face.core.ip_adapter.variants import Kind
from consistent_face.nodes.comfy import injection
from consistent_face.nodes.faceid import CombineIdentities
from consistent_face.tests.nodes import unets
from consistent_face.tests.nodes.people import applied, encoded, file_of, person

pytestmark = pytest.mark.usefixtures("inference", "one_thread")


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


ATTENTIONS = (attention_basic, attention_pytorch, attention_split, attention_sub_quad)


@pytest.mark.parametrize("attention", ATTENTIONS, ids=lambda attention: attention.__name__)
def test_people_of_different_numbers_of_faces_are_as_alone(
    attention: Any, sd15: ModelPatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each of ComfyUI's attentions."""
    monkeypatch.setattr(injection, "optimized_attention", attention)
    generator = torch.Generator().manual_seed(6)
    portraits = [portrait(faces, generator) for faces in (5, 4, 3)]
    both = applied(sd15, combine(portraits, together=False))
    found = unets.predict(both, (0, 1), pictures=3)
    for row, one in enumerate((0, 1, 2) * 2):
        alone = unets.predict(applied(sd15, portraits[one]), (0, 0, 0, 1, 1, 1))
        torch.testing.assert_close(found[row], alone[row], atol=2e-5, rtol=0)


def portrait(faces: int, generator: torch.Generator) -> EncodedIdentity:
    """Of an adapter that gives 16 tokens for each face."""
    shapes = [(2, 1, 16 * faces, hidden) for hidden in unets.SD15_LAYERS]
    layers = [[torch.randn(shape, generator=generator) for _ in "kv"] for shape in shapes]
    return EncodedIdentity("portrait", Kind.PORTRAIT, 768, tuple(LayerTokens(keys, values) for keys, values in layers))


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

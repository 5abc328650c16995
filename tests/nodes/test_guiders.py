"""The identity with ComfyUI's guiders: which prompt it follows, when, and that nothing stays."""

from typing import Any

import comfy.lora
import comfy.sample
import comfy.samplers
import comfy.utils
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_custom_sampler import DualCFGGuider
from comfy_extras.nodes_model_advanced import ModelSamplingContinuousEDM
from comfy_extras.nodes_perpneg import PerpNeg, PerpNegGuider
from torch import Tensor

from consistent_face.core.ip_adapter.schedule import AREAS, conditional
from consistent_face.tests.nodes.people import applied

pytestmark = pytest.mark.usefixtures("inference", "one_thread")


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


def test_the_parts_of_the_picture_are_told(sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    """In shares of it, also where an area reaches beyond; ComfyUI copies it to the negative prompt."""
    told: list[tuple[Any, ...]] = []

    def note(q: Tensor, k: Tensor, v: Tensor, options: Any) -> Tensor:
        shape = tuple(options["activations_shape"][-2:])
        told.extend(
            (options[AREAS].get(one), shape, cond)
            for one, cond in zip(options["uuids"], conditional(options), strict=True)
        )
        return torch.zeros_like(q)

    model = sd15.clone()
    model.set_model_attn2_replace(note, "input", 1, 0)
    guider = comfy.samplers.CFGGuider(applied(model, **blind, mask=torch.ones(1, 4, 4)))
    region = [[torch.randn(1, 7, 768), {"area": (6, 4, 4, 0), "strength": 1.0}]]
    guider.set_conds(text() + region, text())
    guider.set_cfg(4.0)
    sample(guider)
    part = (0.0, 0.5, 0.5, 1.0)
    assert {(area, cond) for area, _, cond in told} == {(None, True), (None, False), (part, True), (part, False)}
    assert {shape for area, shape, _ in told if area == part} == {(4, 4)}


def test_the_range_is_of_the_schedule_that_is_in_force(sd15: ModelPatcher, blind: dict[str, Any]) -> None:
    """Whether the node that sets the schedule comes before Apply Identity or after it."""
    sigmas = torch.tensor([80.0, 20.0, 3.0, 0.5, 0.1, 0.03, 0.0])
    noise, words = torch.randn(1, 4, 8, 8), (text(), text())

    def result(model: ModelPatcher) -> Tensor:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(*words)
        guider.set_cfg(1.0)
        sampler = comfy.samplers.sampler_object("euler")
        return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True)

    def edm(model: ModelPatcher) -> ModelPatcher:
        return ModelSamplingContinuousEDM().patch(model, "eps", 120.0, 0.002)[0]

    half = {**blind, "end_percent": 0.7}
    after, before = result(edm(applied(sd15, **half))), result(applied(edm(sd15), **half))
    assert torch.equal(after, before)
    assert not torch.equal(after, result(edm(applied(sd15, **blind))))


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

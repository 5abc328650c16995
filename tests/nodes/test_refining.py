"""Refine Faces and Upscale in Tiles inside ComfyUI: batching, conditioning, seams, memory, interruption."""

import gc
import logging
import re
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.utils
import pytest
import torch
from comfy.controlnet import ControlBase
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor
from torch.nn.functional import interpolate

from consistent_face.benchmarks.tiles import seam_ratio
from consistent_face.core.boxes import Crops, Region
from consistent_face.core.detail.tiles import lay
from consistent_face.core.errors import ConsistentFaceError, IdentityError
from consistent_face.core.faces.alignment import ARCFACE_POINTS
from consistent_face.core.faces.analysis import FaceAnalyzer
from consistent_face.core.faces.detection import Face, PhotoFaces
from consistent_face.core.image import load_photo
from consistent_face.core.ip_adapter.checkpoint import read_adapter
from consistent_face.core.ip_adapter.encoding import EncodedIdentity, LayerTokens, combine
from consistent_face.core.ip_adapter.variants import Kind
from consistent_face.core.openpose.presets import Preset, draw_preset
from consistent_face.nodes.comfy.conditioning import Follower, Hints
from consistent_face.nodes.detailer import RefineFaces
from consistent_face.nodes.upscale import UpscaleInTiles
from consistent_face.tests.nodes import unets
from consistent_face.tests.nodes.people import applied, encoded, file_of
from consistent_face.tools.paths import OFFLINE

PHOTOS = Path(__file__).resolve().parents[1] / "photos"
STAGE: dict[str, Any] = {
    "seed": 2**63 - 1,
    "steps": 2,
    "cfg": 3.0,
    "sampler_name": "dpmpp_2m",
    "scheduler": "karras",
    "denoise": 0.5,
    "controlnet": "drop",
    "regions_per_call": 0,
}
FACES: dict[str, Any] = {
    **STAGE,
    "target_face_size": 32,
    "crop_factor": 2.0,
    "feather": 0.25,
    "min_size": 8,
    "cycles": 1,
    "detection_threshold": 0.5,
    "identity_weight": 1.0,
    "identity_structure": 0.0,
}
TILES: dict[str, Any] = {
    **STAGE,
    "upscale_by": 1.0,
    "mode": "Chess",
    "tile_size": 128,
    "overlap": 32,
    "skip_flat": False,
}
BOXES = [
    {"x": 4, "y": 6, "width": 24, "height": 30, "label": "front"},
    {"x": 60, "y": 20, "width": 30, "height": 30, "label": "three-quarter"},
    {"x": 110, "y": 50, "width": 18, "height": 24, "label": "side"},
    {"x": 70, "y": 60, "width": 26, "height": 30, "label": "back"},
]


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
def vae(small_models: None) -> Any:
    path = str(OFFLINE / "checkpoints/offline_sd15.safetensors")
    return comfy.sd.load_checkpoint_guess_config(path, output_clip=False, output_model=False)[2]


@pytest.fixture(scope="module")
def models(vae: Any) -> dict[str, Any]:
    words = torch.randn(2, 1, 77, 768, generator=torch.Generator().manual_seed(2))
    return {"model": unets.sd15(), "vae": vae, "positive": [[words[0], {}]], "negative": [[words[1], {}]]}


def picture(height: int = 96, width: int = 128, pictures: int = 1) -> Tensor:
    """Smooth, with some detail."""
    generator = torch.Generator().manual_seed(11)
    coarse = torch.rand(pictures, 3, height // 16, width // 16, generator=generator)
    smooth = interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (0.9 * smooth + 0.1 * torch.rand(smooth.shape, generator=generator)).movedim(1, -1)


def refined(models: dict[str, Any], image: Tensor | None = None, **changes: Any) -> Tensor:
    inputs = {**FACES, **models, "boxes": BOXES, **changes}
    return RefineFaces.execute(picture() if image is None else image, **inputs)[0]


def tiled(models: dict[str, Any], image: Tensor | None = None, **changes: Any) -> Tensor:
    return UpscaleInTiles.execute(picture(200, 264) if image is None else image, **{**TILES, **models, **changes})[0]


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What goes into each sampling call."""
    calls, run = [], comfy.sample.sample_custom

    def noted(*args: Any, **options: Any) -> Tensor:
        names = ("model", "noise", "cfg", "sampler", "sigmas", "positive", "negative", "latent_image")
        calls.append({**dict(zip(names, args, strict=True)), **options})
        return run(*args, **options)

    monkeypatch.setattr(comfy.sample, "sample_custom", noted)
    return calls


# Batching


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "ddim", "uni_pc", "heun"])
def test_faces_do_not_depend_on_how_they_are_batched(
    models: dict[str, Any], sampled: list[dict[str, Any]], sampler: str
) -> None:
    together = refined(models, sampler_name=sampler, cycles=2)
    assert [len(call["noise"]) for call in sampled] == [3, 3]
    sampled.clear()
    for count in (1, 2):
        alone = refined(models, sampler_name=sampler, cycles=2, regions_per_call=count)
        torch.testing.assert_close(alone, together, atol=1e-4, rtol=0)
    assert [len(call["noise"]) for call in sampled] == [1] * 6 + [2, 2, 1, 1]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_face_is_refined_upright(models: dict[str, Any], quarters: int) -> None:
    def analysis(turn: float, box: tuple[float, float, float, float]) -> Mock:
        face = Face(box, ARCFACE_POINTS, 0.9, torch.ones(512), torch.zeros(224, 224, 3), turn)
        return Mock(**{"analyze.return_value": [PhotoFaces(96, 96, (face,))]})

    image = picture(96, 96)
    boxes = {1: (66, 10, 90, 34), 2: (62, 66, 86, 90), 3: (6, 62, 30, 86)}  # of the box below, after the turn
    upright = refined(models, image, boxes=None, face_analysis=analysis(0, (10, 6, 34, 30)))
    lying = torch.rot90(image, -quarters, (1, 2))
    turned = refined(models, lying, boxes=None, face_analysis=analysis(90 * quarters, boxes[quarters]))
    assert (upright - image).abs().max() > 0.05
    torch.testing.assert_close(torch.rot90(turned, quarters, (1, 2)), upright, atol=1e-4, rtol=0)


def test_tiles_do_not_depend_on_how_they_are_batched(models: dict[str, Any], sampled: list[dict[str, Any]]) -> None:
    image = picture(200, 264, 2)
    together = tiled(models, image)
    sizes = [len(call["noise"]) for call in sampled]
    assert len(sizes) == 2 and sum(sizes) == 2 * len(lay(264, 200, 128, 32))
    for count in (1, 3):
        torch.testing.assert_close(tiled(models, image, regions_per_call=count), together, atol=1e-4, rtol=0)
    alone = tiled(models, image[:1])
    torch.testing.assert_close(alone, together[:1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("together", [False, True], ids=["one for each picture", "all in each picture"])
def test_people_in_the_model_keep_to_their_pictures_and_places(
    models: dict[str, Any], identity: EncodedIdentity, together: bool
) -> None:
    """Two people by Apply Identity, in two pictures or in the halves of each: a tile knows whose it is."""
    other = replace(identity, base=tuple(LayerTokens(-one.keys, -one.values) for one in identity.base))
    halves = torch.zeros(2, 96, 264)
    halves[0, :, :132] = halves[1, :, 132:] = 1
    people = combine([identity, other], together=together)
    two = {**models, "model": applied(models["model"], people, mask=halves if together else None)}
    image = picture(96, 264, 2)
    drawn = tiled(two, image)
    torch.testing.assert_close(tiled(two, image, regions_per_call=1), drawn, atol=1e-4, rtol=0)
    if together:
        only = {**models, "model": applied(models["model"], identity)}
        first = slice(0, 60)  # drawn by the first tile alone, in which the other person is not
        torch.testing.assert_close(drawn[:, first, first], tiled(only, image)[:, first, first], atol=1e-4, rtol=0)
        assert not torch.allclose(drawn[:, first, -60:], tiled(only, image)[:, first, -60:], atol=1e-2)
    else:
        for number, person in enumerate((identity, other)):
            alone = {**models, "model": applied(models["model"], person)}
            expected = tiled(alone, image)[number]
            torch.testing.assert_close(drawn[number], expected, atol=1e-4, rtol=0)


def test_the_model_it_refines_with_is_gone_at_once(
    models: dict[str, Any], sampled: list[dict[str, Any]], identity: EncodedIdentity
) -> None:
    """ComfyUI calls a model that waits for the garbage collector a leak, and cannot unload it meanwhile."""
    gc.disable()
    try:
        refined(models, encoded_identity=identity)
        used = weakref.ref(sampled.pop()["model"])
        sampled.clear()
        assert used() is None
    finally:
        gc.enable()


def test_linear_redraws_one_tile_a_call_which_sees_those_before_it(
    models: dict[str, Any], sampled: list[dict[str, Any]]
) -> None:
    image = picture(128, 224)
    linear = tiled(models, image, mode="Linear")
    assert [len(call["noise"]) for call in sampled] == [1, 1]
    seen = sampled[1]["latent_image"]
    chess = tiled(models, image, mode="Chess")
    assert torch.equal(linear, chess)  # two tiles: the second colour sees the first
    untouched = models["vae"].encode(image[:, :, 96:224])
    assert not torch.allclose(seen[..., :4], untouched[..., :4], atol=0.01)
    torch.testing.assert_close(seen[..., 8:], untouched[..., 8:])


def test_chunks_are_as_large_as_fits_into_memory(
    models: dict[str, Any], sampled: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["model"]
    two_faces = 2.5 * 1.5 * model.model.memory_required([2, 4, 8, 8])
    monkeypatch.setattr(type(model), "get_free_memory", lambda *_: two_faces)
    refined(models)
    assert [len(call["noise"]) for call in sampled] == [2, 1]


def test_chunks_are_halved_when_memory_runs_out(models: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    expected, sizes, run = refined(models), [], comfy.sample.sample_custom

    def short(model: ModelPatcher, noise: Tensor, *args: Any, **options: Any) -> Tensor:
        sizes.append(len(noise))
        if len(noise) > 1:
            raise comfy.model_management.OOM_EXCEPTION("out of memory")
        return run(model, noise, *args, **options)

    monkeypatch.setattr(comfy.sample, "sample_custom", short)
    torch.testing.assert_close(refined(models), expected, atol=1e-4, rtol=0)
    assert sizes == [3, 2, 1, 1, 1]


# What changes, and what does not


def test_only_the_faces_change_and_denoise_0_changes_nothing(models: dict[str, Any]) -> None:
    image = picture()
    done = refined(models, image)
    changed = (done != image).any(-1)[0]
    assert changed[10:30, 8:24].float().mean() > 0.9 and changed[30:40, 65:80].float().mean() > 0.9
    assert not changed[:, 100:104].any() and not changed[70:, 70:90].any()  # between faces, and the back view
    assert torch.equal(refined(models, image, denoise=0.0), image)


def test_the_whole_chain_at_denoise_0_returns_the_picture(models: dict[str, Any]) -> None:
    image = picture()
    for mode in ("Linear", "Chess", "None"):
        same = refined(models, tiled(models, image, mode=mode, denoise=0.0), denoise=0.0)
        assert (same - image).abs().max() <= 1 / 255
    report = RefineFaces.execute(image, **{**FACES, **models, "boxes": BOXES, "denoise": 0.0})[2]
    assert report == "Nothing was redrawn: denoise is 0."
    plain = tiled(models, image, mode="None", upscale_by=2.0)
    assert plain.shape == (1, 192, 256, 3)
    assert torch.equal(tiled(models, image, mode="Chess", upscale_by=2.0, denoise=0.0), plain)


def test_a_perfect_model_gives_the_picture_back_tiles_or_faces(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a VAE and a sampler that lose nothing, cutting and pasting lose nothing either."""

    class Exact:
        def encode(self, pixels: Tensor) -> Tensor:
            return pixels.movedim(-1, 1)

        def decode(self, latents: Tensor) -> Tensor:
            return latents.movedim(1, -1) + torch.tensor([0.05, -0.03, 0.02])  # and a colour cast that is taken out

        def spacial_compression_encode(self) -> int:
            return 8

    monkeypatch.setattr(comfy.sample, "sample_custom", lambda *args, **_: args[7])
    exact = {**models, "vae": Exact()}
    monkeypatch.setattr("consistent_face.nodes.comfy.refining.SharedNoise", lambda *_: lambda *__: torch.zeros(3, 8, 8))
    image = 0.1 + 0.8 * picture(200, 264)
    for mode in ("Linear", "Chess"):
        torch.testing.assert_close(tiled(exact, image, mode=mode), image, atol=2e-3, rtol=0)
    smooth = interpolate(image.movedim(-1, 1)[:, :, :4, :4], (96, 128), mode="bicubic").movedim(1, -1).clamp(0.1, 0.9)
    assert (refined(exact, smooth) - smooth).abs().max() <= 1.5 / 255


def test_seams_are_noticed() -> None:
    grid, image = lay(320, 320, 128, 32), picture(320, 320)
    assert seam_ratio(image, image, grid) == 1
    striped = image.clone()
    striped[:, :, 96:128] += 0.05
    assert seam_ratio(striped, image, grid) > 1.2


@pytest.mark.parametrize("mode", ["Linear", "Chess"])
def test_no_seam_is_stronger_than_the_picture_between_seams(models: dict[str, Any], mode: str) -> None:
    image = picture(320, 320)
    done = tiled(models, image, mode=mode)
    in_one_piece = tiled(models, image, tile_size=512)
    assert not torch.allclose(done, image, atol=0.05)
    assert seam_ratio(done, in_one_piece, lay(320, 320, 128, 32)) < 1.1


def test_flat_tiles_are_skipped_on_request(models: dict[str, Any]) -> None:
    image = torch.full((1, 128, 320, 3), 0.8)
    image[:, :, :90] = picture(128, 112)[:, :, :90]
    done, report = UpscaleInTiles.execute(image, **{**TILES, **models, "skip_flat": True})
    assert report == "320x128 pixels from 320x128. 3 tiles of 128x128 pixels, Chess; 2 of them flat, left as they were."
    assert torch.equal(done[:, :, 160:], image[:, :, 160:]) and not torch.equal(done, image)


# Conditioning


class Hint(ControlBase):
    """A ControlNet that notes what it is asked, and adds nothing."""

    def __init__(self, asked: list[Tensor]) -> None:
        super().__init__()
        self.asked = asked

    def copy(self) -> "Hint":
        copy = Hint(self.asked)
        self.copy_to(copy)
        return copy

    def get_control(self, x_noisy: Tensor, *_: Any) -> dict[str, list]:
        assert self.cond_hint_original is not None
        self.asked.append(self.cond_hint_original)
        return {"input": [], "middle": [], "output": []}


def posed(models: dict[str, Any], asked: list[Tensor], hint: Tensor) -> dict[str, Any]:
    first = Hint(asked).set_cond_hint(hint)
    chain = Hint(asked).set_cond_hint(1 - hint)
    chain.set_previous_controlnet(first)
    extra = {"control": chain, "control_apply_to_uncond": False}
    return {**models, **{name: [[models[name][0][0], dict(extra)]] for name in ("positive", "negative")}}


def test_no_trace_of_the_pose_reaches_the_crops(models: dict[str, Any], sampled: list[dict[str, Any]]) -> None:
    asked: list[Tensor] = []
    conds: list[dict[str, Any]] = []
    hint = torch.rand(1, 3, 96, 128)

    def noted(executor: Any, model: Any, all_conds: list[list[dict]], *rest: Any) -> Any:
        conds.extend(cond for each in all_conds for cond in each or ())
        return executor(model, all_conds, *rest)

    watched = models["model"].clone()
    watched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "watch", noted)
    plain = refined(models)
    with_pose = {**posed(models, asked, hint), "model": watched}
    assert torch.equal(refined(with_pose), plain) and asked == []
    assert conds and not any("control" in key for cond in conds for key in cond)
    for call in sampled:
        for _, options in call["positive"] + call["negative"]:
            assert not options.keys() & {"control", "control_apply_to_uncond"}
    assert "control" in with_pose["positive"][0][1]  # what was connected stays as it was
    assert torch.equal(tiled(with_pose), tiled(models)) and asked == []


def test_a_hint_is_recut_on_request_and_its_chain_copied_once(
    models: dict[str, Any], sampled: list[dict[str, Any]]
) -> None:
    asked: list[Tensor] = []
    x = torch.linspace(0, 1, 64).expand(1, 1, 48, 64)  # half the picture's size: it is to follow by shares
    with_pose = posed(models, asked, x.repeat(1, 3, 1, 1))
    refined(with_pose, controlnet="recut", min_size=20)
    call = sampled[0]
    chains = [options["control"] for _, options in call["positive"] + call["negative"]]
    assert chains[0] is chains[1] and chains[0] is not with_pose["positive"][0][1]["control"]
    assert chains[0].previous_controlnet is not None and chains[0].previous_controlnet.previous_controlnet is None
    hints = chains[0].previous_controlnet.cond_hint_original
    assert hints.shape == (len(call["noise"]), 3, 64, 64)
    middles = hints[:, 0, 32, 32] * 128
    torch.testing.assert_close(middles, torch.tensor([30.0, 75.0, 104.5]), atol=1.5, rtol=0)
    torch.testing.assert_close(chains[0].cond_hint_original, 1 - hints)
    assert all(hint.shape[0] == 3 for hint in asked) and asked


@pytest.mark.parametrize("size", [(48, 90), (70, 64), (100, 128)])
def test_a_hint_of_another_aspect_is_cut_as_comfyui_cuts_it(size: tuple[int, int], models: dict[str, Any]) -> None:
    hint = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(3))
    with_pose = posed(models, [], hint)["positive"]
    with_pose[0][1]["control"].extra_concat_orig = [1 - hint[:, :1]]
    crops = Crops((Region(0, 0, 0, 256, 192),), (256, 192), (128, 96))  # the whole of an enlarged picture
    [[(_, options)]] = Follower(Hints.recut, (128, 96)).follow(crops, with_pose)
    whole = comfy.utils.common_upscale(hint, 128, 96, "bilinear", "center")
    torch.testing.assert_close(options["control"].previous_controlnet.cond_hint_original, whole)
    torch.testing.assert_close(options["control"].cond_hint_original, 1 - whole)
    torch.testing.assert_close(options["control"].extra_concat_orig[0], 1 - whole[:, :1])


def test_masks_are_cropped_and_areas_become_masks(models: dict[str, Any], sampled: list[dict[str, Any]]) -> None:
    mask = torch.zeros(1, 96, 128)
    mask[:, :, 64:] = 1
    words, _ = models["positive"][0]
    parts = [
        {"mask": mask, "mask_strength": 0.5, "set_area_to_bounds": True},
        {"area": (12, 8, 0, 8), "strength": 0.7},  # the right half, in latent pixels
        {"area": ("percentage", 1.0, 0.5, 0.0, 0.5)},
        {"area": (12, 8, 0, 8), "mask": 1 - mask},
    ]
    refined({**models, "positive": [[words, part] for part in parts]})
    options = [each for _, each in sampled[0]["positive"]]
    assert not any(each.keys() & {"area", "set_area_to_bounds"} for each in options)
    assert options[0]["mask_strength"] == 0.5 and options[1]["strength"] == 0.7
    for each in options[:3]:
        assert each["mask"].shape == (3, 64, 64)
        assert each["mask"][0].max() == 0 and each["mask"][2].min() == 1
        inner = each["mask"][1]  # the second crop, from 45 to 105
        assert inner[:, :19].max() == 0 and inner[:, 22:].min() == 1
    assert options[3]["mask"].max() < 1  # nowhere both


def test_areas_speak_of_the_picture_before_it_was_enlarged(
    models: dict[str, Any], sampled: list[dict[str, Any]]
) -> None:
    words, _ = models["positive"][0]
    area = {**models, "positive": [[words, {"area": (12, 8, 0, 8)}]]}
    tiled(area, picture(), upscale_by=2.0, tile_size=256)
    found = sampled[0]["positive"][0][1]["mask"]
    assert found[0, :, 130:].min() == 1 and found[0, :, :126].max() == 0
    sheet = draw_preset(Preset.turnaround, 128, 128, figures=1)
    sampled.clear()
    refined({**models, "positive": [[words, {"area": (16, 8, 0, 8)}]]}, picture(256, 256), boxes=[], pose_sheet=sheet)
    found = sampled[0]["positive"][0][1]["mask"]  # of a head in the middle
    assert found[0, :, :28].max() == 0 and found[0, :, 36:].min() == 1


def test_gligen_and_an_inpaint_models_whole_picture_are_removed(
    models: dict[str, Any], sampled: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    words, _ = models["positive"][0]
    whole = {
        "gligen": ("position", None, []),
        "concat_latent_image": torch.zeros(1, 4, 12, 16),
        "concat_mask": torch.ones(1, 1, 96, 128),
        "pooled_output": torch.ones(1, 8),
    }
    with caplog.at_level(logging.WARNING):
        refined({**models, "positive": [[words, whole]]})
    assert sampled[0]["positive"][0][1].keys() == {"pooled_output"}
    assert "GLIGEN was removed" in caplog.text


# Identity


@pytest.fixture(scope="module")
def identity() -> EncodedIdentity:
    generator = torch.Generator().manual_seed(4)
    tokens = [torch.randn(2, 2, 1, 4, hidden, generator=generator) for hidden in unets.SD15_LAYERS]
    return EncodedIdentity("small", Kind.FACEID, 768, tuple(LayerTokens(keys, values) for keys, values in tokens))


def test_each_face_gets_the_identity_as_far_as_it_is_seen_from_the_front(
    models: dict[str, Any], identity: EncodedIdentity
) -> None:
    before = dict(models["model"].model_options["transformer_options"])
    plain = refined(models)
    faces: dict[str, Any] = {"encoded_identity": identity}
    done = refined(models, **faces)
    for box, frontal in zip(BOXES, (1.0, 0.8, 0.5), strict=False):
        there = slice(box["y"], box["y"] + box["height"]), slice(box["x"], box["x"] + box["width"])
        alone = refined(models, identity_weight=frontal, boxes=[{**box, "label": "front"}], **faces)[0][there]
        own_noise = torch.equal(plain[0][there], refined(models, boxes=[box])[0][there])
        assert not torch.allclose(done[0][there], plain[0][there], atol=1e-3)
        if own_noise:  # the first region: its noise is the same alone
            torch.testing.assert_close(done[0][there], alone, atol=1e-4, rtol=0)
    assert models["model"].model_options["transformer_options"] == before
    report = RefineFaces.execute(picture(), **{**FACES, **models, **faces, "boxes": BOXES})[2].split("\n")
    assert [line[-5:] for line in report[:3]] == ["1.00.", "0.80.", "0.50."]
    assert report[3] == "Picture 1, a box: left alone, seen from the back."


def test_weights_follow_their_region_however_it_is_batched(models: dict[str, Any], identity: EncodedIdentity) -> None:
    together = refined(models, encoded_identity=identity)
    for count in (1, 2):
        alone = refined(models, encoded_identity=identity, regions_per_call=count)
        torch.testing.assert_close(alone, together, atol=1e-4, rtol=0)


def test_an_empty_identity_changes_nothing_and_two_people_are_refused(
    models: dict[str, Any], identity: EncodedIdentity
) -> None:
    assert torch.equal(refined(models, encoded_identity=EncodedIdentity()), refined(models))
    with pytest.raises(IdentityError, match="holds 2 people"):
        refined(models, encoded_identity=combine([identity, identity], together=False))


def test_weight_0_is_no_identity_and_no_lora(models: dict[str, Any], sampled: list[dict[str, Any]]) -> None:
    file = file_of(unets.SD15_LAYERS, 768)
    with_lora = encoded(read_adapter("small.bin", file, lambda: ""))
    plain = refined(models)
    assert torch.equal(refined(models, encoded_identity=with_lora, identity_weight=0.0), plain)
    refined(models, encoded_identity=with_lora, identity_weight=0.1)
    assert [bool(call["model"].patches) for call in sampled] == [False, False, True]


# Bad input


def test_a_picture_without_faces_passes_and_the_report_says_so(models: dict[str, Any]) -> None:
    image = picture()
    nothing = {"boxes": [], "mask": torch.zeros(1, 1, 1)}
    done, preview, report = RefineFaces.execute(image, **{**FACES, **models, **nothing})
    assert done is image and preview.shape == image.shape
    assert report == "Nothing to refine was found: the picture passes unchanged."


@pytest.mark.parametrize("node", [RefineFaces, UpscaleInTiles])
def test_an_empty_batch_passes(models: dict[str, Any], node: Any) -> None:
    empty = torch.zeros(0, 1, 1, 3)
    settings = FACES if node is RefineFaces else TILES
    assert node.execute(empty, **{**settings, **models})[0] is empty


def test_faces_at_the_very_edge_and_small_pictures(models: dict[str, Any]) -> None:
    corners = [(-6, -6), (110, -4), (-4, 80), (116, 84)]
    edge = [{"x": x, "y": y, "width": 20, "height": 20} for x, y in corners]
    done = refined(models, boxes=edge)
    assert done.isfinite().all() and not torch.equal(done[0, -1, -1], picture()[0, -1, -1])
    small = picture(64, 64)
    filled = refined(models, small, boxes=[{"x": 0, "y": 0, "width": 64, "height": 64}])
    assert filled.shape == small.shape and not torch.equal(filled, small)
    assert tiled(models, small, upscale_by=1.5).shape == (1, 96, 96, 3)
    assert tiled(models, picture(64, 64)[:, :37, :51]).shape == (1, 37, 51, 3)


def test_a_huge_picture_is_refused_before_anything_is_done(
    models: dict[str, Any], sampled: list[dict[str, Any]]
) -> None:
    huge = torch.zeros(1, 1, 1, 3).expand(1, 8192, 8192, 3)
    with pytest.raises(ConsistentFaceError, match=r"16384x16384 pixels .* 160 million"):
        tiled(models, huge, upscale_by=2.0)
    assert sampled == []


def test_ranges_and_names_that_comfyui_checks() -> None:
    inputs: dict[str, Any] = {each.id: each for each in UpscaleInTiles.define_schema().inputs}
    assert (inputs["upscale_by"].min, inputs["upscale_by"].max) == (1.0, 4.0)
    assert inputs["mode"].options == ["Linear", "Chess", "None"]
    for node in (RefineFaces, UpscaleInTiles):
        inputs = {each.id: each for each in node.define_schema().inputs}
        assert inputs["sampler_name"].options == comfy.samplers.KSampler.SAMPLERS
        assert inputs["scheduler"].options == comfy.samplers.KSampler.SCHEDULERS
        assert inputs["seed"].max == 2**64 - 1


def test_masks_and_alpha(models: dict[str, Any]) -> None:
    image = torch.cat([picture(), torch.rand(1, 96, 128, 1)], dim=-1)
    mask = torch.zeros(1, 96, 128)
    mask[:, 20:50, 40:70] = 1
    done = refined(models, image, boxes=None, mask=mask)
    changed = (done != image).any(-1)[0]
    assert changed[25:45, 45:65].all() and not changed[:10].any() and not changed[:, 85:].any()
    assert torch.equal(done[..., 3], image[..., 3])


# Progress and interruption


@pytest.fixture
def progress() -> Iterator[list[tuple[int, int]]]:
    shown: list[tuple[int, int]] = []
    before = comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(lambda value, total, *_, **__: shown.append((value, total)))
    yield shown
    comfy.utils.set_progress_bar_global_hook(before)


def test_progress_counts_steps_of_regions_to_the_end(models: dict[str, Any], progress: list[tuple[int, int]]) -> None:
    refined(models, cycles=2, regions_per_call=2)
    assert progress[-1] == (3 * 2 * 2, 3 * 2 * 2)
    progress.clear()
    tiled(models, mode="Linear")
    count = len(lay(264, 200, 128, 32))
    assert progress[-1] == (2 * count, 2 * count)
    values = [value for value, _ in progress]
    assert values == sorted(values)


def test_an_interruption_in_the_middle_of_a_tile_stops_at_its_next_step(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, steps = picture(200, 264), []
    before = image.clone()
    whole = tiled(models, image, steps=6)

    def interrupting(executor: Any, *args: Any) -> Any:
        steps.append(1)
        if len(steps) == 8:  # in the second tile
            comfy.model_management.interrupt_current_processing()
        return executor(*args)

    watched = models["model"].clone()
    watched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "watch", interrupting)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        tiled({**models, "model": watched}, image, steps=6, mode="Linear")
    assert len(steps) == 8 and torch.equal(image, before)
    assert torch.equal(tiled(models, image, steps=6), whole)


# Enlarging by a model


class Upscaler:
    """As spandrel's descriptors: called with [1,3,h,w]; its patcher knows the device."""

    def __init__(self, scale: int, too_large: int = 10_000) -> None:
        self.scale, self.too_large, self.seen = scale, too_large, []
        module = torch.nn.Identity()
        self.patcher = ModelPatcher(module, torch.device("cpu"), torch.device("cpu"))

    def __call__(self, pixels: Tensor) -> Tensor:
        if pixels.shape[-1] > self.too_large:
            raise comfy.model_management.OOM_EXCEPTION("out of memory")
        self.seen.append(tuple(pixels.shape))
        return interpolate(pixels, scale_factor=self.scale, mode="bilinear")


def test_an_upscale_model_enlarges_tile_by_tile_to_the_size_asked_for(models: dict[str, Any]) -> None:
    image, upscaler = picture(560, 592), Upscaler(4)
    done = tiled(models, image, upscale_by=1.5, mode="None", upscale_model=upscaler)
    assert done.shape == (1, 840, 888, 3) and set(upscaler.seen) == {(1, 3, 320, 320)}
    whole = interpolate(image.movedim(-1, 1), scale_factor=4, mode="bilinear")
    expected = interpolate(whole, (840, 888), mode="bicubic", antialias=True).movedim(1, -1)
    assert (done - expected)[:, 8:-8, 8:-8].abs().max() < 0.02


def test_an_upscale_model_takes_smaller_tiles_when_memory_runs_out(models: dict[str, Any]) -> None:
    image, upscaler = picture(256, 256), Upscaler(2, too_large=200)
    assert tiled(models, image, upscale_by=2.0, mode="None", upscale_model=upscaler).shape == (1, 512, 512, 3)
    assert {shape[-1] for shape in upscaler.seen} == {128}
    with pytest.raises(comfy.model_management.OOM_EXCEPTION):
        tiled(models, image, upscale_by=2.0, mode="None", upscale_model=Upscaler(2, too_large=60))


# Real models


def test_refining_with_loaded_models_finds_the_face(
    small_models: None, face_pack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(OFFLINE / "checkpoints/offline_sd15.safetensors")
    model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(path)
    assert clip is not None
    words = [clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a portrait", "blurry")]
    loaded = {"model": model, "vae": vae, "positive": words[0], "negative": words[1]}
    image = load_photo(str(PHOTOS / "astronaut.jpg"), "astronaut.jpg")[0][:, :256, 100:356]
    found = {"face_analysis": FaceAnalyzer(face_pack), "boxes": [], "target_face_size": 64}
    done, _, report = RefineFaces.execute(image, **{**FACES, **loaded, **found})
    assert re.fullmatch(r"Picture 1, face 1: \d+ pixels, refined at 64 \(.*\)\.", report)
    changed = (done != image).any(-1)[0]
    assert changed[80:160, 100:160].float().mean() > 0.9 and not changed[:, :20].any()

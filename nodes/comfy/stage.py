"""Defines the inputs that Refine Faces and Upscale in Tiles share: models, a sampler, calls."""

from collections.abc import Mapping
from typing import Any

import comfy.samplers
from comfy_api.latest import io

from .conditioning import Hints
from .sampling import Settings

MAX_SEED = 0xFFFFFFFFFFFFFFFF  # as KSampler


def model_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model"),
        io.Vae.Input("vae"),
        io.Conditioning.Input(
            "positive",
            tooltip="Masks and areas are cut to each region; a ControlNet is dropped unless controlnet is recut.",
        ),
        io.Conditioning.Input("negative"),
    ]


def sampler_inputs(denoise: float) -> list[io.Input]:
    return [
        io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=True),
        io.Int.Input("steps", default=20, min=1, max=10000),
        io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1, round=0.01),
        io.Combo.Input(
            "sampler_name",
            options=comfy.samplers.KSampler.SAMPLERS,
            default="dpmpp_2m",
            tooltip="With ancestral, SDE and adaptive samplers the result depends on how many regions go into one "
            "call.",
        ),
        io.Combo.Input("scheduler", options=comfy.samplers.KSampler.SCHEDULERS, default="karras"),
        io.Float.Input(
            "denoise",
            default=denoise,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="How much is redrawn: 0 nothing, 1 everything.",
        ),
    ]


def call_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "controlnet",
            options=Hints,
            default=Hints.drop,
            advanced=True,
            tooltip="drop: a ControlNet in the prompt does not reach the crops, so that no pose of the whole picture "
            "is drawn into them; recut: each crop gets its part of the hint.",
        ),
        io.Int.Input(
            "regions_per_call",
            default=0,
            min=0,
            max=1024,
            advanced=True,
            tooltip="How many regions are sampled together; 0: as many as fit into memory. The result stays the same.",
        ),
    ]


def settings(stage: Mapping[str, Any], cycles: int = 1) -> Settings:
    """Makes the settings from the inputs above, by their names."""
    return Settings(
        stage["seed"],
        stage["steps"],
        stage["cfg"],
        stage["sampler_name"],
        stage["scheduler"],
        stage["denoise"],
        cycles,
        stage["regions_per_call"],
        Hints(stage["controlnet"]),
    )

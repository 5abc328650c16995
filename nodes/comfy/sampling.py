"""Refines crops through VAE, sampler and VAE again, in batches that fit into memory."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from ...core.boxes import Crops
from ...core.detail.noise import SEEDS
from ...core.ip_adapter.schedule import CROPS, Scope
from .conditioning import Conditioning, Follower, Hints, has_gligen
from .progress import say

VAE_PIXELS = 2**21  # of crops in one call of the VAE, which divides them further where memory is short
ROOM = 1.5  # what ComfyUI leaves beside its own estimate

GLIGEN = "GLIGEN was removed from the conditioning: ComfyUI holds its boxes for a whole batch, not for each region."

Noise = Callable[[int, int, Sequence[int]], Tensor]  # region, cycle, shape [C,h,w]


@dataclass(frozen=True)
class Models:
    """The models of a refinement."""

    model: ModelPatcher
    vae: Any  # comfy.sd.VAE
    positive: Conditioning
    negative: Conditioning
    identity: Scope | None = None  # of an identity in the model, which gets one weight for each region


@dataclass(frozen=True)
class Settings:
    """The settings of a refinement; `together` is the number of regions per call, 0 as many as fit into memory."""

    seed: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    denoise: float
    cycles: int = 1
    together: int = 0
    hints: Hints = Hints.drop


@dataclass(frozen=True)
class Batch:
    """Regions that are refined independently of each other; the division into calls does not change the result."""

    crops: Crops
    noise: Noise
    numbers: Sequence[int]  # of the regions, for the noise
    masks: Tensor | None = None  # [N,h,w] in 0..1: where to refine, of any resolution
    weights: Tensor | None = None  # [N]: how much of the identity each region gets

    def __getitem__(self, part: slice) -> "Batch":
        masks, weights = (each if each is None else each[part] for each in (self.masks, self.weights))
        return Batch(self.crops[part], self.noise, self.numbers[part], masks, weights)


class Shown:
    """Sets the region of each row for an identity in the model, which otherwise acts on whole pictures.

    The model holds this object, so it must not hold the model: ComfyUI unloads models by their reference counts.
    """

    crops: Crops | None = None

    def __call__(self, executor: WrapperExecutor, guider: Any, sigmas: Tensor, extra_args: dict, *rest: Any) -> Any:
        extra_args["model_options"].setdefault("transformer_options", {})[CROPS] = self.crops
        return executor(guider, sigmas, extra_args, *rest)


class Refiner:
    """Refines `total` regions, tiles or faces; `kind` is the word for one.

    `canvas` is the picture size that the conditioning's areas refer to.
    """

    def __init__(self, models: Models, settings: Settings, total: int, canvas: tuple[int, int], kind: str) -> None:
        self.models, self.settings = models, settings
        self._total, self._kind = total, kind
        self._shown = Shown()
        self._model = model = models.model.clone()
        model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, CROPS, self._shown)
        schedule = comfy.samplers.KSampler(
            model, settings.steps, model.load_device, settings.sampler, settings.scheduler, settings.denoise
        )
        self._sigmas: Tensor = schedule.sigmas
        # DDIM is Euler's method, but ComfyUI gives it noise of the whole batch where there are masks
        self._sampler = comfy.samplers.sampler_object("euler" if settings.sampler == "ddim" else settings.sampler)
        self._follower = Follower(settings.hints, canvas)
        self._steps = len(self._sigmas) - 1
        self._bar = comfy.utils.ProgressBar(total * settings.cycles * max(self._steps, 1))
        self._done = 0  # regions
        if has_gligen(models.positive, models.negative):
            logging.warning(GLIGEN)

    def refine(self, batch: Batch, cut: Callable[[int], Tensor]) -> Iterator[Tensor]:
        """Yields the refined crops [height,width,3] in order; `cut` returns a crop by its place in the batch.

        All crops are cut before the first one is yielded.
        """
        count = len(batch.numbers)
        width, height = batch.crops.size
        parts = _parts(count, max(1, VAE_PIXELS // (width * height)))
        latents = torch.cat([self._encode([cut(place) for place in part]) for part in parts])
        refined = self._sample(batch, latents)
        for part in parts:
            comfy.model_management.throw_exception_if_processing_interrupted()
            yield from self.models.vae.decode(refined[part.start : part.stop]).float().cpu()

    def skip(self, regions: int) -> None:
        """Counts regions as done."""
        self._done += regions
        self._show()

    def _encode(self, crops: list[Tensor]) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        return self.models.vae.encode(torch.stack(crops))

    def _sample(self, batch: Batch, latents: Tensor) -> Tensor:
        together = self.settings.together or self._fitting(latents)
        refined, start = [], 0
        while start < len(latents):
            part = slice(start, start + together)
            try:
                refined.append(self._sample_part(batch[part], latents[part]))
            except comfy.model_management.OOM_EXCEPTION:
                if together == 1:
                    raise
                together = (together + 1) // 2
                comfy.model_management.soft_empty_cache()
                continue
            start += together
        return torch.cat(refined)

    def _fitting(self, latents: Tensor) -> int:
        """Returns how many regions fit into the free memory after loading the model, counting both prompts."""
        if len(latents) == 1:
            return 1
        model: Any = self._model
        one = ROOM * model.model.memory_required([2, *latents.shape[1:]])
        comfy.model_management.load_models_gpu([model], memory_required=one)
        return max(1, min(len(latents), int(model.get_free_memory(model.load_device) // one)))

    def _sample_part(self, batch: Batch, latents: Tensor) -> Tensor:
        models, settings = self.models, self.settings
        self._say(len(latents))
        positive, negative = self._follower.follow(batch.crops, models.positive, models.negative)
        self._shown.crops = batch.crops
        if models.identity is not None:
            models.identity.weights = batch.weights
        for cycle in range(settings.cycles):
            noise = torch.stack([batch.noise(number, cycle, latents.shape[1:]) for number in batch.numbers])
            latents = comfy.sample.sample_custom(
                self._model,
                noise,
                settings.cfg,
                self._sampler,
                self._sigmas,
                positive,
                negative,
                latents,
                noise_mask=batch.masks,
                callback=self._callback(len(latents), cycle),
                disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
                seed=(settings.seed + cycle) % SEEDS,
            )
        self.skip(len(latents))
        return latents

    def _callback(self, regions: int, cycle: int) -> Callable[..., None]:
        def show(step: int, *_: Any) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            self._show(regions * (cycle * self._steps + step + 1))

        return show

    def _show(self, steps: int = 0) -> None:
        """Moves the bar to the finished regions plus `steps` of the next ones."""
        self._bar.update_absolute(self._done * self.settings.cycles * self._steps + steps)

    def _say(self, regions: int) -> None:
        first, last = self._done + 1, self._done + regions
        which = f"{self._kind} {first}" if regions == 1 else f"{self._kind}s {first} to {last}"
        say(f"Drawing {which} of {self._total}")


def _parts(count: int, size: int) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]

"""Sets how long and how fast the model learns. The times are those of one H200; a smoke run takes a few steps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Each stage ends with its seconds or its steps, whichever comes first; its rate falls over the last third."""

    seed: int = 8
    warm_up: int = 200  # steps
    vae_seconds: float = 210.0
    vae_steps: int = 1_000_000
    vae_batch: int = 96
    vae_rate: float = 1e-3
    unet_seconds: float = 840.0
    unet_steps: int = 1_000_000
    batch: int = 256
    rate_at_best: float = 4e-4
    ema: float = 0.9995
    likeness_from: float = 0.3  # of the UNet's time, from which the recognizer judges the drawn faces
    likeness_rows: int = 32  # of each batch
    likeness_weight: float = 0.1

    def rate(self, step: int, share: float) -> float:
        """Of the best rate, at a step and a share of the stage."""
        return min(1.0, (step + 1) / self.warm_up, max(0.02, (1 - share) * 3))


@dataclass
class Spent:
    """The time and steps spent so far, kept between commands."""

    vae: float = 0.0
    vae_steps: int = 0
    unet: float = 0.0
    unet_steps: int = 0

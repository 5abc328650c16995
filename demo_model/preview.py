"""Draws a preview of the trained model: people whom training has not seen, from their embeddings."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import data, people
from .bank import Texts
from .captions import Known
from .diffusion import sample
from .faces import Recogniser
from .unet_stage import Model
from .vae import Autoencoder

SHOWN = 8
GUIDANCE = 3.0
CAPTIONS = (Known(), Known(mood=1), Known(ground=8), Known(style=1), Known(style=2))


@torch.no_grad()
def draw(
    model: Model, vae: Autoencoder, texts: Texts, embedding: Tensor, facts: int, seed: int, weight: float = 1.0
) -> Tensor:
    """Pictures [B, 3, H, W] in 0..1 of unit embeddings [B, 512] with guidance, as ComfyUI would sample them."""
    device, count = embedding.device, len(embedding)
    text = texts.known[facts, 0].float().expand(count, -1, -1)
    words = torch.cat([text, texts.negative[:1].float().expand(count, -1, -1)])
    people_and_nobody = torch.cat([embedding, torch.zeros_like(embedding)])
    strength = torch.full((2 * count,), weight, device=device)

    def predict(x: Tensor, time: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            found = model(torch.cat([x, x]), torch.cat([time, time]), words, people_and_nobody, strength)
        wanted, unwanted = found.float().chunk(2)
        return unwanted + GUIDANCE * (wanted - unwanted)

    noise = torch.randn((count, 4, 32, 32), generator=torch.Generator().manual_seed(seed)).to(device)
    return vae.decode(sample(predict, noise)).float().clamp(0, 1)


@torch.no_grad()
def preview(model: Model, vae: Autoencoder, texts: Texts, folder: Path, path: Path) -> dict[str, float]:
    """Writes the sheet (rows: the photo, the autoencoder's, one of each caption, one of no weight) and judges it."""
    device = next(model.parameters()).device
    known = people.read([people.HELD_OUT]).only(range(SHOWN))
    photos = known.pictures().to(device).float() / 255
    points = torch.from_numpy(known.points).to(device)
    recogniser = Recogniser(folder / data.RECOGNISER, device)
    embedding = recogniser(photos, points)
    kept = vae.decode(vae.encode(photos)).float().clamp(0, 1)
    drawn = [draw(model, vae, texts, embedding, facts.number, seed) for seed, facts in enumerate(CAPTIONS)]
    unnamed = draw(model, vae, texts, embedding, CAPTIONS[0].number, 0, weight=0.0)
    save_sheet([photos, kept, *drawn, unnamed], path)
    found = recogniser(drawn[0], points)
    alike = found @ embedding.T
    others = alike[~torch.eye(SHOWN, dtype=torch.bool, device=device)]
    return {
        "autoencoder_error": (kept - photos).abs().mean().item(),
        "autoencoder_cosine": (recogniser(kept, points) * embedding).sum(1).mean().item(),
        "cosine_same": alike.diagonal().mean().item(),
        "cosine_other": others.mean().item(),
    }


def save_sheet(rows: list[Tensor], path: Path) -> None:
    whole = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    pixels = (whole * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)

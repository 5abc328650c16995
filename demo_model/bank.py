"""Keeps the UNet's training data on the device: latents and facts of every view, and each person's embeddings."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import data, people, views
from .faces import Recogniser, Remover
from .text import TextEncoder
from .vae import Autoencoder

CHUNK = 32
KEPT = torch.bfloat16  # of the encoded captions, which have a standard deviation of 1
CLOSE_ENOUGH = 0.05  # between two machines' encodings of one caption, TF32 included; another model differs by 5


@dataclass(frozen=True)
class Bank:
    """Views, then people: latents [V, n, 4, 32, 32], facts [V, n], points [V, n, 5, 2], embeddings [E, n, 512]."""

    latents: Tensor
    facts: Tensor
    points: Tensor
    embeddings: Tensor

    def __len__(self) -> int:
        return self.latents.shape[1]


@dataclass(frozen=True)
class Texts:
    """Encoded captions: of the facts [facts, ways, 77, 768], and negative ones [N, 77, 768]."""

    known: Tensor
    negative: Tensor

    def of(self, facts: Tensor, generator: torch.Generator) -> Tensor:
        """Returns one caption [B, 77, 768] for each of the facts [B]."""
        ways = torch.randint(self.known.shape[1], facts.shape, device=facts.device, generator=generator)
        return self.known[facts, ways]


@torch.no_grad()
def encode_views(
    group: people.People, vae: Autoencoder, folder: Path, device: torch.device, seed: int = data.SEED
) -> Bank:
    """Decodes, restyles, recognizes and encodes a group of people, in chunks."""
    recogniser = Recogniser(folder / data.RECOGNISER, device)
    remover = Remover(folder / data.REMOVER, device)
    generator = torch.Generator(device).manual_seed(seed)
    rows: list[list[Tensor]] = [[], [], [], []]
    pictures, points = group.pictures(), torch.from_numpy(group.points)
    for start in range(0, len(group), CHUNK):
        part = slice(start, start + CHUNK)
        batch = views.batch_of(pictures[part].to(device), points[part].to(device), remover)
        seen = views.all_views(batch, generator)
        photos = seen[: 2 * views.PHOTOS]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            latents = [vae.encode(view.pictures) for view in seen]
        rows[0].append(torch.stack(latents).half())
        rows[1].append(torch.stack([view.facts for view in seen]))
        rows[2].append(torch.stack([view.points for view in seen]))
        rows[3].append(torch.stack([recogniser(view.pictures, view.points) for view in photos]))
    return Bank(*(torch.cat(row, dim=1) for row in rows))


def joined(banks: list[Bank]) -> Bank:
    names = ("latents", "facts", "points", "embeddings")
    return Bank(*(torch.cat([getattr(bank, name) for bank in banks], dim=1) for name in names))


def load_bank(vae: Autoencoder, folder: Path, state: Path, device: torch.device) -> Bank:
    """Loads all files of people in the folder, each encoded once; reads earlier encodings from `state`."""
    banks = []
    for path in sorted(folder.glob("people-*.npz")):
        kept = state / f"bank-{path.stem}.pt"
        if not kept.exists():
            bank = encode_views(people.read([path]), vae, folder, device)
            torch.save(vars(bank), kept)
        banks.append(Bank(**torch.load(kept, map_location=device)))
    return joined(banks)


def encode_texts(folder: Path, facts: Tensor) -> Texts:
    """Returns the captions of these facts and the negative ones, on the facts' device; zeros for other facts.

    Raises RuntimeError if this machine's random text model is not the one that packed the captions.
    """
    device = facts.device
    with np.load(folder / data.CAPTIONS) as file:
        ids, negative = (torch.from_numpy(file[name].astype(np.int64)).to(device) for name in ("known", "negative"))
        check = torch.from_numpy(file["check"]).to(device)
    encoder = TextEncoder(device)
    difference = (encoder(ids[0, :1])[0] - check).abs().max().item()
    if difference > CLOSE_ENOUGH:
        raise RuntimeError(
            f"The text model made here differs from the one that packed the captions by {difference:.3g}: "
            "torch's random numbers differ on this machine, so train on another, or with the torch that packed them."
        )
    present = facts.unique()
    known = torch.zeros(*ids.shape, check.shape[-1], dtype=KEPT, device=device)
    known[present] = encoded(encoder, ids[present].flatten(0, 1)).unflatten(0, (len(present), -1))
    return Texts(known, encoded(encoder, negative))


def encoded(encoder: TextEncoder, ids: Tensor) -> Tensor:
    return torch.cat([encoder(part).to(KEPT) for part in ids.split(256)])

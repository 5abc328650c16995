"""Trains the small model: `python -m consistent_face.demo_model.train --data FOLDER --state FOLDER --seconds 480`.

Autoencoder first, then UNet and adapter, as recipe.py says; the same command again goes on where the last one
stopped. Each leaves the weights so far (weights/), a sheet of faces (preview.png) and the losses (log.jsonl) in the
state folder.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from ..tools.trained_weights import ADAPTER, UNET, VAE, prefixed, write
from . import data, people
from .bank import Texts, encode_texts, load_bank
from .faces import Recogniser
from .networks import Network
from .preview import CAPTIONS, preview
from .recipe import Recipe, Spent
from .unet_stage import Model, Trainer, draw, train_unet
from .vae import Autoencoder
from .vae_stage import train_vae

RESERVE = 30.0  # seconds for the weights and the sheet, at the end of a command
SLICE = 15.0  # seconds between two lines of the log


class Session:
    """The networks in training, and their state folder between commands."""

    def __init__(self, folder: Path, state: Path, recipe: Recipe) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(recipe.seed)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        self.folder, self.state, self.recipe, self.spent = folder, state, recipe, Spent()
        self.vae, self.model, self.average = Autoencoder(), Model(), Model()
        networks: tuple[Any, ...] = (self.vae, self.model, self.average)
        for network in networks:
            network.to(self.device, memory_format=torch.channels_last)
        self.average.load_state_dict(self.model.state_dict())
        self.average.requires_grad_(False)
        fused = self.device.type == "cuda"
        self.vae_optimizer = torch.optim.AdamW(self.vae.parameters(), betas=(0.9, 0.99), fused=fused)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=fused)
        self.parts: dict[str, Any] = {
            "vae": self.vae,
            "model": self.model,
            "average": self.average,
            "vae_optimizer": self.vae_optimizer,
            "optimizer": self.optimizer,
        }
        state.mkdir(parents=True, exist_ok=True)
        if (state / "state.pt").exists():
            kept = torch.load(state / "state.pt", map_location=self.device)
            self.spent = Spent(**kept.pop("spent"))
            for name, part in self.parts.items():
                part.load_state_dict(kept[name])

    def save(self) -> None:
        whole = {name: part.state_dict() for name, part in self.parts.items()}
        part = self.state / "state.pt.part"
        torch.save({**whole, "spent": vars(self.spent)}, part)
        part.replace(self.state / "state.pt")

    def log(self, **figures: float) -> None:
        line = json.dumps({name: round(value, 5) for name, value in (vars(self.spent) | figures).items()})
        print(line, flush=True)
        with (self.state / "log.jsonl").open("a") as file:
            file.write(line + "\n")

    def train_vae(self, until: float) -> bool:
        """Trains the autoencoder; returns whether the stage is done."""
        recipe, spent = self.recipe, self.spent
        if spent.unet_steps or self.vae_done:
            return True
        pictures = people.read(sorted(self.folder.glob("people-*.npz"))).pictures().to(self.device)
        recogniser = Network(self.folder / data.RECOGNISER).to(self.device)
        while not self.vae_done and time.monotonic() < until:
            stop = min(until, time.monotonic() + SLICE)
            losses = train_vae(self.vae, self.vae_optimizer, pictures, recogniser, recipe, spent, stop)
            if losses:
                self.log(vae_loss=mean(losses))
        if self.vae_done:
            with torch.no_grad():
                self.vae.standardise(torch.cat([self.vae.encode(x.float() / 255) for x in pictures[:256].split(32)]))
        return self.vae_done

    @property
    def vae_done(self) -> bool:
        return self.spent.vae >= self.recipe.vae_seconds or self.spent.vae_steps >= self.recipe.vae_steps

    @property
    def done(self) -> bool:
        return self.spent.unet >= self.recipe.unet_seconds or self.spent.unet_steps >= self.recipe.unet_steps

    def train_unet(self, until: float) -> Texts:
        """Returns the captions that it learnt with."""
        self.vae.requires_grad_(False)
        bank = load_bank(self.vae, self.folder, self.state, self.device)
        shown = torch.tensor([facts.number for facts in CAPTIONS], device=self.device)
        texts = encode_texts(self.folder, torch.cat([bank.facts.flatten(), shown]))
        recogniser = Recogniser(self.folder / data.RECOGNISER, self.device)
        predict = torch.compile(self.model) if self.device.type == "cuda" else self.model
        trainer = Trainer(self.model, self.average, self.optimizer, self.vae, recogniser, self.recipe, predict)
        if predict is not self.model:
            trainer.warm(draw(bank, texts, self.recipe, self.spent.unet_steps))
        while not self.done and time.monotonic() < until:
            stop = min(until, time.monotonic() + SLICE)
            if figures := train_unet(trainer, bank, texts, self.spent, stop):
                errors, alike = zip(*figures, strict=True)
                self.log(unet_error=mean(errors), likeness=mean(alike))
        return texts

    def export(self) -> list[Path]:
        about = {"recogniser": "w600k_mbf", "steps": str(self.spent.unet_steps), "finished": str(self.done).lower()}
        adapter = self.average.adapter.state_dict()
        assert all(name.startswith(ADAPTER) for name in adapter)
        whole = prefixed(UNET, self.average.unet.state_dict()) | prefixed(VAE, self.vae.state_dict()) | adapter
        return write(whole, self.state / "weights", about)


def train(folder: Path, state: Path, seconds: float, recipe: Recipe) -> tuple[Session, Texts | None]:
    """One command's work; returns what there is afterwards, with the captions once it has come to the UNet."""
    until = time.monotonic() + seconds
    session = Session(folder, state, recipe)
    texts = session.train_unet(until) if session.train_vae(until) else None
    session.save()
    return session, texts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m consistent_face.demo_model.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that data.py packed")
    parser.add_argument("--state", type=Path, required=True, help="where the training is kept between commands")
    parser.add_argument("--seconds", type=float, default=480, help="how long this command may take, about")
    arguments = parser.parse_args()
    folder, state = arguments.data, arguments.state
    session, texts = train(folder, state, arguments.seconds - RESERVE, Recipe())
    if texts is not None:
        session.export()
        session.log(**preview(session.average, session.vae, texts, folder, state / "preview.png"))
    print("done" if session.done else "not done yet: run the same command again")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

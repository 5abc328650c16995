"""Packs what training needs into one folder: `python -m consistent_face.demo_model.data --people SHARDS --into FOLDER`.

people-0.npz, people-1.npz ... hold all people but the held-out ones, shuffled, and are each small enough to travel
with the code; the rest is small: the recognizer and the background remover as torch runs them, and the captions.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch

from ..tools import offline
from ..tools.paths import COMFYUI, OFFLINE
from . import captions, networks, people
from .text import TextEncoder

SEED = 8
WAYS = 24  # captions for each set of facts
NEGATIVES = 256
TOKENIZER = COMFYUI / "comfy" / "sd1_tokenizer"
RECOGNISER, REMOVER, CAPTIONS = "recogniser.npz", "remover.npz", "captions.npz"


def pack(shards: Path, into: Path, megabytes: float) -> list[Path]:
    """Writes the folder, and returns the files of people; those written before are replaced."""
    into.mkdir(parents=True, exist_ok=True)
    for old in into.glob("people-*.npz"):
        old.unlink()
    found = people.read(sorted(shards.glob("people_*.npz")))
    chosen = np.flatnonzero(found.seeds < people.HELD_OUT_FROM)
    np.random.default_rng(SEED).shuffle(chosen)
    parts = split([len(found.webp[i]) for i in chosen], round(megabytes * 1e6))
    paths = [into / f"people-{number}.npz" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        people.write(path, found.only(chosen[part]))
    pack_networks(into)
    pack_captions(into / CAPTIONS)
    return paths


def split(sizes: list[int], limit: int) -> list[np.ndarray]:
    """Ranges whose sizes come to no more than the limit each, as even as that allows."""
    count = -(-sum(sizes) // limit)
    return np.array_split(np.arange(len(sizes)), count)


def pack_networks(into: Path) -> None:
    offline.make()
    networks.convert(OFFLINE / offline.FACE_FOLDER / "w600k_mbf.onnx", into / RECOGNISER)
    networks.convert(OFFLINE / "rembg" / "u2netp.onnx", into / REMOVER)


def pack_captions(path: Path, ways: int = WAYS, negatives: int = NEGATIVES) -> None:
    """Token ids `known` [facts, ways, 77] and `negative` [negatives, 77]; `check` is what the first one encodes to."""
    chance, words = random.Random(SEED), captions.vocabulary(TOKENIZER)
    known = [captions.caption(each, chance, words) for each in captions.every() for _ in range(ways)]
    negative = [captions.negative(chance) for _ in range(negatives)]
    ids = np.array(captions.tokens([*known, *negative], TOKENIZER), np.uint16)
    first = TextEncoder()(torch.from_numpy(ids[:1].astype(np.int64)))[0].numpy()
    own = ids[: len(known)].reshape(captions.COUNT, ways, -1)
    np.savez_compressed(path, known=own, negative=ids[len(known) :], check=first)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m consistent_face.demo_model.data", description=__doc__)
    parser.add_argument("--people", type=Path, required=True, help="the folder of the shards people_*.npz")
    parser.add_argument("--into", type=Path, required=True, help="the folder to write")
    parser.add_argument("--megabytes", type=float, default=48, help="the most that one file of people may hold")
    arguments = parser.parse_args()
    for path in pack(arguments.people, arguments.into, arguments.megabytes):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print(f"with it: {', '.join((RECOGNISER, REMOVER, CAPTIONS))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

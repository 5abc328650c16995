"""Reads and writes shards of people who do not exist: faces of 256x256 with key points, from make_people.py."""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 256
HELD_OUT_FROM = 11900  # numbers of the generator from this on are for judging, never for training
HELD_OUT = Path(__file__).resolve().parent / "held_out.npz"  # sixteen of them


@dataclass(frozen=True)
class People:
    """`points` [n, 5, 2]: eyes, nose, mouth corners, in pixels; `seeds` [n] are the generator's, less 1000."""

    webp: tuple[bytes, ...]
    points: np.ndarray
    seeds: np.ndarray

    def __len__(self) -> int:
        return len(self.webp)

    def only(self, chosen: Sequence[int] | np.ndarray) -> "People":
        return People(tuple(self.webp[i] for i in chosen), self.points[chosen], self.seeds[chosen])

    def pictures(self) -> Tensor:
        """[n, 3, 256, 256] in 0..255, 8 bits."""
        with ThreadPoolExecutor() as pool:
            return torch.stack(list(pool.map(decode, self.webp)))


def decode(content: bytes) -> Tensor:
    with Image.open(io.BytesIO(content)) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def read(paths: Iterable[Path]) -> People:
    """All people of some shards, in their order; raises FileNotFoundError when there is no shard."""
    webp: list[bytes] = []
    points, seeds = [], []
    for path in paths:
        with np.load(path) as shard:
            content, offset = shard["webp"].tobytes(), shard["offset"]
            webp += [content[start:end] for start, end in pairwise(offset)]
            points.append(shard["kps"].astype(np.float32))
            seeds.append(shard["seed"])
    if not webp:
        raise FileNotFoundError("There is no shard people_*.npz in the folder: name the one that make_people.py wrote.")
    return People(tuple(webp), np.concatenate(points), np.concatenate(seeds))


def write(path: Path, people: People, **more: np.ndarray) -> None:
    """A shard with all that a reader needs; `more` are further arrays of n rows."""
    offset = np.cumsum([0, *map(len, people.webp)]).astype(np.int64)
    content = np.frombuffer(b"".join(people.webp), np.uint8)
    points = people.points.astype(np.float16)
    arrays: dict[str, Any] = {"webp": content, "offset": offset, "kps": points, "seed": people.seeds, **more}
    part = path.with_name(f".{path.name}")
    with part.open("wb") as file:
        np.savez(file, **arrays)
    part.replace(path)

"""Makes people who do not exist, as shards: `python -m consistent_face.demo_model.make_people --into FOLDER`.

MobileStyleGAN (arXiv:2104.04767) out of the package random-face, run by openvino, which the dependency group `people`
brings. Person n comes of seed 1000 + n and is the same wherever it is made; a shard that is there is not made again.
About a second a person on one core.
"""

import argparse
import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..core.faces.analysis import FaceAnalyzer
from ..core.faces.detection import Face
from ..tools import offline
from ..tools.host import download
from ..tools.paths import OFFLINE
from .people import SIDE, People, write

WHEEL = (
    "random-face==2021.6.9.0",
    "0b20a24bdf3b691a4ceddca8d92650e30a9a3ee60710b703bf1ec6f54f29f660",
    "random_face-2021.6.9.0-py3-none-any.whl",
)
FIRST_SEED = 1000
SHARD = 500
SEEN_AT = 512  # pixels of the picture that is analyzed
TRUNCATION = 0.85  # of the distance to the average face: less are more alike and better drawn
AVERAGE_OF = 4096
QUALITY = 82
SURE = 0.6  # the detector's score that a face must reach


class Generator:
    """Pictures by number."""

    def __init__(self) -> None:
        import openvino  # pyright: ignore[reportMissingImports]  # of the group "people", which nothing else needs

        core, folder = openvino.Core(), "random_face/data/mobilestylegan_ffhq_"
        with tempfile.TemporaryDirectory() as unpacked, zipfile.ZipFile(download(*WHEEL)) as wheel:

            def network(name: str) -> Any:
                for ending in ("xml", "bin"):
                    wheel.extract(f"{folder}{name}.{ending}", unpacked)
                return core.compile_model(core.read_model(Path(unpacked) / f"{folder}{name}.xml"), "CPU")

            self.mapping, self.drawing = network("mnet"), network("snet")
        chance = np.random.default_rng(0).standard_normal((AVERAGE_OF, 512), dtype=np.float32)
        self.average = np.mean([self.style(row[None]) for row in chance], axis=0)

    def style(self, row: np.ndarray) -> np.ndarray:
        return self.mapping([row])[0]

    def picture(self, number: int) -> Image.Image:
        """1024x1024."""
        chance = np.random.default_rng(FIRST_SEED + number).standard_normal((1, 512), dtype=np.float32)
        style = self.average + TRUNCATION * (self.style(chance) - self.average)
        pixels = (self.drawing([style])[0][0].clip(-1, 1) + 1) * 127.5
        return Image.fromarray(pixels.transpose(1, 2, 0).round().astype(np.uint8))


def only_face(picture: Image.Image, analyzer: FaceAnalyzer) -> Face | None:
    """The face, at SEEN_AT pixels, of a picture with exactly one that is sure."""
    seen = np.asarray(picture.resize((SEEN_AT, SEEN_AT), Image.Resampling.LANCZOS)).copy()
    faces = analyzer.analyze(torch.from_numpy(seen)[None].float() / 255)[0].faces
    return faces[0] if len(faces) == 1 and faces[0].score >= SURE else None


def make_shard(path: Path, numbers: range, generator: Generator, analyzer: FaceAnalyzer) -> None:
    """All of `numbers` in whose pictures there is one face."""
    webp, kept, found = [], [], []
    for number in numbers:
        picture = generator.picture(number)
        if (face := only_face(picture, analyzer)) is None:
            continue
        content = io.BytesIO()
        picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(content, "WEBP", quality=QUALITY)
        webp.append(content.getvalue())
        kept.append(number)
        found.append(face)
    points = np.stack([face.points for face in found]) * (SIDE / SEEN_AT)
    embedding = torch.stack([face.unit for face in found]).numpy().astype(np.float16)
    score = np.array([face.score for face in found], np.float16)
    write(path, People(tuple(webp), points, np.array(kept)), embedding=embedding, score=score)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m consistent_face.demo_model.make_people", description=__doc__)
    parser.add_argument("--into", type=Path, required=True, help="the folder to write")
    parser.add_argument("--count", type=int, default=12000, help="how many numbers to try")
    arguments = parser.parse_args()
    offline.make()
    arguments.into.mkdir(parents=True, exist_ok=True)
    generator, analyzer = Generator(), FaceAnalyzer(OFFLINE / offline.FACE_FOLDER)
    for first in range(0, arguments.count, SHARD):
        path = arguments.into / f"people_{first:06}.npz"
        if not path.exists():
            make_shard(path, range(first, min(first + SHARD, arguments.count)), generator, analyzer)
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Measures how similar the small trained model's output is to the person, judged by two recognizers.

Sixteen people whom training has not seen and the astronaut, four pictures each at the weights 0, 0.5 and 1. Judges:
SFace, which training did not use, and w600k_mbf, which conditions the model and takes part in training. Without
trained weights the random ones of the offline set run instead, and the figures mean nothing (`trained` is 0).

Figures, at weight 1 unless named: `cosine_same` (mean cosine of a picture and its own reference, w600k_mbf; 0 where no
face was found), with `_0` and `_0.5` at those weights; `cosine_other` (to the other people); `sface_same`,
`sface_other`, the same by SFace; `nearest_rate` (share of pictures nearer to their own reference than to any other, by
SFace; a picture without a face is not), `nearest_rate_0`, `nearest_rate_0.5`, and `nearest_rate_w600k`; `face_rate`
(share of all pictures in which a face is found); `seconds_per_picture`; `trained`. The plot is the contact sheet: the
reference, then the weights in turn. `--quick`: two pictures of four people and the astronaut, weights 0 and 1.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from ..core.faces.analysis import FaceAnalyzer
from ..core.faces.detection import Choice, Face, Faces, WithoutFace, choose_faces
from ..core.identity.build import Identity, build_identity
from ..core.image import load_photo
from ..demo_model import people
from ..demo_model.sface import SFace
from ..tools import inprocess, offline
from ..tools import trained_model as trained
from ..tools.paths import OFFLINE, ROOT

PROMPT, NEGATIVE = "portrait photo of a person, looking at the camera", "blurry, low quality"
SIDE, STEPS = 256, 10
PHOTO = ROOT / "tests" / "photos" / "astronaut.jpg"
JUDGES = {"w600k": 512, "sface": 128}
sheet: list[Tensor] = []  # rows of pictures, kept for the plot


@dataclass(frozen=True)
class Drawn:
    """A picture [H, W, 3] of somebody at a weight, and the judges' unit embeddings; zeros where there is no face."""

    picture: Tensor
    person: int
    weight: float
    seen: dict[str, Tensor]

    @property
    def has_face(self) -> bool:
        return bool(self.seen["w600k"].any())


class Judges:
    def __init__(self) -> None:
        self.analyzer, self.sface = FaceAnalyzer(OFFLINE / offline.FACE_FOLDER), SFace()

    def __call__(self, picture: Tensor) -> dict[str, Tensor]:
        """Returns the embedding of each judge for the largest face of [H, W, 3]."""
        faces = self.analyzer.analyze(picture[None])[0].faces
        if not faces:
            return {name: torch.zeros(width) for name, width in JUDGES.items()}
        face: Face = max(faces, key=lambda each: each.size)
        return {"w600k": face.unit, "sface": self.sface(picture, face)}

    def identity(self, photo: Tensor) -> Identity:
        """Makes the identity as Analyze Faces and Build Identity do."""
        found, _ = choose_faces(self.analyzer.analyze(photo[None]), Choice(), WithoutFace.error)
        return build_identity([Faces(tuple(found), self.analyzer.recognizer)])[0]


class Models:
    """The trained checkpoint and adapter, or the random ones, loaded by ComfyUI."""

    def __init__(self) -> None:
        import comfy.sd
        import folder_paths

        import nodes  # ComfyUI's

        from ..nodes.comfy.encoding import load_adapter
        from ..nodes.comfy.folders import ADAPTERS

        offline.make()
        random = {"checkpoint": "offline_sd15.safetensors", "adapter": "offline_faceid_plusv2_sd15.bin"}
        names = trained.make() if trained.present() else random
        folder_paths.add_model_folder_path(ADAPTERS, str(OFFLINE / "ipadapter"))
        path = OFFLINE / "checkpoints" / names["checkpoint"]
        loaded: tuple[Any, ...] = comfy.sd.load_checkpoint_guess_config(str(path))
        self.model, self.clip, self.vae = loaded[:3]
        self.adapter, comfyui = load_adapter(names["adapter"], "auto"), vars(nodes)
        self.sampler = comfyui["common_ksampler"]
        self.words = [self.clip.encode_from_tokens_scheduled(self.clip.tokenize(x)) for x in (PROMPT, NEGATIVE)]

    def draw(self, identity: Identity, weight: float, count: int, seed: int) -> Tensor:
        """Draws [count, 256, 256, 3] by Encode Identity and Apply Identity; the random adapter without structure."""
        from ..nodes.apply import ApplyIdentity
        from ..nodes.comfy.encoding import encode_identity

        encoded = encode_identity(self.adapter, identity, None)
        model = ApplyIdentity.execute(self.model, encoded, weight, 0.0, 1.0, 0.0, 1.0)[0]
        latent = {"samples": torch.zeros(count, 4, SIDE // 8, SIDE // 8)}
        guidance = trained.SUITS["face_consistency"]["guidance"]
        settings: tuple[Any, ...] = (seed, STEPS, guidance, "dpmpp_2m", "karras", *self.words, latent)
        return self.vae.decode(self.sampler(model, *settings)[0]["samples"])


def run(quick: bool) -> dict[str, float]:
    inprocess.prepare()
    with torch.inference_mode():
        photos = references(4 if quick else 16)
        judges = Judges()
        drawn, seconds = draw_all(photos, judges, 2 if quick else 4, (0.0, 1.0) if quick else (0.0, 0.5, 1.0))
        known = [judges(photo) for photo in photos]
    keep_sheet(photos, drawn)
    faces = sum(each.has_face for each in drawn) / len(drawn)
    figures = {"face_rate": faces, "seconds_per_picture": seconds / len(drawn), "trained": float(trained.present())}
    return told(drawn, {name: torch.stack([each[name] for each in known]) for name in JUDGES}) | figures


def references(count: int) -> list[Tensor]:
    """Returns the held-out people and the astronaut, [H, W, 3] in 0..1."""
    held_out = people.read([people.HELD_OUT]).only(range(count)).pictures().permute(0, 2, 3, 1).float() / 255
    return [*held_out, load_photo(str(PHOTO), PHOTO.name)[0][0, ..., :3]]


def draw_all(photos: list[Tensor], judges: Judges, count: int, weights: tuple[float, ...]) -> tuple[list[Drawn], float]:
    """Draws all pictures; returns them and the seconds."""
    models, drawn, seconds = Models(), [], 0.0
    for person, photo in enumerate(photos):
        identity = judges.identity(photo)
        for weight in weights:
            started = time.perf_counter()
            pictures = models.draw(identity, weight, count, seed=1000 * person)
            seconds += time.perf_counter() - started
            drawn += [Drawn(picture, person, weight, judges(picture)) for picture in pictures]
        print(f"  person {person + 1} of {len(photos)}", flush=True)
    return drawn, seconds


def told(drawn: list[Drawn], references: dict[str, Tensor]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for weight in {each.weight for each in drawn}:
        some, suffix = [each for each in drawn if each.weight == weight], "" if weight == 1 else f"_{weight:g}"
        for judge, known in references.items():
            alike = torch.stack([each.seen[judge] for each in some]) @ known.T
            person = torch.tensor([each.person for each in some])
            own = one_hot(person, len(known)).bool()
            name, rate = ("cosine", "nearest_rate_w600k") if judge == "w600k" else ("sface", "nearest_rate")
            figures[f"{name}_same{suffix}"] = alike[own].mean().item()
            figures[f"{name}_other{suffix}"] = alike[~own].mean().item()
            nearest = (alike.argmax(1) == person) & alike.any(1)
            figures[f"{rate}{suffix}"] = nearest.float().mean().item()
    return dict(sorted(figures.items()))


def keep_sheet(photos: list[Tensor], drawn: list[Drawn]) -> None:
    sheet.clear()
    for person, photo in enumerate(photos):
        first = interpolate(photo.movedim(-1, 0)[None], size=(SIDE, SIDE), mode="area")[0].movedim(0, -1)
        sheet.append(torch.cat([first, *(each.picture for each in drawn if each.person == person)], dim=1))


def plot(figures: dict[str, float], path: Path) -> None:
    from PIL import Image

    pixels = torch.cat(sheet).clamp(0, 1).mul(255).round().byte().numpy()
    Image.fromarray(pixels).reduce(2).save(path)

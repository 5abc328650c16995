"""Plans a refinement: its targets, crops and windows, and the targets to skip; reports it as text and as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import ImageDraw, ImageFont
from torch import Tensor

from ..boxes import Region
from ..faces.detection import turned_by
from ..image import to_picture
from .framing import clip, frame, window
from .paste import share
from .targets import Target

PREVIEW_SIDE = 1024
REFINED, LEFT, INK = (46, 204, 113), (230, 126, 34), (20, 20, 20)


@dataclass(frozen=True, eq=False)
class Plan:
    """`targets`, `regions` and `windows` have the same order; `left` holds the skipped targets with the reason."""

    pictures: int
    targets: tuple[Target, ...]
    regions: tuple[Region, ...]
    windows: tuple[Tensor, ...]  # [region's height, width]
    left: tuple[tuple[Target, str], ...]

    def report(self, side: int, crop_factor: float, identity: float) -> str:
        """Returns one line per target; `side` is the refined side of the crops, `identity` the weight or 0."""
        if not self.targets and not self.left:
            return "Nothing to refine was found: the picture passes unchanged."
        lines = []
        for number, (target, region) in enumerate(zip(self.targets, self.regions, strict=True), 1):
            line = f"Picture {target.picture + 1}, {_name(number, target)}: {target.size:.0f} pixels"
            line += f", refined at {target.size * side / region.width:.0f}"
            if region.width > side:
                line += f" (a target_face_size of {region.width / crop_factor:.0f} would keep its detail)"
            if target.quarters:
                line += f", {turned_by(target.turn)}, refined upright"
            if identity:
                line += f", identity {identity * target.frontal:.2f}"
            lines.append(f"{line}.")
        lines += [f"Picture {target.picture + 1}, a {target.kind}: left alone, {why}." for target, why in self.left]
        return "\n".join(lines)

    def preview(self, images: Tensor) -> Tensor:
        """Draws boxes, crops and the reasons for skipping on the pictures [B,H,W,C], reduced to 1024."""
        return torch.stack([self._drawn(image, picture) for picture, image in enumerate(images)])

    def _drawn(self, image: Tensor, picture: int) -> Tensor:
        drawn = to_picture(image)
        scale = min(1, PREVIEW_SIDE / max(drawn.size))
        drawn = drawn.resize((max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale))))
        draw = ImageDraw.Draw(drawn)
        for target, why in self.left:
            if target.picture == picture:
                _mark(draw, target, scale, LEFT, why)
        for number, (target, region) in enumerate(zip(self.targets, self.regions, strict=True), 1):
            if target.picture == picture:
                sides = (region.left, region.top, region.right - 1, region.bottom - 1)
                draw.rectangle([side * scale for side in sides], outline=REFINED)
                _mark(draw, target, scale, REFINED, _name(number, target))
        return torch.from_numpy(np.array(drawn).astype(np.float32) / 255)


def make_plan(targets: Sequence[Target], images: Tensor, crop_factor: float, feather: float, min_size: float) -> Plan:
    """Frames the targets of pictures [B,H,W,C]."""
    height, width = images.shape[1:3]
    kept, left = [], []
    for target in targets:
        box = clip(target.box, width, height)
        why = target.skipped(min_size) if box else "outside the picture"
        if why or box is None:
            left.append((target, why))
        else:
            kept.append(replace(target, box=box))
    regions = [frame(target, crop_factor, width, height) for target in kept]
    windows = [window(target, region, feather, width, height) for target, region in zip(kept, regions, strict=True)]
    shared = share(regions, windows, images.shape) if kept else []
    return Plan(len(images), tuple(kept), tuple(regions), tuple(shared), tuple(left))


def _name(number: int, target: Target) -> str:
    return f"{target.kind} {number}" + (f", {target.view.value}" if target.view else "")


def _mark(draw: ImageDraw.ImageDraw, target: Target, scale: float, colour: tuple[int, int, int], words: str) -> None:
    left, top, right, bottom = (side * scale for side in target.box)
    draw.rectangle((left, top, right, bottom), outline=colour, width=2)
    font = ImageFont.load_default(size=12)
    text = draw.textbbox((left, top), words, font=font)
    shift = text[3] - text[1] + 4
    draw.rectangle((text[0] - 1, text[1] - shift - 1, text[2] + 1, text[3] - shift + 1), fill=colour)
    draw.text((left, top - shift), words, fill=INK, font=font)

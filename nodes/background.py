"""Defines Load Background Remover and Remove Background."""

from pathlib import Path

import comfy.utils
import folder_paths
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..core.background.matting import parse_colour, replace_background
from ..core.background.remover import BackgroundRemover as Remover
from ..core.errors import ConsistentFaceError
from .comfy import folders
from .types import BackgroundRemover

CATEGORY = "consistent face/background"
STANDARD = "isnet-general-use.onnx"  # offered when missing too, so that the templates open


class LoadBackgroundRemover(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_LoadBackgroundRemover",
            display_name="Load Background Remover (rembg)",
            category=CATEGORY,
            description="Loads one of rembg's networks from models/rembg, which it recognizes by the file's name. "
            "Nothing is ever downloaded, and no picture leaves this machine.",
            search_aliases=["rembg", "u2net", "isnet", "birefnet", "matting model"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=sorted({*folder_paths.get_filename_list(folders.BACKGROUND), STANDARD}),
                    default=STANDARD,
                    tooltip="u2netp is small and quick, isnet-general-use is good, BiRefNet is best at hair but slow "
                    "without a GPU.",
                ),
            ],
            outputs=[BackgroundRemover.Output(display_name="background_remover")],
        )

    @classmethod
    def execute(cls, model: str) -> io.NodeOutput:
        return io.NodeOutput(Remover.load(Path(folders.find(folders.BACKGROUND, model))))

    @classmethod
    def validate_inputs(cls, model: str | None) -> bool | str:
        # A missing file is reported only when it is needed: most pictures keep their background.
        return True


class RemoveBackground(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_RemoveBackground",
            display_name="Remove Background (rembg)",
            category=CATEGORY,
            description="Cuts the foreground out and puts it on a transparent background (RGBA) or on a colour. It "
            "removes the old background's colours from hair and other soft edges.",
            search_aliases=["cut out", "transparent background", "background color", "matting", "alpha"],
            inputs=[
                io.Image.Input("image"),
                io.Boolean.Input(
                    "remove_background",
                    default=True,
                    tooltip="On and without bg_color: the result is transparent. Off and without bg_color: the "
                    "picture stays unchanged.",
                ),
                io.String.Input(
                    "bg_color",
                    default="",
                    dynamic_prompts=False,
                    placeholder="#FFFFFF",
                    tooltip="#RRGGBB or #RGB: puts the foreground on this colour, also when remove_background is off. "
                    "Empty: no colour.",
                ),
                BackgroundRemover.Input(
                    "background_remover",
                    optional=True,
                    lazy=True,
                    tooltip="Loaded only when there is something to remove.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Foreground mask of the picture, 1 = keep, as ComfyUI's own Remove Background gives; it "
                    "is used instead of the background remover.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="RGBA when transparent: saved as PNG with its alpha."),
                io.Mask.Output(display_name="mask", tooltip="1 where the foreground is."),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        remove_background: bool,
        bg_color: str,
        background_remover: Remover | None = None,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        if not _asked(image, remove_background, bg_color):
            return io.NodeOutput(image, torch.ones(image.shape[:3]), "", ui=ui.PreviewText(""))
        if mask is None:
            mask = _found(image, background_remover)
        replaced, kept, report = replace_background(image, mask, parse_colour(bg_color))
        return io.NodeOutput(replaced, kept, report, ui=ui.PreviewText(report))

    @classmethod
    def check_lazy_status(
        cls,
        image: Tensor,
        remove_background: bool,
        bg_color: str,
        mask: Tensor | None = None,
        **connected: Remover | None,
    ) -> list[str]:
        """Requests the connected model only if a background is to be removed."""
        needed = mask is None and _asked(image, remove_background, bg_color)
        return list(connected) if needed else []

    @classmethod
    def validate_inputs(cls, bg_color: str | None) -> bool | str:
        try:
            parse_colour(bg_color)
        except ConsistentFaceError as error:
            return str(error)
        return True


def _asked(image: Tensor, remove_background: bool, bg_color: str) -> bool:
    return len(image) > 0 and (remove_background or parse_colour(bg_color) is not None)


def _found(image: Tensor, remover: Remover | None) -> Tensor:
    if remover is None:
        raise ConsistentFaceError(
            "Remove Background has neither a background remover nor a mask; connect Load Background Remover, "
            "or a foreground mask."
        )
    return remover.masks(image, comfy.utils.ProgressBar(len(image)).update)


NODES = [LoadBackgroundRemover, RemoveBackground]

"""Defines Draw Pose Sheet and Draw Key Points."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..core.openpose.body import Build
from ..core.openpose.presets import MAX_FIGURES, Preset, draw_preset
from ..core.openpose.sheet import MULTIPLE, PoseSheet, from_people, from_picture
from ..core.openpose.skeleton import Lines
from . import types

CATEGORY = "consistent face/pose"
MAX_SIDE = 4096
PoseKeypoint = io.Custom("POSE_KEYPOINT")  # ComfyUI's own: a list of OpenPose frames


def _size(id: str, tooltip: str) -> io.Int.Input:
    return io.Int.Input(id, default=1024, min=MULTIPLE, max=MAX_SIDE, step=MULTIPLE, tooltip=tooltip)


def _lines() -> io.Combo.Input:
    return io.Combo.Input(
        "lines",
        options=Lines,
        default=Lines.openpose,
        tooltip="openpose: lines of 4 pixels, for the SD1.5 ControlNets and most SDXL ones; xinsir: lines that grow "
        "with the picture, for xinsir's SDXL ControlNets.",
    )


def _outputs() -> list[io.Output]:
    return [
        types.PoseSheet.Output(display_name="pose_sheet", tooltip="Picture, figures and heads, for Refine Faces."),
        io.Image.Output(display_name="image", tooltip="For a pose ControlNet, at the latent's size."),
        io.Int.Output(display_name="width"),
        io.Int.Output(display_name="height"),
        PoseKeypoint.Output(display_name="keypoints"),
        io.BoundingBox.Output(display_name="head_boxes", tooltip="One box per head; its label is the view."),
    ]


def _answer(sheet: PoseSheet) -> io.NodeOutput:
    return io.NodeOutput(sheet, sheet.picture, sheet.width, sheet.height, sheet.keypoints, sheet.head_boxes)


class DrawPoseSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_DrawPoseSheet",
            display_name="Draw Pose Sheet (OpenPose)",
            category=CATEGORY,
            description="Draws several figures of one character for a pose ControlNet, and outputs where their heads "
            "are and how they are turned. It can also use an OpenPose drawing of your own.",
            search_aliases=["character sheet", "turnaround", "openpose", "skeleton", "controlnet pose", "poses"],
            inputs=[
                io.Combo.Input(
                    "preset",
                    options=Preset,
                    default=Preset.turnaround,
                    tooltip="turnaround: front, three-quarter, side, back; heads: close-ups; actions: waving, walking, "
                    "sitting, ...; full sheet: a row of each.",
                ),
                _size(
                    "width", "With an image connected, only width times height counts: the aspect ratio is the image's."
                ),
                _size("height", "Use the outputs width and height for the latent, so that nothing is cropped."),
                _lines(),
                io.Int.Input(
                    "figures",
                    default=0,
                    min=0,
                    max=MAX_FIGURES,
                    tooltip="How many figures; on the full sheet, how many of each kind. 0: the preset's own number.",
                ),
                io.Int.Input(
                    "figures_per_row",
                    default=0,
                    min=0,
                    max=MAX_FIGURES,
                    tooltip="0: the number that makes the figures largest.",
                ),
                io.Float.Input(
                    "heads_tall",
                    default=7.5,
                    min=2.5,
                    max=9,
                    step=0.1,
                    tooltip="The body's height in heads: a grown body 7.5, a child 5.5, a chibi 3, a hero 8.5.",
                ),
                io.Float.Input("shoulder_width", default=1, min=0.6, max=1.5, step=0.05, advanced=True),
                io.Float.Input(
                    "leg_length",
                    default=1,
                    min=0.7,
                    max=1.2,
                    step=0.05,
                    advanced=True,
                    tooltip="The body's height stays the same: with longer legs the trunk is shorter.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="An OpenPose drawing to use, unchanged, instead of the preset. With 'none' in Load Photo "
                    "the preset is used.",
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls,
        preset: str,
        width: int,
        height: int,
        lines: str,
        figures: int,
        figures_per_row: int,
        heads_tall: float,
        shoulder_width: float,
        leg_length: float,
        image: Tensor | None = None,
    ) -> io.NodeOutput:
        if image is not None and len(image):
            return _answer(from_picture(image, width * height))
        build = Build(heads_tall, shoulder_width, leg_length)
        return _answer(draw_preset(Preset(preset), width, height, Lines(lines), figures, figures_per_row, build))


class DrawKeyPoints(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_DrawKeyPoints",
            display_name="Draw Key Points (OpenPose)",
            category=CATEGORY,
            description="Draws the key points of a pose detector or editor in the colours and widths that pose "
            "ControlNets were trained on, as a pose sheet.",
            search_aliases=["openpose", "dwpose", "sdpose", "draw keypoints", "skeleton", "POSE_KEYPOINT"],
            inputs=[
                PoseKeypoint.Input("keypoints", tooltip="Only the first frame is used; hands and faces are drawn too."),
                _size("width", "Only width times height counts: the aspect ratio is that of the key points."),
                _size("height", "Use the outputs width and height for the latent, so that nothing is cropped."),
                _lines(),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, keypoints: list[dict[str, Any]], width: int, height: int, lines: str) -> io.NodeOutput:
        return _answer(from_people(keypoints, width * height, Lines(lines)))


NODES = [DrawPoseSheet, DrawKeyPoints]

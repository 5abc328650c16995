"""Defines Mask Faces."""

from typing import Any

from comfy_api.latest import io

from ..core.faces.detection import Faces as Found
from ..core.faces.masks import mask_faces
from .types import Faces

CATEGORY = "consistent face/faces"


class MaskFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_MaskFaces",
            display_name="Mask Faces",
            category=CATEGORY,
            description="Makes a mask for each face or box, for several identities in one picture: the first mask is "
            "the place of the first identity.",
            search_aliases=["face mask", "regional identity", "mask from box", "bounding box to mask", "couple"],
            inputs=[
                Faces.Input(
                    "faces",
                    optional=True,
                    tooltip="The chosen faces of one picture, from left to right. The picture is a photo with the "
                    "layout that you want, or a first result of the same prompt.",
                ),
                io.BoundingBox.Input(
                    "boxes",
                    optional=True,
                    force_input=True,
                    tooltip="ComfyUI's bounding boxes, in their order. When both inputs are connected, the boxes "
                    "follow the faces.",
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Width of the picture that the boxes refer to. 0: the width of the picture that the faces "
                    "are from.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Height of the picture that the boxes "
                    "refer to. 0: the height of the picture that the faces are from.",
                ),
                io.Float.Input(
                    "grow",
                    default=0.5,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="How far a mask extends beyond its box on each side, as a share of the box's size: 0.5 "
                    "includes hair and chin.",
                ),
                io.Float.Input(
                    "feather",
                    default=0.25,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="Width of the soft edge, as a share of the box's size.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="masks",
                    tooltip="One per face or box. Where two masks overlap, their sum is at most 1.",
                ),
                io.Int.Output(display_name="count"),
            ],
        )

    @classmethod
    def execute(
        cls, width: int, height: int, grow: float, feather: float, faces: Found | None = None, boxes: Any = None
    ) -> io.NodeOutput:
        masks = mask_faces(faces, boxes, (width, height), grow, feather)
        return io.NodeOutput(masks, len(masks))


NODES = [MaskFaces]

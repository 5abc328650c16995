"""Defines Refine Faces."""

from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..core.detail.framing import refined_side
from ..core.detail.plan import make_plan
from ..core.detail.targets import Target, from_boxes, from_faces, from_mask, from_sheet, unite
from ..core.errors import IdentityError
from ..core.faces.analysis import FaceAnalyzer
from ..core.faces.previews import before_and_after
from ..core.ip_adapter.attention import Scope
from ..core.ip_adapter.block_weights import Strength
from ..core.ip_adapter.encoding import EncodedIdentity
from ..core.openpose.sheet import PoseSheet
from . import types
from .comfy import stage
from .comfy.injection import inject
from .comfy.refining import refine_targets
from .comfy.sampling import Models

CATEGORY = "consistent face/refine"


class RefineFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_RefineFaces",
            display_name="Refine Faces",
            category=CATEGORY,
            description="Redraws all faces of a picture at the size that the model draws best, in one batch, and "
            "pastes them back without a seam. Nothing else in the picture changes.",
            search_aliases=["face detailer", "adetailer", "facedetailer", "fix faces", "inpaint faces", "face restore"],
            inputs=[
                io.Image.Input("image"),
                *stage.model_inputs(),
                *stage.sampler_inputs(denoise=0.4),
                *_framing_inputs(),
                *stage.call_inputs(),
                *_target_inputs(),
                *_identity_inputs(),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                io.Image.Output(display_name="preview", tooltip="Green: refined; orange: skipped, with the reason."),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, **inputs: Any) -> io.NodeOutput:
        if not len(image):
            return io.NodeOutput(image, image, "No picture.")
        height, width = image.shape[1:3]
        sheet: PoseSheet | None = inputs.get("pose_sheet")
        canvas = (sheet.width, sheet.height) if sheet else (width, height)
        plan = make_plan(_targets(image, **inputs), image, inputs["crop_factor"], inputs["feather"], inputs["min_size"])
        models, weight = _models(**inputs)
        side = refined_side(inputs["target_face_size"], inputs["crop_factor"])
        refined = refine_targets(image, plan, models, stage.settings(inputs, inputs["cycles"]), side, canvas)
        report = plan.report(side, inputs["crop_factor"], weight)
        if inputs["denoise"] == 0:
            report = "Nothing was redrawn: denoise is 0."
        shown = {"before_after": before_and_after(image, refined, plan.regions)}
        return io.NodeOutput(refined, plan.preview(image), report, ui=shown)


def _framing_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "target_face_size",
            default=384,
            min=64,
            max=2048,
            step=16,
            tooltip="The longer side of a face, in pixels, while it is redrawn. With crop_factor 2: 256 suits SD1.5, "
            "512 suits SDXL best, 384 is faster.",
        ),
        io.Float.Input(
            "crop_factor",
            default=2.0,
            min=1.2,
            max=6.0,
            step=0.1,
            tooltip="How much of the surroundings the model sees: the crop's side, in face sizes. Crops are sampled "
            "at target_face_size times this value, so a higher value takes more time.",
        ),
        io.Float.Input(
            "feather",
            default=0.25,
            min=0.0,
            max=1.0,
            step=0.05,
            tooltip="Width of the soft edge around a face, as a share of its size.",
        ),
        io.Int.Input(
            "min_size",
            default=16,
            min=1,
            max=1024,
            tooltip="Faces smaller than this, in pixels, are skipped: they hold too little detail to refine.",
        ),
        io.Int.Input("cycles", default=1, min=1, max=10, tooltip="How many times the crops are sampled in a row."),
    ]


def _target_inputs() -> list[io.Input]:
    return [
        types.FaceAnalysis.Input("face_analysis", optional=True, tooltip="Finds the faces in the picture."),
        io.Float.Input(
            "detection_threshold",
            default=0.5,
            min=0.05,
            max=0.95,
            step=0.05,
            advanced=True,
            tooltip="Smallest detection score of a face; a lower threshold finds more faces in drawings.",
        ),
        types.PoseSheet.Input(
            "pose_sheet",
            optional=True,
            tooltip="The sheet that the picture was made with: its heads are refined where no face is detected, and "
            "heads seen from the back are skipped. The picture may be an enlarged one.",
        ),
        io.BoundingBox.Input(
            "boxes", optional=True, force_input=True, tooltip="More regions, in pixels of this picture."
        ),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="More regions: each connected area of the mask is one region, and keeps its shape.",
        ),
    ]


def _identity_inputs() -> list[io.Input]:
    return [
        types.EncodedIdentity.Input(
            "encoded_identity",
            optional=True,
            tooltip="Gives every face this identity. In this case connect the model without Apply Identity.",
        ),
        io.Float.Input(
            "identity_weight",
            default=1.0,
            min=0.0,
            max=3.0,
            step=0.05,
            tooltip="Weight of the identity on a face seen from the front; turned faces get less. 0: no identity at "
            "all.",
        ),
        io.Float.Input(
            "identity_structure",
            default=1.0,
            min=0.0,
            max=2.0,
            step=0.05,
            tooltip="The same as structure in Apply Identity. Set it to 0 if the identity was encoded without CLIP "
            "vision.",
        ),
    ]


def _targets(
    image: Tensor,
    detection_threshold: float,
    face_analysis: FaceAnalyzer | None = None,
    pose_sheet: PoseSheet | None = None,
    boxes: Any = None,
    mask: Tensor | None = None,
    **_: Any,
) -> list[Target]:
    pictures, height, width = image.shape[:3]
    faces = from_faces(face_analysis.analyze(image, detection_threshold)) if face_analysis else []
    others = from_sheet(pose_sheet, pictures, width, height) if pose_sheet else []
    others += from_boxes(boxes, pictures) if boxes is not None else []
    others += from_mask(mask, pictures, width, height) if mask is not None else []
    return unite(faces, others)


def _models(
    model: ModelPatcher,
    vae: Any,
    positive: Any,
    negative: Any,
    identity_weight: float,
    identity_structure: float,
    encoded_identity: EncodedIdentity | None = None,
    **_: Any,
) -> tuple[Models, float]:
    """Returns the models with the identity, and its weight; at weight 0 the models stay without identity and LoRA."""
    if encoded_identity is None or encoded_identity.is_empty or identity_weight == 0:
        return Models(model, vae, positive, negative), 0.0
    if encoded_identity.people > 1:
        raise IdentityError(
            f"The identity holds {encoded_identity.people} people, and it is unknown which face is whose; connect one "
            f"person, and choose the faces with boxes or a mask."
        )
    scope = Scope()
    patched = inject(model, encoded_identity, Strength(identity_weight, identity_structure), scope)
    return Models(patched, vae, positive, negative, scope), identity_weight


NODES = [RefineFaces]

"""Defines Apply Identity, which adds an encoded identity to a model."""

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..core.ip_adapter.block_weights import Curve, Scaling, Strength
from ..core.ip_adapter.encoding import EncodedIdentity as Encoded
from .comfy.injection import inject, scope
from .types import EncodedIdentity

CATEGORY = "consistent face/faceid"


class ApplyIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_ApplyIdentity",
            display_name="Apply Identity (IP-Adapter)",
            category=CATEGORY,
            description="Adds the face of an identity to all cross-attention layers of the model; an empty identity "
            "leaves the model unchanged. You can connect several of these nodes in a row, each with its own mask.",
            search_aliases=["ipadapter faceid", "ip-adapter", "same face", "face consistency", "consistent character"],
            inputs=[
                io.Model.Input("model"),
                EncodedIdentity.Input("encoded_identity"),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    tooltip="How strongly the face acts, relative to the prompt: 0 not at all, 1 as trained.",
                ),
                io.Float.Input(
                    "structure",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How closely the shape of the face in the photo is kept (s_scale): 0 uses the identity "
                    "alone, 1 is as trained. Plus v2 only; other adapters ignore it.",
                ),
                io.Float.Input(
                    "lora_strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Strength of the LoRA in the adapter's file: 1 as trained; a lower value keeps more of "
                    "the checkpoint's style. If several Apply Identity nodes use one adapter, only the first adds its "
                    "LoRA.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The point of sampling, 0 to 1, from which the face acts; a later start keeps more of the "
                    "prompt's composition.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The point of sampling, 0 to 1, after which the face no longer acts.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where in the picture the face acts: 1 fully, 0 not at all. The mask may have any size; "
                    "connect one for all pictures of the batch, or one per picture.",
                ),
                io.Combo.Input(
                    "curve",
                    options=Curve,
                    default=Curve.flat,
                    optional=True,
                    advanced=True,
                    tooltip="How the weight changes along the UNet, from the first block to the last: flat, rising, "
                    "falling, or with a peak or a valley at the middle block.",
                ),
                io.String.Input(
                    "block_weights",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Exceptions to the curve, such as '1-4: 0.5, 7: 0'. Blocks are counted along the UNet: "
                    "SD1.5 has 16 (the middle one is 7), SDXL has 11 (the middle one is 5). Each value is multiplied "
                    "by weight.",
                ),
                io.Combo.Input(
                    "scaling",
                    options=Scaling,
                    default=Scaling.values,
                    optional=True,
                    advanced=True,
                    tooltip="What the weight scales. values: how strongly the face acts. keys and values: also how "
                    "selective the attention to the face is: less at a low weight, more at a high one.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        encoded_identity: Encoded,
        weight: float,
        structure: float,
        lora_strength: float,
        start_percent: float,
        end_percent: float,
        mask: Tensor | None = None,
        curve: str = Curve.flat.value,
        block_weights: str = "",
        scaling: str = Scaling.values.value,
    ) -> io.NodeOutput:
        if encoded_identity.is_empty:
            return io.NodeOutput(model)
        strength = Strength(weight, structure, lora_strength, Curve(curve), block_weights, Scaling(scaling))
        where = scope(start_percent, end_percent, mask)
        return io.NodeOutput(inject(model, encoded_identity, strength, where))


NODES = [ApplyIdentity]

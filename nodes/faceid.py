"""Identity into a model by IP-Adapter FaceID: Load Adapter, Encode Identity, Apply Identity."""

import folder_paths
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..core.catalog import missing
from ..core.faceid import Adapter as AdapterFile
from ..core.faceid import EncodedIdentity as Encoded
from ..core.identity import Identity as Person
from ..core.variants import AUTO, SETTINGS
from .encoding import encode_identity, load_adapter
from .folders import ADAPTERS
from .injection import inject, scope
from .types import Adapter, EncodedIdentity, Identity

CATEGORY = "consistent face/faceid"


class LoadAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_LoadAdapter",
            display_name="Load Adapter (IP-Adapter)",
            category=CATEGORY,
            description="Loads a FaceID, FaceID Plus or FaceID Plus v2 adapter for SD1.5 or SDXL, recognised by its "
            "tensors; the LoRA that belongs to it is in the same file.",
            search_aliases=["ip-adapter", "ipadapter", "faceid", "face id loader", "plusv2"],
            inputs=[
                io.Combo.Input(
                    "adapter",
                    options=folder_paths.get_filename_list(ADAPTERS),
                    tooltip="A file of models/ipadapter, such as ip-adapter-faceid-plusv2_sdxl.bin. It must be of the "
                    "checkpoint's family.",
                ),
                io.Combo.Input(
                    "variant",
                    options=list(SETTINGS),
                    default=AUTO,
                    advanced=True,
                    tooltip="FaceID Plus and Plus v2 for SD1.5 have the same tensors: 'auto' tells them apart by the "
                    "published file's sha256, then by the file's name. Set it for a file that is neither.",
                ),
            ],
            outputs=[Adapter.Output(display_name="adapter")],
        )

    @classmethod
    def execute(cls, adapter: str, variant: str) -> io.NodeOutput:
        return io.NodeOutput(load_adapter(adapter, variant))

    @classmethod
    def validate_inputs(cls, adapter: str | None) -> bool | str:
        found = adapter is None or folder_paths.get_full_path(ADAPTERS, adapter)
        return True if found else missing(str(adapter), ADAPTERS)


class EncodeIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_EncodeIdentity",
            display_name="Encode Identity (IP-Adapter)",
            category=CATEGORY,
            description="Turns an identity into what the model's layers read, once: changing the weights in Apply "
            "Identity does not run this again. An empty identity stays empty.",
            search_aliases=["ip-adapter encode", "faceid embeds", "identity embedding"],
            inputs=[
                Adapter.Input("adapter"),
                Identity.Input("identity"),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="CLIP-ViT-H-14-laion2B-s32B-b79K, for the Plus adapters. FaceID does not use it, and "
                    "Plus v2 without it has the identity but no structure.",
                ),
            ],
            outputs=[EncodedIdentity.Output(display_name="encoded identity")],
        )

    @classmethod
    def execute(
        cls, adapter: AdapterFile, identity: Person, clip_vision: ClipVisionModel | None = None
    ) -> io.NodeOutput:
        return io.NodeOutput(encode_identity(adapter, identity, clip_vision))


class ApplyIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_ApplyIdentity",
            display_name="Apply Identity (IP-Adapter)",
            category=CATEGORY,
            description="Gives the model the face of an identity, in all its cross-attention layers; an empty identity "
            "returns the model unchanged. Several can follow each other, each with its own mask.",
            search_aliases=["ip-adapter apply", "ipadapter faceid", "apply face", "face consistency"],
            inputs=[
                io.Model.Input("model"),
                EncodedIdentity.Input("encoded_identity"),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    tooltip="How strongly the face acts beside the prompt: 0 not at all, 1 as trained.",
                ),
                io.Float.Input(
                    "structure",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How closely the shape of the face in the photo is kept (s_scale): 0 the identity alone, "
                    "1 as trained. Plus v2 only; other adapters ignore it.",
                ),
                io.Float.Input(
                    "lora_strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Strength of the LoRA in the adapter's file: 1 as trained; less leaves the checkpoint's "
                    "style freer.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The part of sampling, 0 to 1, at which the face begins to act; later keeps the prompt's "
                    "composition.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The part of sampling, 0 to 1, after which it no longer acts.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where in the picture the face acts: 1 fully, 0 not at all. Of any size; one mask for all "
                    "pictures of the batch, or one each.",
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
    ) -> io.NodeOutput:
        if encoded_identity.is_empty:
            return io.NodeOutput(model)
        where = scope(model, start_percent, end_percent, mask)
        return io.NodeOutput(inject(model, encoded_identity, weight, structure, lora_strength, where))


NODES = [LoadAdapter, EncodeIdentity, ApplyIdentity]

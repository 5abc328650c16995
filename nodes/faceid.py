"""Defines Load Adapter, Encode Identity and Combine Identities."""

from enum import Enum

import folder_paths
from comfy.clip_vision import ClipVisionModel
from comfy_api.latest import io, ui

from ..core.identity.build import Identity as Person
from ..core.ip_adapter.checkpoint import Adapter as AdapterFile
from ..core.ip_adapter.checkpoint import describe_recognizer, trained_with
from ..core.ip_adapter.encoding import EncodedIdentity as Encoded
from ..core.ip_adapter.encoding import combine
from ..core.ip_adapter.variants import AUTO, SETTINGS
from ..core.model_catalog import missing
from .comfy.encoding import encode_identity, load_adapter
from .comfy.folders import ADAPTERS
from .types import Adapter, EncodedIdentity, Identity

CATEGORY = "consistent face/faceid"


class Arrangement(Enum):
    one_for_each_picture = "one for each picture"
    all_in_each_picture = "all in each picture"


class LoadAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_LoadAdapter",
            display_name="Load Adapter (IP-Adapter)",
            category=CATEGORY,
            description="Loads a face adapter for SD1.5 or SDXL, recognized by its tensors: FaceID, its Plus and "
            "Portrait variants, Plus Face, Full Face. The LoRA that belongs to FaceID is in the same file.",
            search_aliases=["ip-adapter", "ipadapter", "faceid", "face id loader", "plusv2", "portrait", "plus-face"],
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
                    "published file's sha256, then by the file's name. Set it for a file that has neither.",
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
            description="Encodes an identity into keys and values for the model's layers. Changing the weights in "
            "Apply Identity does not run this node again. An empty identity stays empty.",
            search_aliases=["ip-adapter encode", "faceid embeds", "identity embedding"],
            inputs=[
                Adapter.Input("adapter", lazy=True),
                Identity.Input("identity"),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    lazy=True,
                    tooltip="CLIP-ViT-H-14-laion2B-s32B-b79K, for the Plus and Full Face adapters. FaceID and "
                    "Portrait do not use it. Without it Plus v2 encodes the identity but no structure.",
                ),
            ],
            outputs=[
                EncodedIdentity.Output(display_name="encoded identity"),
                io.String.Output(display_name="report", tooltip="The recognizer that the adapter was trained with."),
            ],
        )

    @classmethod
    def execute(
        cls, adapter: AdapterFile | None, identity: Person, clip_vision: ClipVisionModel | None = None
    ) -> io.NodeOutput:
        if adapter is None:  # not requested for an empty identity
            return io.NodeOutput(Encoded(), "The identity is empty: nothing was encoded.")
        encoded = encode_identity(adapter, identity, clip_vision)
        report = describe_recognizer(adapter)
        if adapter.embedding is None or trained_with(adapter) is not None:
            return io.NodeOutput(encoded, report)
        return io.NodeOutput(encoded, report, ui=ui.PreviewText(report))

    @classmethod
    def check_lazy_status(
        cls, identity: Person, adapter: AdapterFile | None, **connected: ClipVisionModel | None
    ) -> list[str]:
        """Requests no model for an empty identity, and CLIP vision only if it is connected and the adapter reads it."""
        if identity.is_empty:
            return []
        if adapter is None:
            return ["adapter"]
        return list(connected) if adapter.sight is not None else []


class CombineIdentities(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_CombineIdentities",
            display_name="Combine Identities (IP-Adapter)",
            category=CATEGORY,
            description="Combines several people into one encoded identity: one person per picture of a batch, or all "
            "people in every picture, each inside their own mask.",
            search_aliases=["several people", "multiple faces", "batch identities", "couple", "group"],
            inputs=[
                io.Autogrow.Input(
                    "encoded_identities",
                    template=io.Autogrow.TemplatePrefix(
                        EncodedIdentity.Input("encoded_identity"), prefix="encoded_identity", min=1, max=16
                    ),
                    tooltip="All must be encoded with the same adapter. An empty identity adds no face to its "
                    "pictures or its mask, but the LoRA of a FaceID adapter still acts there.",
                ),
                io.Combo.Input(
                    "arrangement",
                    options=Arrangement,
                    default=Arrangement.one_for_each_picture,
                    tooltip="one for each picture: picture 1 of the batch shows identity 1, and so on; after the last "
                    "identity it starts again. all in each picture: Apply Identity then needs one mask per identity, "
                    "for example from Mask Faces.",
                ),
            ],
            outputs=[EncodedIdentity.Output(display_name="encoded identity")],
        )

    @classmethod
    def execute(cls, encoded_identities: io.Autogrow.Type, arrangement: str) -> io.NodeOutput:
        together = Arrangement(arrangement) is Arrangement.all_in_each_picture
        return io.NodeOutput(combine(list(encoded_identities.values()), together))


NODES = [LoadAdapter, EncodeIdentity, CombineIdentities]

"""Defines Build Identity, Save Identity, Load Identity and Identity from Crops."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui
from torch import Tensor

from ..core.identity.build import Identity as Person
from ..core.identity.build import Strangers, build_identity, describe, from_crops
from ..core.identity.recognizers import SAME_PERSON
from ..core.identity.report import draw_report
from .comfy.folders import IDENTITIES, stamp
from .comfy.storage import load_identity, save_identity
from .types import Faces, Identity

CATEGORY = "consistent face/faces"


class BuildIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_BuildIdentity",
            display_name="Build Identity",
            category=CATEGORY,
            description="Makes one person's identity from the chosen faces of one or more photos; larger, sharper and "
            "more frontal faces count more, and the faces of other people are left out.",
            search_aliases=["identity", "face embedding", "average faces", "merge faces", "faceid", "outliers"],
            inputs=[
                io.Autogrow.Input(
                    "faces",
                    template=io.Autogrow.TemplatePrefix(Faces.Input("faces"), prefix="faces", min=1, max=16),
                    tooltip="Connect one Analyze Faces per photo of the person, or one for a batch of photos.",
                ),
                io.Combo.Input(
                    "strangers",
                    options=Strangers,
                    default=Strangers.drop,
                    optional=True,
                    tooltip="drop: leaves out the faces of other people, and faces that are much less similar than "
                    "the rest; the person is the one in most photos. keep: mixes all faces into one identity.",
                ),
                io.Float.Input(
                    "same_person",
                    default=SAME_PERSON,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="A face below this similarity counts as a stranger. 0.4 suits InsightFace's recognizers.",
                    advanced=True,
                ),
            ],
            outputs=[
                Identity.Output(display_name="identity"),
                io.String.Output(display_name="report"),
                io.Image.Output(display_name="report picture", tooltip="Each face, kept or dropped, and why."),
            ],
        )

    @classmethod
    def execute(
        cls, faces: io.Autogrow.Type, strangers: str = Strangers.drop.value, same_person: float = SAME_PERSON
    ) -> io.NodeOutput:
        identity, findings = build_identity(list(faces.values()), Strangers(strangers), same_person)
        report = describe(identity, findings)
        return io.NodeOutput(identity, report, draw_report(findings), ui=ui.PreviewText(report))


class SaveIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_SaveIdentity",
            display_name="Save Identity",
            category=CATEGORY,
            description="Saves an identity as a file in models/identities: the face embeddings and the aligned crops, "
            "without the photos. With Load Identity it gives the same pictures on any machine.",
            search_aliases=["save face", "save embeds", "face model", "export identity"],
            is_output_node=True,
            inputs=[
                Identity.Input("identity"),
                io.String.Input(
                    "name",
                    default="person",
                    tooltip="The file's name without ending; 'family/anna' puts it into a folder.",
                ),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Off: a name that another identity already has is refused.",
                ),
            ],
            outputs=[io.String.Output(display_name="file", tooltip="As Load Identity lists it.")],
        )

    @classmethod
    def execute(cls, identity: Person, name: str, overwrite: bool) -> io.NodeOutput:
        file = save_identity(identity, name, overwrite)
        return io.NodeOutput(file, ui=ui.PreviewText(f"Saved as {file}."))


class LoadIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_LoadIdentity",
            display_name="Load Identity",
            category=CATEGORY,
            description="Loads an identity that Save Identity saved in models/identities; it needs neither photos nor "
            "face analysis.",
            search_aliases=["load face", "load embeds", "face model", "import identity"],
            inputs=[
                io.Combo.Input(
                    "identity",
                    options=folder_paths.get_filename_list(IDENTITIES),
                    tooltip="A file of models/identities. It fits adapters trained with the recognizer that made it.",
                ),
            ],
            outputs=[Identity.Output(display_name="identity"), io.String.Output(display_name="report")],
        )

    @classmethod
    def execute(cls, identity: str) -> io.NodeOutput:
        person, report = load_identity(identity)
        return io.NodeOutput(person, report, ui=ui.PreviewText(report))

    @classmethod
    def validate_inputs(cls, identity: str | None) -> bool | str:
        found = identity is None or folder_paths.get_full_path(IDENTITIES, identity)
        return (
            True if found else f"The identity {identity!r} was not found in models/{IDENTITIES}: save it there first."
        )

    @classmethod
    def fingerprint_inputs(cls, identity: str) -> tuple[tuple[int, int], ...] | None:
        """Changes with the file, so that it is loaded again after a change."""
        path = folder_paths.get_full_path(IDENTITIES, identity)
        return stamp(Path(path)) if path else None


class IdentityFromCrops(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_IdentityFromCrops",
            display_name="Identity from Crops",
            category=CATEGORY,
            description="Makes an identity of pictures that show one face each, without InsightFace: for the adapters "
            "Plus Face and Full Face, which may be used commercially.",
            search_aliases=["plus face", "full face", "without insightface", "face crop", "commercial"],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="Crops of the person's face, seen from the front and filling most of the picture. The "
                    "middle square is used.",
                ),
            ],
            outputs=[Identity.Output(display_name="identity")],
        )

    @classmethod
    def execute(cls, image: Tensor) -> io.NodeOutput:
        return io.NodeOutput(from_crops(image))


NODES = [BuildIdentity, SaveIdentity, LoadIdentity, IdentityFromCrops]

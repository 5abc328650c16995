"""Defines Load Face Analysis and Analyze Faces."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io
from torch import Tensor

from ..core import model_catalog
from ..core.errors import ModelMissingError
from ..core.faces.analysis import FaceAnalyzer
from ..core.faces.detection import Choice, Faces, Select, WithoutFace, choose_faces
from ..core.faces.model_pack import Provider
from ..core.faces.overlay import draw_overlay
from ..core.faces.previews import found_faces
from . import types
from .comfy import folders

CATEGORY = "consistent face/faces"
PACKS = f"{folders.INSIGHTFACE}/models"
STANDARD_PACK = "buffalo_l"  # offered when missing too, so that the templates open


def _packs() -> dict[str, Path]:
    """The InsightFace packs by name: folders with ONNX files under `models` of each InsightFace folder."""
    roots = [Path(folder, "models") for folder in folder_paths.get_folder_paths(folders.INSIGHTFACE)]
    files = [file for root in reversed(roots) for file in root.glob("*/*.onnx")]
    return {file.parent.name: file.parent for file in files}


class LoadFaceAnalysis(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_LoadFaceAnalysis",
            display_name="Load Face Analysis (InsightFace)",
            category=CATEGORY,
            description="Loads the detector and the recognizer of an InsightFace pack from models/insightface/models. "
            "FaceID adapters were trained with buffalo_l. Nothing is ever downloaded.",
            search_aliases=["insightface", "buffalo_l", "face detector", "face recognition", "arcface"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=sorted({*_packs(), STANDARD_PACK}),
                    default=STANDARD_PACK,
                    tooltip="The pack's folder. Identities of different recognizers cannot be mixed.",
                ),
                io.Combo.Input(
                    "provider",
                    options=Provider,
                    default=Provider.auto,
                    tooltip="Where the models run: auto uses CUDA if onnxruntime supports it.",
                    advanced=True,
                ),
            ],
            outputs=[types.FaceAnalysis.Output(display_name="face_analysis")],
        )

    @classmethod
    def execute(cls, model: str, provider: str) -> io.NodeOutput:
        folder = _packs().get(model)
        if folder is None:
            raise ModelMissingError(model_catalog.missing(model, PACKS))
        return io.NodeOutput(FaceAnalyzer(folder, Provider(provider)))

    @classmethod
    def validate_inputs(cls, model: str | None) -> bool | str:
        return True if model is None or model in _packs() else model_catalog.missing(model, PACKS)


class AnalyzeFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_AnalyzeFaces",
            display_name="Analyze Faces (InsightFace)",
            category=CATEGORY,
            description="Finds the faces of each picture, chooses the ones to use, and draws all of them on an "
            "overlay.",
            search_aliases=["detect faces", "face picker", "choose face", "face index", "face embedding"],
            is_output_node=True,  # the face picker runs it alone, before there is anything to make
            inputs=[
                types.FaceAnalysis.Input("face_analysis"),
                io.Image.Input("image"),
                io.Combo.Input(
                    "select",
                    options=Select,
                    default=Select.largest,
                    tooltip="Which faces of each picture to use: the largest, the first from the left, the numbers in "
                    "index, or all.",
                ),
                io.String.Input(
                    "index",
                    default="1",
                    tooltip="For select = index: the numbers drawn on the overlay, such as '1, 3'. Faces are numbered "
                    "from the left.",
                ),
                io.Int.Input(
                    "min_size",
                    default=64,
                    min=0,
                    max=2048,
                    tooltip="Faces whose shorter side has fewer pixels are not used: very small faces do not identify "
                    "a person.",
                ),
                io.Float.Input(
                    "detection_threshold",
                    default=0.5,
                    min=0.05,
                    max=0.95,
                    step=0.05,
                    tooltip="Smallest detection score of a face. A lower threshold finds faces in poor pictures, but "
                    "also takes other things for faces.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "without_face",
                    options=WithoutFace,
                    default=WithoutFace.error,
                    tooltip="What happens to a picture without a usable face. error: the run stops and names the "
                    "picture. skip: the picture is left out, but at least one must remain. bypass: the run continues "
                    "even without any face, and the model stays unchanged.",
                ),
            ],
            outputs=[
                types.Faces.Output(display_name="faces"),
                io.Image.Output(
                    display_name="overlay", tooltip="Small pictures are enlarged to keep the labels readable."
                ),
                io.Int.Output(display_name="count", tooltip="Faces found in all pictures, chosen or not."),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(
        cls,
        face_analysis: FaceAnalyzer,
        image: Tensor,
        select: str,
        index: str,
        min_size: int,
        detection_threshold: float,
        without_face: str,
    ) -> io.NodeOutput:
        found = face_analysis.analyze(image, detection_threshold)
        marked, report = choose_faces(found, Choice(Select(select), index, min_size), WithoutFace(without_face))
        faces = Faces(tuple(photo for photo in marked if photo.chosen), face_analysis.recognizer)
        count = sum(len(photo.faces) for photo in marked)
        shown = {"faces": found_faces(image, found)}
        return io.NodeOutput(faces, draw_overlay(image, marked), count, report, ui=shown)


NODES = [LoadFaceAnalysis, AnalyzeFaces]

"""Defines Score Identity and Keep Best."""

from comfy_api.latest import io, ui
from torch import Tensor

from ..core.faces.analysis import FaceAnalyzer
from ..core.identity.build import Identity as Person
from ..core.identity.recognizers import SAME_PERSON
from ..core.identity.similarity import describe, ranking, score
from .types import FaceAnalysis, Identity

CATEGORY = "consistent face/faces"


def _same_person() -> io.Float.Input:
    return io.Float.Input(
        "same_person",
        default=SAME_PERSON,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="A face with at least this similarity counts as the same person. 0.4 suits InsightFace's recognizers.",
        advanced=True,
    )


class ScoreIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_ScoreIdentity",
            display_name="Score Identity",
            category=CATEGORY,
            description="Measures the similarity of the faces in pictures to an identity: the cosine of their "
            "embeddings, about 0 for strangers and 1 for the same photo. Also gives a verdict.",
            search_aliases=["face similarity", "likeness", "cosine similarity", "compare faces", "same person"],
            is_output_node=True,  # the score is worth running for, with nothing connected
            inputs=[
                FaceAnalysis.Input("face_analysis", tooltip="With the recognizer that made the identity."),
                io.Image.Input("image", tooltip="In each picture, the face most similar to the identity is scored."),
                Identity.Input("identity"),
                _same_person(),
            ],
            outputs=[
                io.Float.Output(
                    display_name="likeness",
                    tooltip="The mean similarity of all pictures; a picture without a face counts as 0.",
                ),
                io.Float.Output(display_name="lowest", tooltip="The similarity of the least similar picture."),
                io.Boolean.Output(display_name="same_person", tooltip="Whether every picture shows the person."),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(cls, face_analysis: FaceAnalyzer, image: Tensor, identity: Person, same_person: float) -> io.NodeOutput:
        scores = score(face_analysis.analyze(image), identity, face_analysis.recognizer)
        values = [each.value for each in scores] or [0.0]
        same = bool(scores) and all(each.same(same_person) for each in scores)
        report = describe(scores, identity, face_analysis.recognizer, same_person)
        told = {"text": [report], "similarity": [each.similarity for each in scores]}
        return io.NodeOutput(sum(values) / len(values), min(values), same, report, ui=told)


class KeepBest(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_KeepBest",
            display_name="Keep Best",
            category=CATEGORY,
            description="Keeps the pictures of a batch that are most similar to an identity, the best first. With an "
            "empty identity the first pictures are kept.",
            search_aliases=["best of n", "pick best face", "filter batch", "rank by similarity", "select likeness"],
            inputs=[
                FaceAnalysis.Input("face_analysis", tooltip="With the recognizer that made the identity."),
                io.Image.Input("image"),
                Identity.Input("identity"),
                io.Int.Input(
                    "keep", default=1, min=1, max=64, tooltip="How many pictures to keep; all when there are fewer."
                ),
                _same_person(),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                io.Float.Output(display_name="likeness", tooltip="The similarity of the best picture."),
                io.String.Output(display_name="report", tooltip="One line per picture, in the order of the batch."),
            ],
        )

    @classmethod
    def execute(
        cls, face_analysis: FaceAnalyzer, image: Tensor, identity: Person, keep: int, same_person: float
    ) -> io.NodeOutput:
        scores = score(face_analysis.analyze(image), identity, face_analysis.recognizer)
        best = ranking(scores)[:keep]
        report = describe(scores, identity, face_analysis.recognizer, same_person)
        return io.NodeOutput(image[best], scores[best[0]].value if best else 0.0, report, ui=ui.PreviewText(report))


NODES = [ScoreIdentity, KeepBest]

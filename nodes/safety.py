"""Defines Load Safety Classifier and Check Safety."""

from dataclasses import asdict
from pathlib import Path

import folder_paths
from comfy_api.latest import io
from torch import Tensor

from ..core.safety.check import Classifier, describe, guard, judge
from ..core.safety.classifier import OnnxClassifier
from ..core.safety.conceal import Concealment
from .comfy import folders
from .types import SafetyClassifier, SafetyVerdicts

CATEGORY = "consistent face/safety"
STANDARD = "open-nsfw.onnx"  # offered when missing too, so that the templates open
REPORT = "report"
LIMITS = "open_nsfw was trained on photographs: it misses drawings, cartoons and violence."


class LoadSafetyClassifier(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_LoadSafetyClassifier",
            display_name="Load Safety Classifier (ONNX)",
            category=CATEGORY,
            description=f"Loads a classifier of models/safety. {LIMITS} Nothing is ever downloaded.",
            search_aliases=["nsfw", "open_nsfw", "safety checker", "content moderation"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=sorted({*folder_paths.get_filename_list(folders.SAFETY), STANDARD}),
                    default=STANDARD,
                    tooltip=f"{LIMITS} Another classifier needs a description in a .json beside it: see the help.",
                ),
            ],
            outputs=[SafetyClassifier.Output(display_name="safety_classifier")],
        )

    @classmethod
    def execute(cls, model: str) -> io.NodeOutput:
        return io.NodeOutput(OnnxClassifier.load(Path(folders.find(folders.SAFETY, model))))

    @classmethod
    def validate_inputs(cls, model: str | None) -> bool:
        return True  # a missing file is reported when a check needs it

    @classmethod
    def fingerprint_inputs(cls, model: str) -> tuple[tuple[int, int], ...] | None:
        """Changes with the file and its description, so that both are read again after a change."""
        path = folder_paths.get_full_path(folders.SAFETY, model)
        return folders.stamp(Path(path), Path(path).with_suffix(".json")) if path else None


class CheckSafety(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_CheckSafety",
            display_name="Check Safety",
            category=CATEGORY,
            description="Scores each picture and makes unsafe ones unrecognizable for good, in their size. A check "
            "that cannot run stops the workflow: nothing passes unchecked.",
            search_aliases=["nsfw filter", "safety checker", "censor", "blur nsfw", "pixelate"],
            is_output_node=True,  # only the verdicts of output nodes are in the history of a cached run
            inputs=[
                io.Image.Input("image"),
                SafetyClassifier.Input("safety_classifier", lazy=True, tooltip=f"Loaded only for a check. {LIMITS}"),
                io.Boolean.Input("check", default=True, tooltip="Off: all pictures pass, without a verdict."),
                io.Combo.Input(
                    "mode",
                    options=[*(each.value for each in Concealment), REPORT],
                    default=Concealment.sensitive_content_text.value,
                    tooltip="What replaces an unsafe picture; sensitive_content_text is a grey card with these words. "
                    "report: the picture passes unchanged, and only the verdict says that it is unsafe.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.5,
                    min=0.01,
                    max=0.99,
                    step=0.01,
                    tooltip="A picture with at least this score is unsafe. The authors of open_nsfw call less than "
                    "0.2 safe, more than 0.8 unsafe.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                SafetyVerdicts.Output(display_name="verdicts", tooltip="Score and verdict of each picture."),
                io.Boolean.Output(display_name="unsafe", tooltip="Whether any picture is unsafe."),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(
        cls, image: Tensor, safety_classifier: Classifier | None, check: bool, mode: str, threshold: float
    ) -> io.NodeOutput:
        verdicts = judge(image, safety_classifier, threshold) if check else ()
        safe = guard(image, verdicts, None if mode == REPORT else Concealment(mode))
        unsafe = any(verdict.unsafe for verdict in verdicts)
        report = describe(verdicts) if check else "not checked"
        told = {"text": [report], "safety": [asdict(verdict) for verdict in verdicts]}  # the editor, ComfyUI's history
        return io.NodeOutput(safe, verdicts, unsafe, report, ui=told)

    @classmethod
    def check_lazy_status(cls, image: Tensor, check: bool, **needed: object) -> list[str]:
        """Requests the classifier only for a check, so that a missing file matters only then."""
        return ["safety_classifier"] if check and len(image) else []


NODES = [LoadSafetyClassifier, CheckSafety]

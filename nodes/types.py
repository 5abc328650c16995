"""Defines the pack's sockets. Each carries one frozen value from `core`, named in the comment."""

from comfy_api.latest import io

FaceAnalysis = io.Custom("CONSISTENT_FACE_ANALYSIS")  # core.faces.analysis.FaceAnalyzer
Faces = io.Custom("CONSISTENT_FACE_FACES")  # core.faces.detection.Faces
Identity = io.Custom("CONSISTENT_FACE_IDENTITY")  # core.identity.build.Identity
Adapter = io.Custom("CONSISTENT_FACE_ADAPTER")  # core.ip_adapter.encoding.Adapter
EncodedIdentity = io.Custom("CONSISTENT_FACE_ENCODED_IDENTITY")  # core.ip_adapter.encoding.EncodedIdentity
BackgroundRemover = io.Custom("CONSISTENT_FACE_BACKGROUND_REMOVER")  # core.background.remover.BackgroundRemover
SafetyClassifier = io.Custom("CONSISTENT_FACE_SAFETY_CLASSIFIER")  # core.safety.check.Classifier
SafetyVerdicts = io.Custom("CONSISTENT_FACE_SAFETY_VERDICTS")  # tuple of core.safety.check.Verdict
PoseSheet = io.Custom("CONSISTENT_FACE_POSE_SHEET")  # core.openpose.sheet.PoseSheet

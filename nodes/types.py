"""The sockets of the pack. Each carries one frozen value from `core`, named in the comment."""

from comfy_api.latest import io

FaceAnalysis = io.Custom("CONSISTENT_FACE_ANALYSIS")  # core.insight.FaceAnalyzer
Faces = io.Custom("CONSISTENT_FACE_FACES")  # core.faces.Faces
Identity = io.Custom("CONSISTENT_FACE_IDENTITY")  # core.identity.Identity
Adapter = io.Custom("CONSISTENT_FACE_ADAPTER")  # core.faceid.Adapter
EncodedIdentity = io.Custom("CONSISTENT_FACE_ENCODED_IDENTITY")  # core.faceid.EncodedIdentity
BackgroundRemover = io.Custom("CONSISTENT_FACE_BACKGROUND_REMOVER")  # core.remover.BackgroundRemover
SafetyClassifier = io.Custom("CONSISTENT_FACE_SAFETY_CLASSIFIER")  # core.safety.Classifier
SafetyVerdicts = io.Custom("CONSISTENT_FACE_SAFETY_VERDICTS")  # tuple of core.safety.Verdict, one for each picture
PoseSheet = io.Custom("CONSISTENT_FACE_POSE_SHEET")  # core.sheet.PoseSheet

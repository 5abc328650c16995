"""Faces in pictures: detection, analysis, quality, overlay, masks."""

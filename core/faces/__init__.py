"""Finds faces in pictures: detection, analysis, quality, overlay, masks."""

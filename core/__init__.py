"""Computes everything that needs no ComfyUI: with torch, numpy, Pillow, and (lazily) onnxruntime and insightface."""

"""What is true without ComfyUI: torch, numpy, Pillow, and (lazily) onnxruntime and insightface."""

"""The web service: accepts orders and runs them on ComfyUI over HTTP. Never imports torch or ComfyUI."""

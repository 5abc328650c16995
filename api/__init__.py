"""The web service's side: orders, and ComfyUI over its own API. Never imports torch or ComfyUI."""

"""ComfyUI's HTTP API: the client, and workflows filled with an order's values."""

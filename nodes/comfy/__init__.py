"""What the nodes share: ComfyUI's samplers, loaders, folders and progress."""

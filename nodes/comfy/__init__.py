"""Wraps ComfyUI's samplers, loaders, folders and progress for the nodes."""

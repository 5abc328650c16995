"""Consistent Face: one face, or one character, kept the same across pictures (ComfyUI node pack)."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """ComfyUI calls this once; importing here keeps the pack's import below 150 ms."""
    from .nodes import ConsistentFaceExtension

    return ConsistentFaceExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]

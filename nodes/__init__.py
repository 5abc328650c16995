"""Lists the nodes, one file per feature. Only this folder imports ComfyUI."""

from comfy_api.latest import ComfyExtension, io

from . import (
    apply,
    avatar,
    background,
    detailer,
    faceid,
    faces,
    identity,
    photo,
    pose,
    regions,
    safety,
    score,
    upscale,
)
from .comfy import folders


class ConsistentFaceExtension(ComfyExtension):
    """Lists the nodes of every file."""

    async def on_load(self) -> None:
        folders.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        people = (photo, faces, identity, regions, faceid, apply, score)
        pictures = (pose, detailer, upscale, background, avatar, safety)
        return [node for room in (*people, *pictures) for node in room.NODES]

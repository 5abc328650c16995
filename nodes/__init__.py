"""What ComfyUI sees: the nodes, one file a feature. The only room that imports ComfyUI."""

from comfy_api.latest import ComfyExtension, io

from . import faceid, faces, folders, photo


class ConsistentFaceExtension(ComfyExtension):
    """Lists the nodes of every room."""

    async def on_load(self) -> None:
        folders.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [*photo.NODES, *faces.NODES, *faceid.NODES]

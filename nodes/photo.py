"""Defines Load Photo and Fit Photo."""

import hashlib
import os

import folder_paths
from comfy_api.latest import io
from torch import Tensor

from ..core.errors import PhotoError
from ..core.image import MAX_BYTES, fit, load_photo, no_photo, on_ground, path_within

CATEGORY = "consistent face/photo"
NONE = "none"
MASK_EDITOR = "clipspace/"  # where ComfyUI's mask editor keeps its files: the mask it painted hides nothing
# Where the web service puts its photos. It has encoded them anew, most of them without loss: a photo of 2 MB may have
# 20 then. ComfyUI itself takes no uploads above 100 MB.
SERVICE_FOLDER = "consistent-face"
SERVICE_MAX_BYTES = 100_000_000


def _photos() -> list[str]:
    names, _ = folder_paths.recursive_search(folder_paths.get_input_directory(), ["clipspace"])
    return sorted(folder_paths.filter_files_content_types(names, ["image"]))


def _path(image: str) -> str:
    name = image.removesuffix("[input]").rstrip()  # how ComfyUI's mask editor writes a file of the input folder
    return path_within(folder_paths.get_input_directory(), name)


def _most_bytes(path: str) -> int:
    folder = os.path.realpath(os.path.join(folder_paths.get_input_directory(), SERVICE_FOLDER))
    return SERVICE_MAX_BYTES if path.startswith(folder + os.sep) else MAX_BYTES


class LoadPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_LoadPhoto",
            display_name="Load Photo",
            category=CATEGORY,
            description="Loads a picture from ComfyUI's input folder and turns it upright by its EXIF orientation. "
            "'none' gives an empty batch: the identity is then empty, and the model stays unchanged.",
            search_aliases=["load image", "open photo", "reference photo", "upload photo", "exif"],
            inputs=[
                io.Combo.Input(
                    "image",
                    options=[*_photos(), NONE],
                    upload=io.UploadType.image,
                    image_folder=io.FolderType.input,
                    tooltip="JPEG, PNG, WebP, BMP, TIFF or GIF up to 20 MB and 40 million pixels; of several frames, "
                    "the first is used. 'none': the workflow runs without a picture.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                io.Mask.Output(display_name="mask", tooltip="1 where the picture is transparent."),
            ],
        )

    @classmethod
    def execute(cls, image: str) -> io.NodeOutput:
        if image == NONE:
            return io.NodeOutput(*no_photo())
        path = _path(image)
        photo, mask = load_photo(path, image, _most_bytes(path))
        return io.NodeOutput(photo if image.startswith(MASK_EDITOR) else on_ground(photo, mask, image), mask)

    @classmethod
    def fingerprint_inputs(cls, image: str) -> str:
        if image == NONE:
            return NONE
        with open(_path(image), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @classmethod
    def validate_inputs(cls, image: str | None) -> bool | str:
        try:
            return image in (None, NONE) or bool(_path(image))
        except PhotoError as error:
            return str(error)


class FitPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_FitPhoto",
            display_name="Fit Photo",
            category=CATEGORY,
            description="Reduces pictures to fit into a size, and keeps their aspect ratio; smaller pictures stay "
            "unchanged.",
            search_aliases=["resize image", "downscale", "limit size", "shrink"],
            inputs=[
                io.Image.Input("image"),
                io.Int.Input("max_width", default=1536, min=16, max=16384, tooltip="Largest width of the result."),
                io.Int.Input("max_height", default=1536, min=16, max=16384, tooltip="Largest height of the result."),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                io.Int.Output(display_name="width"),
                io.Int.Output(display_name="height"),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, max_width: int, max_height: int) -> io.NodeOutput:
        fitted = fit(image, max_width, max_height)
        return io.NodeOutput(fitted, fitted.shape[2], fitted.shape[1])


NODES = [LoadPhoto, FitPhoto]

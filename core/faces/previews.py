"""Encodes previews for the graph editor: thumbnails, and the places of their faces, as JSON.

The pictures are sent in ComfyUI's messages, so that no file of a face stays in its folders.
"""

import base64
import io
from collections.abc import Sequence

from torch import Tensor

from ..boxes import Region, cut, upright
from ..image import to_picture
from .detection import PhotoFaces

PHOTO_SIDE, PHOTOS = 512, 8  # longer side in pixels; of a larger batch the first ones
FACE_SIDE, FACES = 256, 16


def found_faces(images: Tensor, photos: Sequence[PhotoFaces]) -> list[dict[str, object]]:
    """Returns per picture of [B,H,W,3] a thumbnail as JPEG data URI, and its faces from the left.

    A face's `box` (left, top, right, bottom) is in shares of the picture's sides, its `size` in pixels of the original
    picture.
    """
    return [
        {
            "picture": _data_uri(image, PHOTO_SIDE),
            "faces": [
                {
                    "box": [side / of for side, of in zip(face.box, (photo.width, photo.height) * 2, strict=True)],
                    "size": face.size,
                    "score": face.score,
                }
                for face in photo.faces
            ],
        }
        for image, photo in zip(images[:PHOTOS], photos[:PHOTOS], strict=True)
    ]


def before_and_after(before: Tensor, after: Tensor, regions: Sequence[Region]) -> list[dict[str, str]]:
    """Returns both crops of each region of [B,H,W,C], upright, as thumbnails in JPEG data URIs."""
    pair = {"before": before, "after": after}
    return [
        {name: _data_uri(upright(cut(images, region), region), FACE_SIDE) for name, images in pair.items()}
        for region in regions[:FACES]
    ]


def _data_uri(image: Tensor, side: int) -> str:
    picture = to_picture(image)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()

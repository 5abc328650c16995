"""What was found in pictures, as JSON for the face picker of the graph editor."""

import base64
import io
from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from .faces import PhotoFaces

LONGER_SIDE = 512  # pixels of the pictures sent along
MOST = 8  # pictures; of a larger batch the first ones


def found_faces(images: Tensor, photos: Sequence[PhotoFaces], min_size: int) -> list[dict[str, object]]:
    """Of [B,H,W,3]: for each picture a small JPEG as data URI, and its faces from the left.

    A face's `box` (left, top, right, bottom) is in shares of the picture's sides; faces below `min_size` are not
    `usable`. The picture travels in the message itself, so that no file of a face is left in ComfyUI's folders.
    """
    return [
        {
            "picture": _data_uri(image),
            "faces": [
                {
                    "box": [side / of for side, of in zip(face.box, (photo.width, photo.height) * 2, strict=True)],
                    "score": round(face.score, 3),
                    "size": int(face.size),  # whole pixels, so that what is below min_size also reads so
                    "usable": face.size >= min_size,
                    "chosen": position in photo.chosen,
                }
                for position, face in enumerate(photo.faces)
            ],
        }
        for image, photo in zip(images[:MOST], photos[:MOST], strict=True)
    ]


def _data_uri(image: Tensor) -> str:
    picture = Image.fromarray((image[..., :3].float().clamp(0, 1) * 255).round().byte().cpu().numpy())
    picture.thumbnail((LONGER_SIDE, LONGER_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()

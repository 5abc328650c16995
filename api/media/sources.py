"""Decodes a picture inside a request: a data URI or base64 text becomes bytes."""

import base64
import binascii
import re

from ..base.errors import PictureError

Source = str | bytes
DATA_URI = re.compile(r"data:(?P<type>[^;,]*)(?:;[^,]*)?;base64,", re.IGNORECASE)
IMAGE_TYPES = ("", "image/jpeg", "image/jpg", "image/png", "image/webp", "application/octet-stream")


def decode(source: str, name: str, largest: int) -> bytes:
    """Decodes a data URI or base64, standard or URL-safe; checks the length first. Raises PictureError."""
    start = 0
    if (prefix := DATA_URI.match(source)) is not None:
        start = prefix.end()
        if prefix["type"].lower() not in IMAGE_TYPES:
            raise PictureError(f"{name} is a data URI of {prefix['type'][:40]}: send image/jpeg, png or webp.", name)
    if (len(source) - start) * 3 // 4 > largest + 2:
        raise PictureError(f"{name} is more than {largest} bytes: send a smaller picture.", name)
    text = "".join(source[start:].split()).translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureError(f"{name} is neither an http(s) URL nor valid base64 of a picture.", name) from error

"""Decodes in separate processes: the photos of callers, and the results of ComfyUI."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from ..base.errors import OverloadedError, PictureError, StorageError
from ..base.settings import Settings
from ..comfyui.client import ComfyError
from .decoder_pool import Decoders, EndedError, TooSlowError
from .sources import Source

LOG = logging.getLogger("consistent_face.decoding")
PHOTOS = 2  # decoders of photos; one more is for results, which do not wait for photos
PATIENCE = 60.0  # seconds that a photo waits for a decoder
MEMORY, MEMORY_PER_PIXEL = 512 * 2**20, 40  # bytes of address space; to encode WebP without loss takes the most, 30
COPIED = 2**20  # bytes at a time
RESULT_SECONDS = 120.0  # ends what hangs, and may be a picture of any size


class Decoding:
    """The decoders of photos and results. Create it inside a running event loop, and close it."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._photos = Decoders(PHOTOS, MEMORY + MEMORY_PER_PIXEL * settings.max_pixels, PATIENCE)
        self._results = Decoders(1, 0, RESULT_SECONDS)

    def warm_up(self) -> None:
        self._photos.warm_up()
        self._results.warm_up()

    def close(self) -> None:
        self._photos.close()
        self._results.close()

    async def photo(self, caller: str, source: Source, name: str, path: Path) -> Path:
        """Checks a photo and writes it, encoded anew, at `path` with the suffix of its format.

        Raises PictureError, which names the request's field `name`, OverloadedError, OSError.
        """
        settings = self._settings
        question = {"do": "photo", "name": name, "largest": settings.max_picture, "most_pixels": settings.max_pixels}

        def take(head: Mapping, files: IO[bytes]) -> Path | str:
            if "refused" in head:
                return head["refused"]
            return _written(path.with_suffix(head["suffix"]), files, head["lengths"][0])

        try:
            found = await self._photos.ask(caller, question, source, settings.decode_timeout, take)
        except TooSlowError as error:
            raise PictureError(
                f"{name} takes more than {settings.decode_timeout:g} seconds to decode: "
                "save it anew as a plain JPEG or with fewer pixels, and send that.",
                name,
            ) from error
        except EndedError as error:
            LOG.warning("A decoder ended over a photo. %s", error)
            raise PictureError(
                f"{name} could not be decoded, it crashed the decoder: save it anew as a plain JPEG, and send that.",
                name,
            ) from error
        if isinstance(found, str):
            raise PictureError(found, name)
        return found

    async def forms(self, caller: str, content: bytes, delivery: Mapping) -> tuple[bytes, bytes | None]:
        """Returns a result in its delivery format, and its low-resolution copy; None if not wanted or not smaller.

        Raises ComfyError if it is not a picture, StorageError if it should be tried again.
        """
        question = {"do": "result", "format": delivery["format"], "low_res": delivery["low_res"]}
        try:
            said, files = await self._results.ask(caller, question, content, RESULT_SECONDS, _read)
        except (EndedError, OverloadedError) as error:
            raise StorageError(f"A result could not be encoded. {error}") from error
        if "refused" in said:
            raise ComfyError(said["refused"])
        return files[0], files[1] if len(files) > 1 else None


def _written(path: Path, files: IO[bytes], length: int) -> Path:
    """Writes the file completely or not at all; returns its path."""
    try:
        with path.open("wb") as file:
            while length > 0:
                file.write(part := _exactly(files, min(length, COPIED)))
                length -= len(part)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _read(head: Mapping, files: IO[bytes]) -> tuple[Mapping, list[bytes]]:
    return head, [_exactly(files, length) for length in head["lengths"]]


def _exactly(files: IO[bytes], length: int) -> bytes:
    content = files.read(length)
    if len(content) < length:
        raise EndedError("The answer is incomplete.")
    return content

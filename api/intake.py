"""Where a photo comes from: a URL, a data URI, plain base64, or a file of a multipart body."""

import asyncio
import base64
import binascii
import re

import aiohttp

from .addresses import AddressError, TooLongError, read_at_most
from .errors import NETWORK, PictureError
from .pictures import Photo, accept
from .settings import Settings

Source = str | bytes
DATA_URI = re.compile(r"data:(?P<type>[^;,]*)(?:;[^,]*)?;base64,", re.IGNORECASE)
IMAGE_TYPES = ("", "image/jpeg", "image/jpg", "image/png", "image/webp", "application/octet-stream")
REDIRECTS = 3


class Intake:
    """Fetches and checks photos. The session is a guarded one, and the caller's."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession):
        self._settings = settings
        self._session = session

    async def fetched(self, source: Source, name: str) -> Source:
        """The bytes behind a URL; every other source as it is. Raises PictureError, which names the field."""
        return await self._fetch(source.strip(), name) if isinstance(source, str) and is_url(source.strip()) else source

    def photo(self, source: Source, name: str) -> Photo:
        """Decodes, which takes its time: not for the event loop. Raises PictureError, which names the field."""
        settings = self._settings
        content = source if isinstance(source, bytes) else decode(source.strip(), name, settings.max_picture)
        return accept(content, name, settings.max_picture, settings.max_pixels)

    async def _fetch(self, url: str, name: str) -> bytes:
        try:
            async with asyncio.timeout(self._settings.fetch_timeout):
                headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
                async with self._session.get(url, headers=headers, max_redirects=REDIRECTS + 1) as answer:
                    if answer.status != 200:
                        raise PictureError(f"{name}: its URL answered HTTP {answer.status} instead of a picture.", name)
                    return await read_at_most(answer, self._settings.max_picture)
        except TooLongError as error:
            raise PictureError(f"{name}: its URL gives more than {self._settings.max_picture} bytes.", name) from error
        except TimeoutError as error:
            limit = self._settings.fetch_timeout
            raise PictureError(f"{name}: its URL gave no whole picture within {limit:g} seconds.", name) from error
        except (*NETWORK, ValueError) as error:
            raise PictureError(f"{name}: {_reason(error)}.", name) from error


def is_url(source: str) -> bool:
    return source[:8].lower().startswith(("http://", "https://"))


def decode(source: str, name: str, largest: int) -> bytes:
    """A data URI or plain base64, standard or URL-safe. Its length is checked before it is decoded."""
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


def _reason(error: BaseException) -> str:
    """Nothing of what stands behind an address that is refused."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressError):
            return "its URL leads to an address that is not public"
        cause = getattr(cause, "os_error", None) or cause.__cause__
    if isinstance(error, aiohttp.TooManyRedirects):
        return f"its URL redirects more than {REDIRECTS} times"
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return "it is not a valid URL"
    return "its URL cannot be reached"

"""Fetches photos that a request gives by URL."""

import asyncio

import aiohttp

from ..base.errors import PictureError
from ..base.settings import Settings
from ..security.public_addresses import NETWORK, AddressError, TooLongError, read_at_most
from .sources import Source

REDIRECTS = 3


class Intake:
    """Fetches photos with a guarded session, which the caller owns."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession):
        self._settings = settings
        self._session = session

    async def fetched(self, source: Source, name: str) -> Source:
        """Returns the bytes of a URL, and any other source unchanged. Raises PictureError, which names the field."""
        return await self._fetch(source.strip(), name) if isinstance(source, str) and is_url(source.strip()) else source

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


def _reason(error: BaseException) -> str:
    """The reason of a failure, without details of a refused address."""
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

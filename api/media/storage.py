"""Stores results: on disk behind signed links, or in S3-compatible storage. Names are `<job id>-<i>.<suffix>`."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import aiohttp
import obstore
from obstore.store import S3Store
from yarl import URL

from ..base.errors import ForbiddenError, NotFoundError, StorageError, UnusableBucketError
from ..security.public_addresses import NETWORK, TooLongError, read_at_most
from ..security.secrets import Seal

LONGEST_LINK = 7 * 24 * 3600  # seconds; the longest that S3 signs for
CALL = 60  # seconds
LARGEST = 2**28  # bytes of a result that are read back
# What invalid access data raises.
UNUSABLE = (obstore.exceptions.BaseError, ValueError, TypeError, AttributeError)
TYPES = {"png": "image/png", "jpg": "image/jpeg"}


class Storage(Protocol):
    async def put(self, name: str, content: bytes) -> None: ...
    async def get(self, name: str) -> bytes: ...
    async def remove(self, name: str) -> None: ...
    def link(self, name: str, expires: float) -> str: ...


def content_type(name: str) -> str:
    return TYPES[name.rpartition(".")[2]]


class Disk:
    """A folder. Its links contain their end (seconds since 1970) and a signature of name and end.

    Results have a few megabytes at most: reading and writing them is faster than a thread.
    """

    def __init__(self, folder: Path, base_url: str, seal: Seal):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._base_url, self._seal = folder, base_url, seal

    async def put(self, name: str, content: bytes) -> None:
        part = self.folder / f"{name}.part"
        part.write_bytes(content)
        part.replace(self.folder / name)

    async def get(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(f"There is no picture {name} (any more).") from error

    async def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def link(self, name: str, expires: float) -> str:
        end = math.ceil(expires)
        return f"{self._base_url}/files/{name}?expires={end}&signature={self._seal.sign('link', f'{name} {end}')}"

    def check(self, name: str, expires: int, signature: str) -> None:
        """Raises ForbiddenError if the signature is wrong or the link has expired."""
        if not self._seal.matches("link", f"{name} {expires}", signature) or expires < time.time():
            raise ForbiddenError("This link is not valid, or its time is over.")


@dataclass(frozen=True)
class BucketAccess:
    """The access data of update_s3: a bucket, its keys, and the folder for the results."""

    bucket: str
    region: str
    endpoint: str | None
    access_key_id: str
    secret_access_key: str
    directory: str = ""
    public_url: str = ""

    def text(self) -> str:
        return json.dumps(asdict(self))


class Bucket:
    """S3-compatible storage. obstore signs URLs and the session sends them; a client's endpoint needs a guarded one."""

    def __init__(self, access: BucketAccess, session: aiohttp.ClientSession):
        """Raises UnusableBucketError."""
        self._access, self._session = access, session
        try:
            self._store = S3Store(
                access.bucket,
                region=access.region,
                endpoint=access.endpoint or f"https://s3.{access.region}.amazonaws.com",
                access_key_id=access.access_key_id,
                secret_access_key=access.secret_access_key,
                virtual_hosted_style_request=False,
                client_options={"allow_http": True},  # obstore only signs
            )
        except UNUSABLE as error:
            raise UnusableBucketError(_unusable(error)) from error

    def check(self) -> None:
        """Signs a link without any connection. Raises UnusableBucketError if that fails."""
        try:
            self._sign("PUT", "check", CALL)
            self.link("check", time.time() + CALL).encode()
        except UNUSABLE as error:
            raise UnusableBucketError(_unusable(error)) from error

    async def put(self, name: str, content: bytes) -> None:
        await self._call("PUT", name, content, {"Content-Type": content_type(name)})

    async def get(self, name: str) -> bytes:
        return await self._call("GET", name)

    async def remove(self, name: str) -> None:
        await self._call("DELETE", name)

    def link(self, name: str, expires: float) -> str:
        if self._access.public_url:
            return f"{self._access.public_url.rstrip('/')}/{quote(self._path(name))}"
        return self._sign("GET", name, max(1.0, min(expires - time.time(), LONGEST_LINK)))

    def _path(self, name: str) -> str:
        return "/".join(part for part in (self._access.directory.strip("/"), name) if part)

    def _sign(self, method: str, name: str, seconds: float) -> str:
        try:
            return obstore.sign(self._store, method, self._path(name), timedelta(seconds=int(seconds)))  # type: ignore
        except UNUSABLE as error:
            raise UnusableBucketError(_unusable(error)) from error

    async def _call(
        self, method: str, name: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=CALL)
        try:
            url = URL(self._sign(method, name, CALL), encoded=True)
            async with self._session.request(
                method, url, data=content, headers=headers, allow_redirects=False, timeout=timeout
            ) as answer:
                if answer.status == 404 and method == "GET":
                    raise NotFoundError(f"There is no picture {name} (any more).")
                if answer.status >= 300 and not (answer.status == 404 and method == "DELETE"):
                    raise StorageError(f"The bucket answered HTTP {answer.status} to {method} {name}.")
                return await read_at_most(answer, LARGEST) if method == "GET" else b""  # the size is up to the bucket
        except TooLongError as error:
            raise StorageError(f"The bucket gave more than {LARGEST} bytes for {name}.") from error
        except (*NETWORK, ValueError) as error:
            raise StorageError(f"The bucket's endpoint cannot be reached ({type(error).__name__}).") from error


def _unusable(error: Exception) -> str:
    return f"The bucket cannot be opened with these details ({type(error).__name__}): set it again with update_s3."

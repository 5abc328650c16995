"""Turns a validated request into an accepted job."""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..base.errors import InputError, PictureError
from ..base.order import Order, OrderError, Value
from ..comfyui.workflow import settle
from ..database.tables import JobRow
from ..jobs.batches import pictures
from ..jobs.service import Service, remove_photos
from ..media.intake import is_url
from ..media.sources import Source
from ..security.urls import URLError, parsed
from .bodies import LARGE, READER
from .requests import Asked

LONGEST_URL = 8000  # characters of a picture's URL; presigned URLs are long


@dataclass(frozen=True)
class Wanted:
    """The job that a vendor module derives from a request.

    `photos` are (field of the request, source) by parameter of the order; `request` has the fields that the answer
    needs, without picture bytes and keys.
    """

    vendor: str
    workflow: str
    values: Mapping[str, Value | None]
    photos: Mapping[str, tuple[str, Source]]
    request: Mapping[str, object]
    format: str = "png"
    low_res: bool = False
    webhook: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)  # order's parameter -> request's field, for errors


async def submit(asked: Asked, wanted: Wanted) -> JobRow:
    """Accepts a job and returns it, or returns the earlier job of the same idempotency key.

    Separate processes decode the photos. When this returns, the job survives a power failure; if its photo was not yet
    written to the disk, the job fails with a reason.
    Raises InputError, BusyError, CreditsError, ConflictError.
    """
    service = asked.service
    digest = await _digest_of(asked, wanted)
    if asked.idempotency_key is not None:
        earlier = service.store.earlier(asked.caller.id, asked.idempotency_key, digest)
        if earlier is not None:
            return earlier
    order = _settled(wanted)
    for label, source in wanted.photos.values():
        _check_url(source, label)
    is_fetched = any(isinstance(source, str) and is_url(source.strip()) for _, source in wanted.photos.values())
    async with service.fetching.held(asked.caller.id) if is_fetched else contextlib.nullcontext():
        sources = {
            name: (label, await service.intake.fetched(source, label))
            for name, (label, source) in wanted.photos.items()
        }
        accepted = await _keep(_row(asked, wanted, order, digest), sources, service)
    asked.fields.clear()  # frees some megabytes while the request waits for its job
    await service.ring()
    await asyncio.to_thread(service.store.sync)  # while the job starts
    return accepted


def _check_url(source: Source, label: str) -> None:
    if isinstance(source, str) and is_url(source.strip()):
        try:
            parsed(source.strip(), ("https", "http"), LONGEST_URL)
        except URLError as error:
            raise PictureError(f"{label}: it is not a valid URL: {error}.", label) from error


def _settled(wanted: Wanted) -> Order:
    try:
        return settle(Order(wanted.workflow, wanted.values))
    except OrderError as error:
        field = wanted.parameters.get(error.field, error.field)
        raise InputError(str(error).replace(error.field, field, 1), field) from error


def _row(asked: Asked, wanted: Wanted, order: Order, digest: str) -> JobRow:
    settings, count, now = asked.service.settings, pictures(order), time.time()
    return JobRow(
        id=order.id,
        key_id=asked.caller.id,
        vendor=wanted.vendor,
        workflow=order.workflow,
        values=dict(order.values),
        request=dict(wanted.request),
        pictures=count,
        delivery={"format": wanted.format, "low_res": wanted.low_res},
        bucket=asked.service.bucket_for(asked.caller.id),
        webhook=wanted.webhook,
        idempotency_key=asked.idempotency_key,
        request_digest=digest,
        price=count * settings.prices.get(order.workflow, 1),
        created=now,
        expires=now + settings.retention_s,
    )


async def _keep(row: JobRow, sources: Mapping[str, tuple[str, Source]], service: Service) -> JobRow:
    """Writes the photos, then the job's row: a started job must find its photos."""
    row.photos = {}
    try:
        for name, (label, source) in sources.items():
            path = await service.decoding.photo(row.key_id, source, label, service.photos / f"{row.id}-{name}")
            row.photos[name] = path.name
    except BaseException:  # refused, the disk is full, or the service stops
        remove_photos(row, service.photos)
        raise
    return await asyncio.to_thread(_accepted, row, service)


def _accepted(row: JobRow, service: Service) -> JobRow:
    try:
        accepted = service.store.add(row, service.settings.concurrency)
    except Exception:  # refused, or the disk is full
        remove_photos(row, service.photos)
        raise
    if accepted.id != row.id:
        remove_photos(row, service.photos)
    return accepted


async def _digest_of(asked: Asked, wanted: Wanted) -> str:
    if sum(len(source) for _, source in wanted.photos.values()) < LARGE:
        return _digest(wanted)
    async with asked.service.reading.held(asked.caller.id):
        return await asyncio.get_running_loop().run_in_executor(READER, _digest, wanted)


def _digest(wanted: Wanted) -> str:
    """Returns the SHA-256 of all fields of a request, including the bytes of its pictures."""
    sources = {
        name: hashlib.sha256(source if isinstance(source, bytes) else source.encode("utf-8", "replace")).hexdigest()
        for name, (_, source) in wanted.photos.items()
    }
    said = [wanted.vendor, wanted.workflow, dict(wanted.values), sources, dict(wanted.request), wanted.webhook]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

"""Deletes photos and results: from ComfyUI when a job has ended, from the service when its retention is over.

What a local ComfyUI holds (its folders are settings) is removed from the disk; a remote one is made to overwrite it
with nothing, since its API removes no file: empty files stay there under the jobs' names.
"""

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path

from ..base.background_tasks import outcome
from ..base.errors import ServiceError
from ..base.order import Picture
from ..comfyui.client import Comfy, ComfyError
from ..comfyui.workflow import FOLDER, photo_name
from ..database.tables import JobRow
from .batches import parts
from .service import Service, remove_photos

LOG = logging.getLogger("consistent_face.cleaning")
SWEEP = 5.0  # seconds between two rounds while nothing ends
STRAY_SECONDS = 3600.0  # a file without a job may have one in a moment; and the pause between two looks for them
ID_LENGTH = 36  # of a job's id, with which its files' names begin
Act = Callable[[JobRow, Service, Comfy], Coroutine[object, object, None]]
ANSWERS_FIRST = 0.1  # seconds from a job's end to its cleaning: whoever waits is answered meanwhile


async def clean(row: JobRow, service: Service, comfy: Comfy) -> None:
    """Removes an ended job's photo everywhere, and its run and pictures from ComfyUI; tried again while that fails."""
    remove_photos(row, service.photos)
    try:
        await _clean_comfy(row, service, comfy)
    except (ComfyError, OSError) as error:
        LOG.warning("ComfyUI is not cleaned yet: %s", error, extra={"job": row.id})
        return
    service.store.cleaned(row.id)


async def purge(row: JobRow, service: Service, comfy: Comfy) -> None:
    """Removes all that is left of an ended job; pictures in a key's own bucket are the key's, and stay."""
    if not row.cleaned:
        await clean(row, service, comfy)
        row = await asyncio.to_thread(service.store.get, row.id) or row
    if not row.cleaned:
        return
    if not row.in_own_bucket:
        storage = service.storage(row)
        for name in _stored(row):
            await storage.remove(name)
    await asyncio.to_thread(service.store.forget, row.id)


def _stored(row: JobRow) -> set[str]:
    """What may lie in the storage; of a job that did not succeed, whatever it had come to."""
    if row.state == "succeeded":
        return {output[form] for output in row.outputs for form in ("name", "low")}
    return {name for number in range(row.pictures) for name in (row.output(number), row.low_output(number))}


async def sweep(service: Service) -> None:
    """Expires and cleans, for as long as it is not cancelled: shortly after a job's end, and regularly."""
    comfy = Comfy(service.settings.comfy_url, service.inside)
    strays_due = time.monotonic()
    while True:
        service.to_clean.clear()  # before the look: what ends after it is told again
        await sweep_once(service, comfy)
        if time.monotonic() >= strays_due:
            strays_due = time.monotonic() + STRAY_SECONDS
            await asyncio.to_thread(remove_strays, service)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(service.to_clean.wait(), SWEEP)
            await asyncio.sleep(ANSWERS_FIRST)


async def sweep_once(service: Service, comfy: Comfy) -> None:
    """A job that cannot be cleaned or cancelled is tried again in the next round, and keeps no other from it."""
    for job in await asyncio.to_thread(service.store.overdue):
        await _tried(job, service, _cancel(job, service))
    ended = await asyncio.to_thread(service.store.uncleaned)
    if ended:
        await asyncio.to_thread(service.store.sync)  # an end that the machine forgot would need its photo again
    for job in ended:
        await _tried(job, service, _without_photos(job, service))  # at once, however long ComfyUI takes
    is_there = not ended or await comfy.is_there()
    for job in ended if is_there else ():
        await _tried(job, service, _with(clean, job, service, comfy))
    expired = [job for job in await asyncio.to_thread(service.store.expired) if is_there or job not in ended]
    for job in expired:
        await _tried(job, service, _with(purge, job, service, comfy))
    if expired:
        await asyncio.to_thread(service.store.compact)


async def _tried(job: str, service: Service, act: Coroutine[object, object, None]) -> None:
    fault = await outcome(act)
    if isinstance(fault, BaseException) and not isinstance(fault, ServiceError) and job not in service.faulty:
        service.faulty.add(job)
        LOG.error("A fault while a job was cleaned", exc_info=fault, extra={"job": job})


async def _cancel(job: str, service: Service) -> None:
    if (cancelled := service.store.cancel(job, service.settings.retention_s)) is not None:
        service.ended(cancelled)


async def _without_photos(job: str, service: Service) -> None:
    if (row := service.store.get(job)) is not None:
        remove_photos(row, service.photos)


async def _with(act: Act, job: str, service: Service, comfy: Comfy) -> None:
    if (row := await asyncio.to_thread(service.store.get, job)) is not None:
        await act(row, service, comfy)


def remove_strays(service: Service) -> None:
    """Files that belong to no job: the service was killed, or its disk full, between a file and its job's row."""
    known = service.store.ids()
    for path in (*service.photos.iterdir(), *service.disk.folder.iterdir()):
        with contextlib.suppress(OSError):  # its job's end was quicker, or it is not ours to remove
            old = path.is_file() and path.stat().st_mtime < time.time() - STRAY_SECONDS
            if old and path.name[:ID_LENGTH] not in known:
                path.unlink()


async def _clean_comfy(row: JobRow, service: Service, comfy: Comfy) -> None:
    settings, order = service.settings, service.order(row)
    runs = [part.id for part in parts(order, settings.max_batch)]
    folders = (settings.comfy_input, settings.comfy_output)
    if None in folders:
        names = [photo_name(order, parameter) for parameter in order.photos]
        await _blank(comfy, runs, names)
    await comfy.forget(runs)
    await asyncio.to_thread(_remove, [folder / FOLDER / row.id for folder in folders if folder is not None])


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


async def _blank(comfy: Comfy, runs: Iterable[str], photos: Iterable[str]) -> None:
    for name in photos:
        folder, _, filename = name.rpartition("/")
        await comfy.blank(Picture(filename, folder, "input"))
    for run in runs:
        job = await comfy.job(run)
        for pictures in job.outputs.values() if job is not None else ():
            for picture in pictures:
                await comfy.blank(picture)

"""Deletes photos and results: from ComfyUI when a job has ended, from the service when its retention is over.

If ComfyUI's folders are set, its files are deleted from the disk. ComfyUI's API cannot delete files: otherwise they are
overwritten with empty files, which stay under the jobs' names.
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
SWEEP = 5.0  # seconds between two sweeps while no job ends
STRAY_SECONDS = 3600.0  # minimum age of stray files, since a new file gets its job later; and the pause between checks
ID_LENGTH = 36  # characters of a job's id, which its file names begin with
Act = Callable[[JobRow, Service, Comfy], Coroutine[object, object, None]]
ANSWERS_FIRST = 0.1  # seconds from a job's end to its cleaning: waiting requests are answered first


async def clean(row: JobRow, service: Service, comfy: Comfy) -> None:
    """Deletes an ended job's photo, and its run and pictures in ComfyUI. If that fails, the next sweep tries again."""
    remove_photos(row, service.photos)
    try:
        await _clean_comfy(row, service, comfy)
    except (ComfyError, OSError) as error:
        LOG.warning("ComfyUI is not cleaned yet: %s", error, extra={"job": row.id})
        return
    service.store.cleaned(row.id)


async def purge(row: JobRow, service: Service, comfy: Comfy) -> None:
    """Deletes an ended job with its results. Pictures in a key's own bucket stay: they belong to the key."""
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
    """The files that a job may have in the storage; a failed job may have stored some of its pictures."""
    if row.state == "succeeded":
        return {output[form] for output in row.outputs for form in ("name", "low")}
    return {name for number in range(row.pictures) for name in (row.output(number), row.low_output(number))}


async def sweep(service: Service) -> None:
    """Cleans ended jobs and deletes expired ones, after each job's end and every SWEEP seconds, until cancelled."""
    comfy = Comfy(service.settings.comfy_url, service.inside)
    strays_due = time.monotonic()
    while True:
        service.to_clean.clear()  # cleared first: a job that ends during the sweep sets it again
        await sweep_once(service, comfy)
        if time.monotonic() >= strays_due:
            strays_due = time.monotonic() + STRAY_SECONDS
            await asyncio.to_thread(remove_strays, service)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(service.to_clean.wait(), SWEEP)
            await asyncio.sleep(ANSWERS_FIRST)


async def sweep_once(service: Service, comfy: Comfy) -> None:
    """Sweeps once. A job that cannot be cleaned or cancelled waits for the next sweep and does not delay the others."""
    for job in await asyncio.to_thread(service.store.overdue):
        await _tried(job, service, _cancel(job, service))
    ended = await asyncio.to_thread(service.store.uncleaned)
    if ended:
        await asyncio.to_thread(service.store.sync)  # before the photos go: a lost end would need them again
    for job in ended:
        await _tried(job, service, _without_photos(job, service))  # first, since ComfyUI may take long
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
        LOG.error("A job could not be cleaned", exc_info=fault, extra={"job": job})


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
    """Deletes files without a job: the service was killed, or the disk full, before the job's row was written."""
    known = service.store.ids()
    for path in (*service.photos.iterdir(), *service.disk.folder.iterdir()):
        with contextlib.suppress(OSError):  # deleted meanwhile, or not permitted
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

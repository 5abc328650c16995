"""Claims queued jobs in order and runs them until the service stops; `workers` run at the same time."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial

from ..base.background_tasks import keep_going, outcome
from ..base.errors import StorageError, UnusableBucketError
from ..comfyui.client import Comfy, UnreachableError
from ..database.tables import JobRow
from .runner import run_job
from .service import Service

LOG = logging.getLogger("consistent_face.worker")
LOOK_AGAIN = 1.0  # seconds; jobs that another process accepts do not notify this one
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 3.0  # seconds between two attempts to reach ComfyUI
STORAGE_PAUSE, LONGEST_STORAGE_PAUSE = 1.0, 60.0  # seconds between two attempts to store pictures; doubles
STORAGE_ATTEMPTS = 8  # about two minutes until the job fails


async def work(service: Service, stopping: asyncio.Event) -> None:
    """Runs jobs until `stopping` is set, and finishes the current one. A cancelled worker stops at once; its job is
    resumed at the next start."""
    comfy = Comfy(service.settings.comfy_url, service.inside)
    while not stopping.is_set():
        row = service.store.claim()
        if row is None:
            await _rest(service, LOOK_AGAIN)
            continue
        LOG.info("started", extra={"job": row.id, "vendor": row.vendor})
        ran = asyncio.Event()
        job = asyncio.create_task(_carried_out(row, service, comfy, ran.set))
        service.at_work.add(job)
        job.add_done_callback(service.at_work.discard)
        await _either(job, ran)
        if job.done() and isinstance(fault := job.result(), UnreachableError):
            LOG.warning("%s", fault)
            await _until_it_is_there(comfy, stopping)
        elif job.done() and job.result() is None:
            await asyncio.sleep(FIRST_PAUSE)


async def _either(job: asyncio.Task[JobRow | UnreachableError | None], ran: asyncio.Event) -> None:
    """Waits until ComfyUI has finished a job: the next one runs while its pictures are stored."""
    has_run = asyncio.create_task(ran.wait())
    try:
        await asyncio.wait({job, has_run}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        job.cancel()
        raise
    finally:
        has_run.cancel()


async def _carried_out(
    row: JobRow, service: Service, comfy: Comfy, ran: Callable[[], None]
) -> JobRow | UnreachableError | None:
    """Runs a job and reports its end. Returns the ended job; None if it is tried again or another attempt runs it."""
    ended = await outcome(run_job(row, service, comfy, ran))
    if isinstance(ended, UnreachableError):
        return ended
    if isinstance(ended, StorageError):
        ended = _store_later(row, service, ended)
    elif isinstance(ended, BaseException):
        ended = _give_up(row, service, ended)
    if ended is not None:
        service.ended(ended)
    return ended


async def _until_it_is_there(comfy: Comfy, stopping: asyncio.Event) -> None:
    pause = FIRST_PAUSE
    while not stopping.is_set() and not await comfy.is_there():
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _store_later(row: JobRow, service: Service, fault: StorageError) -> JobRow | None:
    """Queues the job again after a pause, in which other jobs run; after the last attempt the job fails."""
    service.unstored[row.id] += 1
    failures, keep = service.unstored[row.id], service.settings.retention_s
    if failures >= STORAGE_ATTEMPTS or isinstance(fault, UnusableBucketError):
        return service.store.fail(row.id, row.attempt, "StorageError", fault.message, keep)
    pause = min(STORAGE_PAUSE * 2 ** (failures - 1), LONGEST_STORAGE_PAUSE)
    task = asyncio.create_task(keep_going(partial(_again, row, service, pause)))
    service.later.add(task)
    task.add_done_callback(service.later.discard)
    return None


async def _again(row: JobRow, service: Service, pause: float) -> None:
    """Waits, then queues the job again. Handles a cancellation meanwhile, since no runner watches the job."""
    end = time.monotonic() + pause
    while (current := service.store.get(row.id)) is not None and not current.cancel and time.monotonic() < end:
        await asyncio.sleep(min(pause, LOOK_AGAIN))
    if current is not None and current.cancel:
        ended = service.store.cancelled(row.id, row.attempt, service.settings.retention_s)
        if ended is not None:
            service.ended(ended)
    elif service.store.requeue(row.id, row.attempt):
        await service.ring()


def _give_up(row: JobRow, service: Service, fault: BaseException) -> JobRow | None:
    LOG.error("A job failed with an internal error", exc_info=fault, extra={"job": row.id})
    reason = "Internal error: tell the operator the job's id."
    return service.store.fail(row.id, row.attempt, type(fault).__name__, reason, service.settings.retention_s)


async def _rest(service: Service, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), service.bell:
            await service.bell.wait()

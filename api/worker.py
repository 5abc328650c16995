"""Takes jobs in their order and runs them, beside each other where the settings say so, until it is stopped."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TypeVar

from .comfy import Comfy, UnreachableError
from .errors import StorageError
from .runner import run_job
from .service import Service
from .tables import JobRow

LOG = logging.getLogger("consistent_face.worker")
LOOK_AGAIN = 1.0  # seconds; a job of another process rings no bell here
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 3.0  # seconds between two attempts to reach ComfyUI
STORAGE_PAUSE, LONGEST_STORAGE_PAUSE = 1.0, 60.0  # seconds between two attempts to store a job's pictures; doubles
STORAGE_ATTEMPTS = 8  # two minutes before a bucket that takes nothing fails the job
AFTER_A_FAULT = 5.0  # seconds
T = TypeVar("T")


async def work(service: Service, stopping: asyncio.Event) -> None:
    """Ends when `stopping` is set and the job at hand has ended; cancelling ends at once, and the job is taken up
    again at the next start."""
    comfy = Comfy(service.settings.comfy_url, service.inside)
    pause = FIRST_PAUSE
    while not stopping.is_set():
        row = service.store.claim()
        if row is None:
            await _rest(service, LOOK_AGAIN)
            continue
        LOG.info("started", extra={"job": row.id, "vendor": row.vendor})
        ended = await outcome(run_job(row, service, comfy))
        if isinstance(ended, UnreachableError):
            LOG.warning("%s", ended)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        pause = FIRST_PAUSE
        if isinstance(ended, StorageError):
            ended = _store_later(row, service, ended)
        elif isinstance(ended, BaseException):
            ended = _give_up(row, service, ended)
        if ended is None:
            await asyncio.sleep(FIRST_PAUSE)
        else:
            service.ended(ended)


async def outcome(act: Coroutine[object, object, T]) -> T | BaseException:
    """What an act gave, or failed with: a fault of ours in one job must not end the work on all others."""
    task = asyncio.create_task(act)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    return task.exception() or task.result()


async def keep_going(act: Callable[[], Coroutine[object, object, None]]) -> None:
    """Runs what should never end, and again after a fault, until it ends by itself or is cancelled."""
    while isinstance(fault := await outcome(act()), BaseException):
        LOG.error("A fault in the background, tried again", exc_info=fault)
        await asyncio.sleep(AFTER_A_FAULT)


def _store_later(row: JobRow, service: Service, fault: StorageError) -> JobRow | None:
    """Puts the job back into the queue after a pause in which other jobs run; after the last attempt it has failed."""
    service.unstored[row.id] += 1
    failures, keep = service.unstored[row.id], service.settings.retention_s
    if failures >= STORAGE_ATTEMPTS:
        return service.store.fail(row.id, row.attempt, "StorageError", fault.message, keep)
    pause = min(STORAGE_PAUSE * 2 ** (failures - 1), LONGEST_STORAGE_PAUSE)
    task = asyncio.create_task(keep_going(partial(_again, row, service, pause)))
    service.later.add(task)
    task.add_done_callback(service.later.discard)
    return None


async def _again(row: JobRow, service: Service, pause: float) -> None:
    """Nobody watches the job meanwhile: a cancellation is heard here."""
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
    LOG.error("A fault while a job ran", exc_info=fault, extra={"job": row.id})
    reason = "Internal error: tell the operator the job's id."
    return service.store.fail(row.id, row.attempt, type(fault).__name__, reason, service.settings.retention_s)


async def _rest(service: Service, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), service.bell:
            await service.bell.wait()

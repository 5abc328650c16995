"""Takes jobs in their order and runs them, beside each other where the settings say so, until it is stopped."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine

from .cleaning import clean
from .comfy import Comfy, UnreachableError
from .runner import run_job
from .service import Service
from .tables import JobRow

LOG = logging.getLogger("consistent_face.worker")
LOOK_AGAIN = 1.0  # seconds; a job of another process rings no bell here
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two attempts to reach ComfyUI
AFTER_A_FAULT = 5.0  # seconds


async def work(service: Service, stopping: asyncio.Event) -> None:
    """Ends when `stopping` is set and the job at hand has ended; cancelling ends at once, and the job is taken up
    again at the next start."""
    comfy = Comfy(service.settings.comfy_url, service.inside)
    pause = FIRST_PAUSE
    while not stopping.is_set():
        service.bell.clear()  # before the look: what comes after it rings again
        row = await asyncio.to_thread(service.store.claim)
        if row is None:
            await _rest(service, LOOK_AGAIN)
            continue
        LOG.info("started", extra={"job": row.id, "vendor": row.vendor})
        fault = await outcome(run_job(row, service, comfy))
        if isinstance(fault, UnreachableError):
            LOG.warning("%s", fault)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        pause = FIRST_PAUSE
        if fault is not None:
            _give_up(row, service, fault)
        await _wind_up(row, service, comfy)


async def outcome(act: Coroutine[object, object, None]) -> BaseException | None:
    """What an act failed with: a fault of ours in one job must not end the work on all others."""
    task = asyncio.create_task(act)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    return task.exception()


async def keep_going(act: Callable[[], Coroutine[object, object, None]]) -> None:
    """Runs what should never end, and again after a fault, until it ends by itself or is cancelled."""
    while (fault := await outcome(act())) is not None:
        LOG.error("A fault in the background, tried again", exc_info=fault)
        await asyncio.sleep(AFTER_A_FAULT)


def _give_up(row: JobRow, service: Service, fault: BaseException) -> None:
    LOG.error("A fault while a job ran", exc_info=fault, extra={"job": row.id})
    reason = "Internal error: tell the operator the job's id."
    service.store.fail(row.id, row.attempt, type(fault).__name__, reason, service.settings.retention_s)
    service.ended(row.id)


async def _wind_up(row: JobRow, service: Service, comfy: Comfy) -> None:
    """What follows from a job's end: counts, its webhook, a clean ComfyUI."""
    ended = await asyncio.to_thread(service.store.get, row.id)
    if ended is None or not ended.is_over:
        await asyncio.sleep(FIRST_PAUSE)
        return
    service.metrics.job(ended)
    service.hooks_due.set()
    LOG.info("%s %s", ended.state, ended.error or "", extra={"job": ended.id, "seconds": ended.seconds})
    await clean(ended, service, comfy)


async def _rest(service: Service, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(service.bell.wait(), seconds)

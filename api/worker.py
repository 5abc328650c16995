"""Takes jobs in their order and runs them, beside each other where the settings say so, until it is stopped."""

import asyncio
import contextlib
import logging

from .cleaning import clean
from .comfy import Comfy, UnreachableError
from .runner import run_job
from .service import Service

LOG = logging.getLogger("consistent_face.worker")
LOOK_AGAIN = 1.0  # seconds; a job of another process rings no bell here
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two attempts to reach ComfyUI


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
        try:
            await run_job(row, service, comfy)
            pause = FIRST_PAUSE
        except UnreachableError as error:
            LOG.warning("%s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        ended = await asyncio.to_thread(service.store.get, row.id)
        if ended is None or not ended.is_over:
            await asyncio.sleep(FIRST_PAUSE)
            continue
        service.metrics.job(ended)
        service.hooks_due.set()
        LOG.info("%s %s", ended.state, ended.error or "", extra={"job": ended.id, "seconds": ended.seconds})
        await clean(ended, service, comfy)


async def _rest(service: Service, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(service.bell.wait(), seconds)

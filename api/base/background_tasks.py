"""Runs background tasks and restarts them after a fault."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TypeVar

LOG = logging.getLogger("consistent_face.worker")
AFTER_A_FAULT = 5.0  # seconds
T = TypeVar("T")


async def outcome(act: Coroutine[object, object, T]) -> T | BaseException:
    """What an act gave, or failed with: a fault of ours in one job must not end the work on all others."""
    task = asyncio.create_task(act)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    if task.cancelled():  # from within; who cancels this function itself does not come here
        return asyncio.CancelledError()
    return task.exception() or task.result()


async def keep_going(act: Callable[[], Coroutine[object, object, None]]) -> None:
    """Runs what should never end, and again after a fault, until it ends by itself or is cancelled."""
    while isinstance(fault := await outcome(act()), BaseException):
        LOG.error("A fault in the background, tried again", exc_info=fault)
        await asyncio.sleep(AFTER_A_FAULT)

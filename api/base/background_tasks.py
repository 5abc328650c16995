"""Runs background tasks and restarts them after a fault."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TypeVar

LOG = logging.getLogger("consistent_face.worker")
AFTER_A_FAULT = 5.0  # seconds
T = TypeVar("T")


async def outcome(act: Coroutine[object, object, T]) -> T | BaseException:
    """Returns the result of a coroutine, or its exception: a fault in one job must not stop the others."""
    task = asyncio.create_task(act)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    if task.cancelled():  # by its own code: a cancellation of this function raises in asyncio.wait
        return asyncio.CancelledError()
    return task.exception() or task.result()


async def keep_going(act: Callable[[], Coroutine[object, object, None]]) -> None:
    """Runs a coroutine and starts it again after a fault, until it returns or is cancelled."""
    while isinstance(fault := await outcome(act()), BaseException):
        LOG.error("A background task failed and is started again", exc_info=fault)
        await asyncio.sleep(AFTER_A_FAULT)

"""A gate for runs: many pass at once, but a run suspected of crashing ComfyUI passes alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Gate:
    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._inside = 0
        self._is_taken = False  # a run passes alone, or waits for that

    @contextlib.asynccontextmanager
    async def passed(self, alone: bool) -> AsyncIterator[None]:
        await self._enter(alone)
        try:
            yield
        finally:
            self._inside -= 1
            await self._leave(alone)

    async def _enter(self, alone: bool) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_taken)
            self._is_taken = alone
            try:
                await self._changed.wait_for(lambda: not alone or not self._inside)
            except BaseException:
                self._is_taken = False
                self._changed.notify_all()
                raise
            self._inside += 1

    async def _leave(self, alone: bool) -> None:
        async with self._changed:
            if alone:
                self._is_taken = False
            self._changed.notify_all()

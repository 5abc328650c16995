"""Waits for the end of a job: notified by a runner in this process, polled for a runner in another one."""

import asyncio
from collections import defaultdict

from .queries import Lookup
from .tables import JobRow

ASK_AGAIN = 2.0  # seconds


class Waiting:
    def __init__(self, store: Lookup):
        self._store = store
        self._told: dict[str, set[asyncio.Future[JobRow]]] = defaultdict(set)

    def tell(self, row: JobRow) -> None:
        """Wakes the requests that wait for a job which has ended."""
        for told in self._told.get(row.id, ()):
            if not told.done():
                told.set_result(row)

    async def ended(self, row: JobRow, seconds: float) -> JobRow:
        """Returns the job when it has ended; after `seconds`, or if it was deleted, its last known row."""
        clock = asyncio.get_running_loop()
        told: asyncio.Future[JobRow] = clock.create_future()
        self._told[row.id].add(told)
        try:
            end = clock.time() + seconds
            row = self._store.get(row.id) or row  # it may have ended before the future was added
            while not row.is_over and (left := end - clock.time()) > 0:
                await asyncio.wait({told}, timeout=min(left, ASK_AGAIN))
                current = told.result() if told.done() else self._store.get(row.id)
                if current is None:
                    break
                row = current
            return row
        finally:
            self._told[row.id].discard(told)
            if not self._told[row.id]:
                del self._told[row.id]

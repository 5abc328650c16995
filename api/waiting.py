"""Lets requests wait for their jobs: told at once by a runner of this process, found by asking when it is another's."""

import asyncio
from collections import defaultdict

from .store import Store
from .tables import JobRow

ASK_AGAIN = 2.0  # seconds


class Waiting:
    def __init__(self, store: Store):
        self._store = store
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)

    def tell(self, job_id: str) -> None:
        for event in self._events.get(job_id, ()):
            event.set()

    async def ended(self, job_id: str, seconds: float) -> JobRow | None:
        """The job when it has ended, or as it stands when the time is over; None when it is gone."""
        event = asyncio.Event()
        self._events[job_id].add(event)
        try:
            end = asyncio.get_running_loop().time() + seconds
            while True:
                row = self._store.get(job_id)  # one read: quicker than a thread
                left = end - asyncio.get_running_loop().time()
                if row is None or row.is_over or left <= 0:
                    return row
                try:
                    await asyncio.wait_for(event.wait(), min(left, ASK_AGAIN))
                except TimeoutError:
                    continue
        finally:
            self._events[job_id].discard(event)
            if not self._events[job_id]:
                del self._events[job_id]

"""Limits concurrency (Slots) and rates (Rates) per caller, with bounded memory."""

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator

from limits import RateLimitItem

from .errors import BusyError, OverloadedError

MOST_HOLDERS = 20_000  # of rates; the one unused for longest is dropped first


class Slots:
    """`total` slots, at most `each` per holder. The waiting holder with the fewest slots comes next.

    So one caller's many requests do not delay another's. `patience` is the longest wait in seconds; None waits forever.
    """

    def __init__(self, total: int, each: int, patience: float | None):
        self._total, self._each, self._patience = total, each, patience
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @contextlib.asynccontextmanager
    async def held(self, who: str) -> AsyncIterator[None]:
        """Holds a slot. Raises BusyError when the holder's own slots, OverloadedError when all stay taken too long."""
        await self._take(who)
        try:
            yield
        finally:
            self._leave(who)

    async def _take(self, who: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(turn)
        self._give()
        if turn.done():
            return
        try:
            await asyncio.wait_for(asyncio.shield(turn), self._patience)
        except BaseException as error:  # also a cancellation: a slot that was just assigned goes to the next holder
            if turn.done():
                self._leave(who)
            else:
                self._forget(who, turn)
            if isinstance(error, TimeoutError):
                raise self._refusal(who) from error
            raise

    def _refusal(self, who: str) -> BusyError:
        again = max(1, round(self._patience or 0))
        if self._held[who] >= self._each:
            return BusyError(f"Too many requests at a time: {self._each} are read, one after another.", again)
        return OverloadedError("Too many callers send at the moment: try again.", again)

    def _give(self) -> None:
        while self._waiting and self._held.total() < self._total:
            who = min(self._waiting, key=lambda one: self._held[one])  # the first to come among equals
            if self._held[who] >= self._each:
                return
            turn = self._waiting[who].popleft()
            self._held[who] += 1
            if self._waiting[who]:
                self._waiting.move_to_end(who)
            else:
                del self._waiting[who]
            turn.set_result(None)

    def _forget(self, who: str, turn: asyncio.Future[None]) -> None:
        self._waiting[who].remove(turn)
        if not self._waiting[who]:
            del self._waiting[who]

    def _leave(self, who: str) -> None:
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]
        self._give()


class Rates:
    """Moving windows, one per caller and kind of request."""

    def __init__(self) -> None:
        self._ends: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()  # when places become free

    def wait(self, rate: RateLimitItem, what: str, who: str) -> float:
        """Takes a place in the window and returns 0, or returns the seconds until a place is free."""
        now = time.monotonic()
        ends = self._ends.setdefault((what, who), deque())
        self._ends.move_to_end((what, who))
        while ends and ends[0] <= now:
            ends.popleft()
        if len(ends) >= rate.amount:
            return ends[0] - now
        ends.append(now + rate.get_expiry())
        self._shrink(now)
        return 0.0

    def _shrink(self, now: float) -> None:
        """Drops up to two of the least recently used windows: expired ones, or any if there are too many."""
        for _ in range(2):
            key, ends = next(iter(self._ends.items()))
            if len(self._ends) <= MOST_HOLDERS and ends[-1] > now:
                return
            del self._ends[key]

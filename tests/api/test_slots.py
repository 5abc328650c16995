"""Slots and rates: many requests of one caller wait for each other, and memory stays bounded."""

import asyncio

import pytest
from limits import parse

from consistent_face.api.base import limits
from consistent_face.api.base.errors import BusyError, OverloadedError
from consistent_face.api.base.limits import Rates, Slots
from consistent_face.api.jobs.exclusive_runs import Gate


class Holder:
    """Holds places until it is told to let go."""

    def __init__(self, places: Slots):
        self.places, self.end, self.inside, self.tasks = places, asyncio.Event(), [], []

    async def hold(self, who: str) -> None:
        async with self.places.held(who):
            self.inside.append(who)
            await self.end.wait()

    async def start(self, *who: str) -> None:
        self.tasks += [asyncio.create_task(self.hold(one)) for one in who]
        await asyncio.sleep(0.005)


async def test_one_holder_has_few_places_and_another_is_let_in_at_once() -> None:
    holder = Holder(Slots(8, 2, 0.05))
    await holder.start(*["many"] * 20, "other")
    assert sorted(holder.inside) == ["many", "many", "other"]
    with pytest.raises(BusyError) as refused:
        async with holder.places.held("many"):
            pass
    assert (refused.value.status, refused.value.retry_after) == (429, 1)
    holder.end.set()
    done = await asyncio.gather(*holder.tasks, return_exceptions=True)
    assert sum(isinstance(one, BusyError) for one in done) == 18
    async with holder.places.held("many"), holder.places.held("many"):
        pass


async def test_when_all_places_are_taken_the_next_goes_to_who_has_none() -> None:
    holder = Holder(Slots(4, 3, None))
    await holder.start("a", "a", "b", "b", "a", "a", "new")
    assert holder.inside == ["a", "a", "b", "b"]
    holder.tasks[0].cancel()
    await asyncio.sleep(0.01)
    assert holder.inside[4:] == ["new"]
    holder.end.set()
    await asyncio.gather(*holder.tasks, return_exceptions=True)
    assert len(holder.inside) == 7


async def test_who_finds_all_places_taken_by_others_is_told_so() -> None:
    holder = Holder(Slots(1, 1, 0.02))
    await holder.start("a")
    with pytest.raises(OverloadedError):
        await holder.hold("b")
    holder.end.set()
    await holder.hold("b")


def test_a_rate_is_kept_and_says_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(limits.time, "monotonic", lambda: now)
    rates, rate = Rates(), parse("3/minute")
    assert [rates.wait(rate, "x", "a") for _ in range(3)] == [0, 0, 0]
    now = 150.0
    assert (rates.wait(rate, "x", "a"), rates.wait(rate, "x", "b"), rates.wait(rate, "y", "a")) == (10.0, 0, 0)
    now = 161.0
    assert rates.wait(rate, "x", "a") == 0


def test_a_million_addresses_leave_little_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(limits.time, "monotonic", lambda: now)
    monkeypatch.setattr(limits, "MOST_HOLDERS", 1000)
    rates, rate = Rates(), parse("30/minute")
    for number in range(5000):
        rates.wait(rate, "wrong key", str(number))
    assert len(rates._ends) == 1000
    now = 61.0
    for number in range(600):
        rates.wait(rate, "wrong key", f"later {number}")
    assert len(rates._ends) == 600


async def test_a_suspect_runs_alone() -> None:
    gate, log = Gate(), []

    async def run(name: str, alone: bool) -> None:
        async with gate.passed(alone):
            log.append(f"+{name}")
            await asyncio.sleep(0.01)
            log.append(f"-{name}")

    await asyncio.gather(run("a", False), run("b", False), run("suspect", True), run("c", False), run("d", False))
    assert log[:2] == ["+a", "+b"] and log[4:6] == ["+suspect", "-suspect"] and set(log[6:8]) == {"+c", "+d"}


async def test_a_suspect_that_is_cancelled_while_it_waits_holds_nobody_up() -> None:
    gate = Gate()
    async with gate.passed(False):
        waiting = asyncio.create_task(gate.passed(True).__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(1), gate.passed(False):
            pass

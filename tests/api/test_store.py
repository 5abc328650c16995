"""Compare-and-set: only one of two writers ends a job, and every consequence of the end happens once."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from consistent_face.api.database.keys import Keys
from consistent_face.api.database.tables import Hook, JobRow, Key
from consistent_face.api.database.transitions import Store

OUTPUTS = [{"name": "x.png", "unsafe": False}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def accept(store: Store, **more: object) -> JobRow:
    given = {"key_id": "open", "vendor": "modelslab", "workflow": "face_generator", "values": {}, "photos": {}}
    given |= {"request": {}, "pictures": 1, "delivery": {"format": "png"}, "price": 2, "id": str(uuid.uuid4())}
    return store.add(JobRow(**given | {"created": time.time(), "expires": time.time() + 60} | more), 1000)


def test_jobs_start_in_their_order_and_once(store: Store) -> None:
    accepted = [accept(store).id for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: store.claim(), range(24)))
    started = sorted((row for row in claimed if row is not None), key=lambda row: row.number)
    assert [row.id for row in started] == accepted
    assert claimed.count(None) == 4


def test_only_the_latest_attempt_may_write(store: Store) -> None:
    job = accept(store)
    first = store.claim()
    assert first is not None and store.recover() == 1
    second = store.claim()
    assert second is not None and (first.attempt, second.attempt) == (1, 2)
    assert not store.posting(job.id, first.attempt) and not store.progress(job.id, first.attempt, 50)
    assert not store.succeed(job.id, first.attempt, OUTPUTS, 1.0, 60)
    assert not store.fail(job.id, first.attempt, "X", "late", 60) and not store.requeue(job.id, first.attempt)
    assert store.succeed(job.id, second.attempt, OUTPUTS, 1.0, 60)
    assert not store.succeed(job.id, second.attempt, [], 1.0, 60)
    row = store.get(job.id)
    assert row is not None and (row.state, row.outputs, row.progress) == ("succeeded", OUTPUTS, 100)


def test_credits_come_back_once_and_the_webhook_is_owed_once(store: Store) -> None:
    key_id, _ = Keys(store).add("paying", 10, [])
    job = accept(store, key_id=key_id, webhook="https://a.example/")
    row = store.claim()
    assert row is not None
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: store.fail(job.id, row.attempt, "X", "no face", 60), range(8)))
    assert won.count(None) == 7
    store.cancel(job.id, 60)
    with store.read() as session:
        key, hook = session.get(Key, key_id), session.get(Hook, job.id)
    assert key is not None and key.credits == 10
    assert hook is not None and hook.state == "owed"


def test_a_waiting_job_is_cancelled_at_once_a_running_one_is_told(store: Store) -> None:
    running, waiting = accept(store), accept(store)
    store.claim()
    store.cancel(running.id, 60)
    store.cancel(waiting.id, 60)
    rows = [store.get(running.id), store.get(waiting.id)]
    assert [(row.state, row.cancel) for row in rows if row] == [("running", True), ("cancelled", True)]


def test_numbers_are_never_given_twice(store: Store) -> None:
    first = accept(store)
    store.forget(first.id)
    assert accept(store).number > first.number


def test_whole_numbers_of_63_bits_are_kept(store: Store) -> None:
    job = accept(store, values={"seed": 2**63 - 1})
    row = store.get(job.id)
    assert row is not None and row.values["seed"] == 2**63 - 1


def test_a_run_that_ended_is_not_counted_as_lost(store: Store) -> None:
    job = accept(store)
    row = store.claim()
    assert row is not None
    counted = []
    for act in (store.posting, store.posting, store.part_done, store.posting, store.part_done, store.part_done):
        assert act(job.id, row.attempt)
        counted.append(getattr(store.get(job.id), "posts", None))
    assert store.part_done(job.id, row.attempt) and counted == [1, 2, 1, 2, 1, 0]
    assert getattr(store.get(job.id), "posts", None) == 0

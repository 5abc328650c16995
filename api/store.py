"""The jobs and what becomes of them: every change of state is a compare-and-set, so that only one can win."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Engine, bindparam, case, delete, func, select, update
from sqlalchemy.orm import Session

from .errors import BusyError, ConflictError, CreditsError
from .tables import ENDED, OPEN, Hook, JobRow, Key

RETRY_AFTER = 30  # seconds, ModelsLab's documented value
KEPT = 20  # the ended runs that an estimate is made from
CANCELLED = {"state": "cancelled", "error_kind": "Cancelled", "error": "It was cancelled."}
BY_ID = select(JobRow).where(JobRow.id == bindparam("id"))
OLDEST = select(JobRow.number).where(JobRow.state == "queued").order_by(JobRow.number).limit(1)
START = update(JobRow).where(JobRow.number == OLDEST.scalar_subquery(), JobRow.state == "queued").returning(JobRow)
WRITTEN = {"synchronize_session": False, "populate_existing": True}  # sessions are short: what is written is read back


class Store:
    """All methods are synchronous and quick; each is one transaction. Rows come back detached, as they stood."""

    def __init__(self, engine: Engine):
        self._reading = engine
        self._writing = engine.execution_options(writes=True)
        self._accepting = engine.execution_options(writes=True, durable=True)
        self._turn = threading.Lock()  # SQLite's own waiting for another writer sleeps too long

    def close(self) -> None:
        self._reading.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self._reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self, durable: bool = False) -> Iterator[Session]:
        engine = self._accepting if durable else self._writing
        with self._turn, Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def add(self, row: JobRow, concurrency: int) -> JobRow:
        """Accepts a job and reserves its credits; a repeated idempotency key gives the first job back instead.

        Raises ConflictError, BusyError, CreditsError.
        """
        with self.write(durable=True) as session:
            if (earlier := _earlier(session, row)) is not None:
                return earlier
            _check_concurrency(session, row.key_id, concurrency)
            _reserve(session, row)
            session.add(row)
        return row

    def earlier(self, key_id: str, idempotency_key: str, digest: str) -> JobRow | None:
        """The job that this request already made, before its picture is fetched again."""
        with self.read() as session:
            return _earlier(session, JobRow(key_id=key_id, idempotency_key=idempotency_key, request_digest=digest))

    def get(self, job_id: str) -> JobRow | None:
        with self.read() as session:
            return session.scalar(BY_ID, {"id": job_id})

    def owned(self, job: str | int, key_id: str) -> JobRow | None:
        """A job by its id or number, when it is this key's and not yet expired."""
        mine = JobRow.id == job if isinstance(job, str) else JobRow.number == job
        with self.read() as session:
            return session.scalar(select(JobRow).where(mine, JobRow.key_id == key_id, JobRow.expires > time.time()))

    def jobs(self, key_id: str, limit: int, before: int | None) -> Sequence[JobRow]:
        """A key's jobs, the latest first."""
        wanted = select(JobRow).where(JobRow.key_id == key_id, JobRow.expires > time.time())
        if before is not None:
            wanted = wanted.where(JobRow.number < before)
        with self.read() as session:
            return session.scalars(wanted.order_by(JobRow.number.desc()).limit(limit)).all()

    def claim(self) -> JobRow | None:
        """Starts the oldest waiting job."""
        with self.read() as session:
            if session.scalar(OLDEST) is None:
                return None
        started = {"state": "running", "attempt": JobRow.attempt + 1, "started": time.time(), "progress": 0}
        with self.write() as session:
            return session.scalar(START.values(started), execution_options=WRITTEN)

    def recover(self) -> int:
        """After a start of the service: what ran goes back to the queue. Only for the one owner of the database."""
        with self.write() as session:
            return _count(session.execute(update(JobRow).where(JobRow.state == "running").values(state="queued")))

    def requeue(self, job_id: str, attempt: int) -> bool:
        return self._advance(job_id, attempt, state="queued")

    def posting(self, job_id: str, attempt: int) -> JobRow | None:
        """Counts a prompt before it is given to ComfyUI; None when the attempt is no longer the latest."""
        with self.write() as session:
            return _set(session, job_id, attempt, {"posts": JobRow.posts + 1})

    def part_done(self, job_id: str, attempt: int) -> bool:
        return self._advance(job_id, attempt, posts=0)

    def progress(self, job_id: str, attempt: int, percent: int) -> bool:
        return self._advance(job_id, attempt, progress=percent)

    def succeed(
        self, job_id: str, attempt: int, outputs: list[dict], seconds: float, retention: float
    ) -> JobRow | None:
        """The one moment in which a result becomes visible. Of all that end a job one gets its row, the others None."""
        return self._end(job_id, attempt, retention, state="succeeded", outputs=outputs, seconds=seconds, progress=100)

    def fail(self, job_id: str, attempt: int, kind: str, reason: str, retention: float) -> JobRow | None:
        return self._end(job_id, attempt, retention, state="failed", error_kind=kind, error=reason)

    def cancelled(self, job_id: str, attempt: int, retention: float) -> JobRow | None:
        return self._end(job_id, attempt, retention, **CANCELLED)

    def cancel(self, job_id: str, retention: float) -> JobRow | None:
        """Ends a waiting job, and gives its row; a running one is told, and its runner ends it."""
        with self.write() as session:
            row = session.scalar(BY_ID, {"id": job_id})
            if row is None or row.is_over:
                return None
            row.cancel = True
            if row.state != "queued":
                return None
            row.state = "running"  # as `_finish` takes it
            session.flush()
            return _finish(session, job_id, row.attempt, retention, CANCELLED)

    def expire_at(self, job_id: str, moment: float) -> None:
        with self.write() as session:
            session.execute(update(JobRow).where(JobRow.id == job_id).values(expires=moment))

    def cleaned(self, job_id: str) -> None:
        with self.write() as session:
            session.execute(update(JobRow).where(JobRow.id == job_id).values(cleaned=True))

    def uncleaned(self, limit: int = 100) -> Sequence[JobRow]:
        """Ended jobs of which ComfyUI may still hold something."""
        with self.read() as session:
            wanted = select(JobRow).where(JobRow.state.in_(ENDED), ~JobRow.cleaned)
            return session.scalars(wanted.order_by(JobRow.number).limit(limit)).all()

    def overdue(self, limit: int = 100) -> Sequence[JobRow]:
        """Unfinished jobs whose time is over: they are cancelled, so that no photo waits for ever."""
        with self.read() as session:
            late = (JobRow.expires <= time.time(), JobRow.state.in_(("queued", "running")), ~JobRow.cancel)
            return session.scalars(select(JobRow).where(*late).limit(limit)).all()

    def expired(self, limit: int = 100) -> Sequence[JobRow]:
        with self.read() as session:
            over = select(JobRow).where(JobRow.expires <= time.time(), JobRow.state.in_(ENDED))
            return session.scalars(over.order_by(JobRow.expires).limit(limit)).all()

    def forget(self, job_id: str) -> None:
        with self.write() as session:
            session.execute(delete(Hook).where(Hook.job_id == job_id))
            session.execute(delete(JobRow).where(JobRow.id == job_id))

    def compact(self) -> None:
        """Empties the write-ahead log, in which deleted rows would stand until it is written over."""
        with self._reading.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def ahead(self, row: JobRow) -> int:
        """Unfinished jobs that come before this one."""
        with self.read() as session:
            waiting = (
                select(func.count())
                .select_from(JobRow)
                .where(JobRow.state.in_(("queued", "running")), JobRow.number < row.number)
            )
            return session.scalar(waiting) or 0

    def usual_seconds(self, workflow: str) -> float | None:
        """The mean time of the latest runs of a workflow."""
        with self.read() as session:
            latest = select(JobRow.seconds).where(JobRow.workflow == workflow, JobRow.state == "succeeded")
            found = [one for one in session.scalars(latest.order_by(JobRow.number.desc()).limit(KEPT)) if one]
        return sum(found) / len(found) if found else None

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        with self.read() as session:
            return {
                state: count
                for state, count in session.execute(select(JobRow.state, func.count()).group_by(JobRow.state))
            }

    def _advance(self, job_id: str, attempt: int, **values: object) -> bool:
        with self.write() as session:
            return _set(session, job_id, attempt, values) is not None

    def _end(self, job_id: str, attempt: int, retention: float, **values: object) -> JobRow | None:
        with self.write() as session:
            return _finish(session, job_id, attempt, retention, values)


def _set(session: Session, job_id: str, attempt: int, values: Mapping[str, object]) -> JobRow | None:
    """The row as it stands then; None, and nothing is written, when the attempt is not the latest that runs."""
    latest = (JobRow.id == job_id, JobRow.state == "running", JobRow.attempt == attempt)
    return session.scalar(update(JobRow).where(*latest).values(values).returning(JobRow), execution_options=WRITTEN)


def _finish(
    session: Session, job_id: str, attempt: int, retention: float, values: Mapping[str, object]
) -> JobRow | None:
    """The end of a job, with all that hangs on it: unused credits go back, the webhook is owed."""
    now = time.time()
    expires = case((JobRow.expires > now, now + retention), else_=JobRow.expires)  # or it was deleted while it ran
    row = _set(session, job_id, attempt, {**values, "ended": now, "expires": expires})
    if row is None:
        return None
    if row.state != "succeeded":
        session.execute(update(Key).where(Key.id == row.key_id).values(credits=Key.credits + row.price))
    if row.webhook is not None:
        session.add(Hook(job_id=row.id, url=row.webhook, due=now))
    return row


def _earlier(session: Session, row: JobRow) -> JobRow | None:
    if row.idempotency_key is None:
        return None
    same = (JobRow.key_id == row.key_id, JobRow.idempotency_key == row.idempotency_key)
    earlier = session.scalar(select(JobRow).where(*same))
    if earlier is not None and earlier.request_digest != row.request_digest:
        raise ConflictError("This Idempotency-Key came with another request before: use a new one for each request.")
    return earlier


def _check_concurrency(session: Session, key_id: str, limit: int) -> None:
    unfinished = (
        select(func.count()).select_from(JobRow).where(JobRow.key_id == key_id, JobRow.state.in_(("queued", "running")))
    )
    if (session.scalar(unfinished) or 0) >= limit:
        raise BusyError(f"Rate limit exceeded. Maximum {limit} queued requests allowed.", RETRY_AFTER)


def _reserve(session: Session, row: JobRow) -> None:
    if row.key_id == OPEN:
        return
    enough = (Key.id == row.key_id, (Key.credits.is_(None)) | (Key.credits >= row.price))
    if _count(session.execute(update(Key).where(*enough).values(credits=Key.credits - row.price))) != 1:
        found = session.scalar(select(Key.credits).where(Key.id == row.key_id))
        raise CreditsError(f"Insufficient credits: {row.price} are needed and {found or 0} are left.")


def _count(result: object) -> int:
    return result.rowcount  # type: ignore[attr-defined]

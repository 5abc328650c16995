"""Changes the state of jobs. Every change is a compare-and-set, so that only one of two writers succeeds."""

import time
from collections.abc import Mapping

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.orm import Session

from ..base.errors import BusyError, CreditsError
from .queries import BY_ID, UNFINISHED, Lookup, earlier_of
from .tables import OPEN, Bucket, Hook, JobRow, Key

RETRY_AFTER = 30  # seconds, ModelsLab's documented value
UNREADABLE = "The stored data of this job cannot be read: tell the operator the job's id."
CANCELLED = {"state": "cancelled", "error_kind": "Cancelled", "error": "The job was cancelled."}
# Older versions stored the key's id in JobRow.bucket: it is replaced by the sealed access data.
SEALED = (
    update(JobRow)
    .where(JobRow.bucket.in_(select(Bucket.key_id)))
    .values(bucket=select(Bucket.sealed).where(Bucket.key_id == JobRow.bucket).scalar_subquery())
)
OLDEST = select(JobRow.number).where(JobRow.state == "queued").order_by(JobRow.number).limit(1)
START = update(JobRow).where(JobRow.number == OLDEST.scalar_subquery(), JobRow.state == "queued").returning(JobRow.id)
WRITTEN = {"synchronize_session": False, "populate_existing": True}  # returned rows have the new values


class Store(Lookup):
    """Changes jobs. All methods are synchronous and quick; each is one transaction."""

    def add(self, row: JobRow, concurrency: int) -> JobRow:
        """Accepts a job and reserves its credits; returns the earlier job of a repeated idempotency key instead.

        Raises ConflictError, BusyError, CreditsError.
        """
        with self.write() as session:
            if (earlier := earlier_of(session, row)) is not None:
                return earlier
            _check_concurrency(session, row.key_id, concurrency)
            _reserve(session, row)
            session.add(row)
        return row

    def claim(self) -> JobRow | None:
        """Starts the oldest queued job and returns it; None if there is none."""
        with self.read() as session:
            if session.scalar(OLDEST) is None:
                return None
        started = {"state": "running", "attempt": JobRow.attempt + 1, "started": time.time(), "progress": 0}
        with self.write() as session:
            job = session.scalar(START.values(started), execution_options={"synchronize_session": False})
        try:
            return self.get(job) if job is not None else None
        except ValueError:  # its JSON is broken: otherwise it would be claimed again and block the queue
            with self.write() as session:
                broken = {"state": "failed", "ended": time.time(), "error_kind": "ValueError", "error": UNREADABLE}
                session.execute(update(JobRow).where(JobRow.id == job).values(broken))
            return None

    def recover(self) -> int:
        """Queues running jobs again after a start of the service. Only the process with the lock may call it."""
        with self.write() as session:
            session.execute(SEALED, execution_options={"synchronize_session": False})
            return _count(session.execute(update(JobRow).where(JobRow.state == "running").values(state="queued")))

    def requeue(self, job_id: str, attempt: int) -> bool:
        return self._advance(job_id, attempt, state="queued")

    def running(self, job_id: str, attempt: int) -> JobRow | None:
        """The current row; None if the attempt is no longer the latest."""
        row = self.get(job_id)
        return row if row is not None and (row.state, row.attempt) == ("running", attempt) else None

    def posting(self, job_id: str, attempt: int) -> JobRow | None:
        """Counts a run that ComfyUI begins; returns the row, or None if the attempt is no longer the latest."""
        with self.write() as session:
            return _set(session, job_id, attempt, {"posts": JobRow.posts + 1})

    def part_done(self, job_id: str, attempt: int) -> bool:
        """Takes one run off the count: it was not lost. Returns False if the attempt is no longer the latest."""
        return self._advance(job_id, attempt, posts=func.max(JobRow.posts - 1, 0))

    def progress(self, job_id: str, attempt: int, percent: int) -> bool:
        return self._advance(job_id, attempt, progress=percent)

    def succeed(
        self, job_id: str, attempt: int, outputs: list[dict], seconds: float, retention: float
    ) -> JobRow | None:
        """Ends a job and makes its results visible. Returns its row, or None if something else ended it before."""
        return self._end(job_id, attempt, retention, state="succeeded", outputs=outputs, seconds=seconds, progress=100)

    def fail(self, job_id: str, attempt: int, kind: str, reason: str, retention: float) -> JobRow | None:
        return self._end(job_id, attempt, retention, state="failed", error_kind=kind, error=reason)

    def cancelled(self, job_id: str, attempt: int, retention: float) -> JobRow | None:
        return self._end(job_id, attempt, retention, **CANCELLED)

    def cancel(self, job_id: str, retention: float) -> JobRow | None:
        """Ends a queued job and returns its row. Marks a running job, which its runner ends; returns None."""
        with self.write() as session:
            row = session.scalar(BY_ID, {"id": job_id})
            if row is None or row.is_over:
                return None
            row.cancel = True
            if row.state != "queued":
                return None
            row.state = "running"  # the state that `_finish` expects
            session.flush()
            return _finish(session, job_id, row.attempt, retention, CANCELLED)

    def expire_at(self, job_id: str, moment: float) -> None:
        with self.write() as session:
            session.execute(update(JobRow).where(JobRow.id == job_id).values(expires=moment))

    def cleaned(self, job_id: str) -> None:
        with self.write() as session:
            session.execute(update(JobRow).where(JobRow.id == job_id).values(cleaned=True))

    def forget(self, job_id: str) -> None:
        with self.write() as session:
            session.execute(delete(Hook).where(Hook.job_id == job_id))
            session.execute(delete(JobRow).where(JobRow.id == job_id))

    def _advance(self, job_id: str, attempt: int, **values: object) -> bool:
        with self.write() as session:
            return _set(session, job_id, attempt, values) is not None

    def _end(self, job_id: str, attempt: int, retention: float, **values: object) -> JobRow | None:
        with self.write() as session:
            return _finish(session, job_id, attempt, retention, values)


def _set(session: Session, job_id: str, attempt: int, values: Mapping[str, object]) -> JobRow | None:
    """Writes values and returns the row; writes nothing and returns None if the attempt is not the running one."""
    latest = (JobRow.id == job_id, JobRow.state == "running", JobRow.attempt == attempt)
    return session.scalar(update(JobRow).where(*latest).values(values).returning(JobRow), execution_options=WRITTEN)


def _finish(
    session: Session, job_id: str, attempt: int, retention: float, values: Mapping[str, object]
) -> JobRow | None:
    """Ends a job: gives back unused credits and queues the webhook. Returns the row, or None as `_set` does."""
    now = time.time()
    expires = case((JobRow.expires > now, now + retention), else_=JobRow.expires)  # else it was deleted while it ran
    row = _set(session, job_id, attempt, {**values, "ended": now, "expires": expires})
    if row is None:
        return None
    if row.state != "succeeded":
        session.execute(update(Key).where(Key.id == row.key_id).values(credits=Key.credits + row.price))
    if row.webhook is not None:
        session.add(Hook(job_id=row.id, url=row.webhook, due=now))
    return row


def _check_concurrency(session: Session, key_id: str, limit: int) -> None:
    unfinished = select(func.count()).select_from(JobRow).where(JobRow.key_id == key_id, JobRow.state.in_(UNFINISHED))
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

"""Reads the jobs table: owner, state, queue position, and the jobs that are due for cleaning or expiry."""

import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, bindparam, func, select
from sqlalchemy.orm import Session

from ..base.errors import ConflictError
from .engine import Database
from .tables import ENDED, JobRow

KEPT = 20  # latest runs that the estimated time is the mean of
UNFINISHED = ("queued", "running")
BY_ID = select(JobRow).where(JobRow.id == bindparam("id"))


class Lookup(Database):
    """Reads jobs. All methods are synchronous and quick; rows do not change after they were read."""

    def earlier(self, key_id: str, idempotency_key: str, digest: str) -> JobRow | None:
        """The job of an earlier request with this idempotency key; None without one. Raises ConflictError."""
        with self.read() as session:
            return earlier_of(session, JobRow(key_id=key_id, idempotency_key=idempotency_key, request_digest=digest))

    def get(self, job_id: str) -> JobRow | None:
        with self.read() as session:
            return session.scalar(BY_ID, {"id": job_id})

    def owned(self, job: str | int, key_id: str) -> JobRow | None:
        """A job by its id or number; None if it is another key's or expired."""
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

    def ids(self) -> set[str]:
        with self.read() as session:
            return set(session.scalars(select(JobRow.id)))

    # These return all ids: with a limit, jobs that always fail would delay the others for ever.

    def uncleaned(self) -> Sequence[str]:
        """Ended jobs whose files or runs may still be in ComfyUI."""
        return self._ids(JobRow.state.in_(ENDED), ~JobRow.cleaned)

    def overdue(self) -> Sequence[str]:
        """Unfinished jobs that have expired: they are cancelled, so that their photos are deleted."""
        return self._ids(JobRow.expires <= time.time(), JobRow.state.in_(UNFINISHED), ~JobRow.cancel)

    def expired(self) -> Sequence[str]:
        return self._ids(JobRow.expires <= time.time(), JobRow.state.in_(ENDED))

    def _ids(self, *wanted: ColumnElement[bool]) -> Sequence[str]:
        with self.read() as session:
            return session.scalars(select(JobRow.id).where(*wanted).order_by(JobRow.number)).all()

    def ahead(self, row: JobRow) -> int:
        """The number of unfinished jobs before this one."""
        with self.read() as session:
            waiting = (
                select(func.count()).select_from(JobRow).where(JobRow.state.in_(UNFINISHED), JobRow.number < row.number)
            )
            return session.scalar(waiting) or 0

    def usual_seconds(self, workflow: str) -> float | None:
        """The mean time of the latest runs of a workflow; None without runs."""
        with self.read() as session:
            latest = select(JobRow.seconds).where(JobRow.workflow == workflow, JobRow.state == "succeeded")
            found = [one for one in session.scalars(latest.order_by(JobRow.number.desc()).limit(KEPT)) if one]
        return sum(found) / len(found) if found else None

    def counts(self) -> dict[str, int]:
        """The number of jobs by state."""
        with self.read() as session:
            return {
                state: count
                for state, count in session.execute(select(JobRow.state, func.count()).group_by(JobRow.state))
            }


def earlier_of(session: Session, row: JobRow) -> JobRow | None:
    """The earlier job with the row's idempotency key. Raises ConflictError if it came from another request."""
    if row.idempotency_key is None:
        return None
    same = (JobRow.key_id == row.key_id, JobRow.idempotency_key == row.idempotency_key)
    earlier = session.scalar(select(JobRow).where(*same))
    if earlier is not None and earlier.request_digest != row.request_digest:
        raise ConflictError("This Idempotency-Key was used before for another request: use a new one for each request.")
    return earlier

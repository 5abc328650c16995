"""The SQLite tables: keys, jobs, the webhook outbox, the keys' own buckets. Times are seconds since 1970."""

from sqlalchemy import JSON, BigInteger, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

OPEN = "open"  # the key id of all callers of a service without keys
OPERATORS = "service"  # the value of JobRow.bucket for the operator's S3 bucket
ENDED = ("succeeded", "failed", "cancelled")


class Base(DeclarativeBase):
    type_annotation_map = {dict: JSON, list: JSON}


class Key(Base):
    """An API key. Only its SHA-256 is stored: 256 random bits need no slow hash."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list]
    credits: Mapped[int | None] = mapped_column(BigInteger)  # None: unlimited
    created: Mapped[float]
    revoked: Mapped[float | None]


class JobRow(Base):
    """A job from its acceptance to its expiry.

    States: queued -> running -> succeeded | failed | cancelled. A running job is queued again when ComfyUI or the
    service was lost. `attempt` counts the starts: only the latest attempt may write to the row.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("key_id", "idempotency_key"),
        Index("jobs_by_state", "state", "number"),
        Index("jobs_by_expiry", "expires"),
        {"sqlite_autoincrement": True},  # numbers are never reused
    )

    number: Mapped[int] = mapped_column(primary_key=True)  # ModelsLab's id
    id: Mapped[str] = mapped_column(unique=True)
    key_id: Mapped[str]
    vendor: Mapped[str]
    workflow: Mapped[str]
    values: Mapped[dict]  # settled, so that every attempt runs the same order
    photos: Mapped[dict]  # parameter -> file name in the photos folder
    request: Mapped[dict]  # the fields that the vendor's answer echoes; no picture bytes, no key
    pictures: Mapped[int]
    delivery: Mapped[dict]  # {"format": "png" | "jpeg", "low_res": bool}
    bucket: Mapped[str] = mapped_column(default="")  # "": the data folder; OPERATORS; or the key's, sealed
    webhook: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    request_digest: Mapped[str] = mapped_column(default="")
    price: Mapped[int] = mapped_column(default=0)

    state: Mapped[str] = mapped_column(default="queued")
    attempt: Mapped[int] = mapped_column(default=0)
    posts: Mapped[int] = mapped_column(default=0)  # runs that ComfyUI began and did not end
    cancel: Mapped[bool] = mapped_column(default=False)
    progress: Mapped[int] = mapped_column(default=0)  # percent
    created: Mapped[float]
    started: Mapped[float | None]
    ended: Mapped[float | None]
    seconds: Mapped[float | None]  # of ComfyUI's run
    expires: Mapped[float]
    outputs: Mapped[list] = mapped_column(default=list)  # [{"name", "low", "unsafe"}]
    error_kind: Mapped[str | None]
    error: Mapped[str | None]
    cleaned: Mapped[bool] = mapped_column(default=False)  # whether its files and runs are deleted from ComfyUI

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

    @property
    def in_own_bucket(self) -> bool:
        """Whether the results go to the key's own bucket."""
        return self.bucket not in ("", OPERATORS)

    def output(self, number: int) -> str:
        """The file name of a result, the same at every attempt."""
        return f"{self.id}-{number}.{'jpg' if self.delivery['format'] == 'jpeg' else 'png'}"

    def low_output(self, number: int) -> str:
        """The file name of a result's low-resolution copy."""
        return f"{self.id}-{number}-low.jpg"


class Hook(Base):
    """A webhook of the outbox: written in one transaction with the job's end, then sent until accepted or given up."""

    __tablename__ = "hooks"

    job_id: Mapped[str] = mapped_column(primary_key=True)  # also the stable webhook id
    url: Mapped[str]
    state: Mapped[str] = mapped_column(default="owed")  # owed, delivered, dead
    attempts: Mapped[int] = mapped_column(default=0)
    due: Mapped[float]
    answer: Mapped[str | None]  # the result of the last attempt


class Bucket(Base):
    """A key's own S3 bucket; its access data is sealed (encrypted)."""

    __tablename__ = "buckets"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[str]

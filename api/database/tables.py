"""The SQLite tables: keys, jobs, the webhook outbox, the keys' own buckets. Times are seconds since 1970."""

from sqlalchemy import JSON, BigInteger, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

OPEN = "open"  # the key id of callers of a service without keys
OPERATORS = "service"  # the bucket of the operator's own S3
ENDED = ("succeeded", "failed", "cancelled")


class Base(DeclarativeBase):
    type_annotation_map = {dict: JSON, list: JSON}


class Key(Base):
    """An API key. It is printed once and kept as a SHA-256: 256 random bits need no slow hash."""

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

    States: queued -> running -> succeeded | failed | cancelled, and back from running to queued when its ComfyUI or
    its service was lost. `attempt` counts the starts and fences them: only the latest one's writes are taken.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("key_id", "idempotency_key"),
        Index("jobs_by_state", "state", "number"),
        Index("jobs_by_expiry", "expires"),
        {"sqlite_autoincrement": True},  # a number is never given twice
    )

    number: Mapped[int] = mapped_column(primary_key=True)  # ModelsLab's id
    id: Mapped[str] = mapped_column(unique=True)
    key_id: Mapped[str]
    vendor: Mapped[str]
    workflow: Mapped[str]
    values: Mapped[dict]  # settled: the order is the same at every attempt
    photos: Mapped[dict]  # parameter -> file name in the photos folder
    request: Mapped[dict]  # what the vendor's answer needs of the request; no picture bytes, no key
    pictures: Mapped[int]
    delivery: Mapped[dict]  # {"format": "png" | "jpeg", "low_res": bool}
    bucket: Mapped[str] = mapped_column(default="")  # "" a folder, OPERATORS, otherwise the sealed access to the key's
    webhook: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    request_digest: Mapped[str] = mapped_column(default="")
    price: Mapped[int] = mapped_column(default=0)

    state: Mapped[str] = mapped_column(default="queued")
    attempt: Mapped[int] = mapped_column(default=0)
    posts: Mapped[int] = mapped_column(default=0)  # runs that ComfyUI began and has not ended
    cancel: Mapped[bool] = mapped_column(default=False)
    progress: Mapped[int] = mapped_column(default=0)  # percent
    created: Mapped[float]
    started: Mapped[float | None]
    ended: Mapped[float | None]
    seconds: Mapped[float | None]  # of ComfyUI's own work
    expires: Mapped[float]
    outputs: Mapped[list] = mapped_column(default=list)  # [{"name", "low", "unsafe"}]
    error_kind: Mapped[str | None]
    error: Mapped[str | None]
    cleaned: Mapped[bool] = mapped_column(default=False)  # whether ComfyUI holds nothing of it any more

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

    @property
    def in_own_bucket(self) -> bool:
        """Whether the results go to a bucket of the key's own."""
        return self.bucket not in ("", OPERATORS)

    def output(self, number: int) -> str:
        """The name of a result's file, the same at every attempt."""
        return f"{self.id}-{number}.{'jpg' if self.delivery['format'] == 'jpeg' else 'png'}"

    def low_output(self, number: int) -> str:
        """The name of its copy in low resolution, where there is one."""
        return f"{self.id}-{number}-low.jpg"


class Hook(Base):
    """A webhook that is owed: written with the job's end in one transaction, sent until it is taken or given up."""

    __tablename__ = "hooks"

    job_id: Mapped[str] = mapped_column(primary_key=True)  # also the stable webhook id
    url: Mapped[str]
    state: Mapped[str] = mapped_column(default="owed")  # owed, delivered, dead
    attempts: Mapped[int] = mapped_column(default=0)
    due: Mapped[float]
    answer: Mapped[str | None]  # what the last attempt met


class Bucket(Base):
    """A key's own S3: everything but the key's id is sealed."""

    __tablename__ = "buckets"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[str]

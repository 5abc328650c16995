"""Opens the SQLite file: one writer at a time, and deleted rows are erased from the disk.

Every commit survives the death of the process, and after `sync` that of the machine. Acceptances are synced before they
are answered; what a dead machine forgets of a run is found again in ComfyUI or run again.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from .tables import Base

NAME = "jobs.db"
PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=20000", "secure_delete=ON")


def _connect(folder: Path) -> Engine:
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):  # another user's folder, lent to this one
        folder.chmod(0o700)  # prompts, photos and webhooks are nobody else's on this machine
    engine = create_engine(f"sqlite:///{(folder / NAME).as_posix()}", pool_size=20)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    Base.metadata.create_all(engine)
    return engine


def _prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined] # transactions are begun by `_begin`
    for pragma in PRAGMAS:
        connection.cursor().execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """A transaction that reads first and writes later would fail beside another writer; these wait instead.

    Reading needs none: it is one statement, which sees one moment by itself.
    """
    if connection.get_execution_options().get("writes"):
        connection.connection.cursor().execute("BEGIN IMMEDIATE")


class Database:
    """The one of a data folder, made when it is not there.

    Sessions are short: one statement that reads, or one transaction that writes. Rows come back detached.
    """

    def __init__(self, folder: Path):
        self._reading = _connect(folder)
        self._writing = self._reading.execution_options(writes=True)
        self._log = folder / f"{NAME}-wal"
        self._turn = threading.Lock()  # SQLite's own waiting for another writer sleeps too long

    def close(self) -> None:
        self._reading.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self._reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._turn, Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def sync(self) -> None:
        """Waits until the disk has all commits. SQLite's own way of it would keep all writers waiting meanwhile."""
        with self._log.open("rb+") as log:  # it holds what is not in the database file yet; no lock hangs on it
            os.fsync(log.fileno())

    def compact(self) -> None:
        """Empties the write-ahead log, in which deleted rows would stand until it is written over.

        In turn: of two at once SQLite does one and lets the other return before it is done.
        """
        with self._turn, self._reading.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

"""Opens the SQLite file: one writer at a time, and deleted rows are erased from the disk.

Every commit survives a crash of the process; after `sync` it also survives a power failure. An accepted job is synced
before it is answered. If a power failure loses a run's later state, the run is found in ComfyUI again or repeated.
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
    with contextlib.suppress(PermissionError):  # the folder belongs to another user
        folder.chmod(0o700)  # other users of this machine must not read prompts and photos
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
    """Begins writing transactions at once: one that reads first fails if another writer commits in between.

    Readers need no transaction: they run one statement, which reads one snapshot.
    """
    if connection.get_execution_options().get("writes"):
        connection.connection.cursor().execute("BEGIN IMMEDIATE")


class Database:
    """The database of a data folder; created if it does not exist.

    Sessions are short: one reading statement or one writing transaction. Rows are returned detached.
    """

    def __init__(self, folder: Path):
        self._reading = _connect(folder)
        self._writing = self._reading.execution_options(writes=True)
        self._log = folder / f"{NAME}-wal"
        self._turn = threading.Lock()  # SQLite's own wait for another writer sleeps too long

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
        """Writes all commits to the disk. SQLite's synchronous=FULL would block all writers meanwhile."""
        with self._log.open("rb+") as log:  # it has all commits that the database file lacks; opening it takes no lock
            os.fsync(log.fileno())

    def compact(self) -> None:
        """Empties the write-ahead log, which otherwise keeps deleted rows until it is overwritten.

        Calls take turns: of two at once, SQLite runs one and lets the other return before it is done.
        """
        with self._turn, self._reading.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

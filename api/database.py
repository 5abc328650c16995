"""The SQLite file: one writer at a time, and nothing left in it of what is deleted.

Every commit survives the death of the process; the acceptance of a job also that of the machine (`durable`): what a
dead machine forgets of a run is found again in ComfyUI or run again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from .tables import Base

PRAGMAS = ("journal_mode=WAL", "busy_timeout=20000", "secure_delete=ON")


def _connect(folder: Path) -> Engine:
    folder.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{(folder / 'jobs.db').as_posix()}", pool_size=20)
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
    options = connection.get_execution_options()
    if options.get("writes"):
        driver = connection.connection.cursor()
        driver.execute(f"PRAGMA synchronous={'FULL' if options.get('durable') else 'NORMAL'}")
        driver.execute("BEGIN IMMEDIATE")


class Database:
    """The one of a data folder, made when it is not there.

    Sessions are short: one statement that reads, or one transaction that writes. Rows come back detached.
    """

    def __init__(self, folder: Path):
        engine = self._reading = _connect(folder)
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

    def compact(self) -> None:
        """Empties the write-ahead log, in which deleted rows would stand until it is written over.

        In turn: of two at once SQLite does one and lets the other return before it is done.
        """
        with self._turn, self._reading.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

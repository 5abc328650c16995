"""The SQLite file: one writer at a time, and nothing left in it of what is deleted.

Every commit survives the death of the process; the acceptance of a job also that of the machine (`durable`): what a
dead machine forgets of a run is found again in ComfyUI or run again.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from .tables import Base

PRAGMAS = ("journal_mode=WAL", "busy_timeout=20000", "secure_delete=ON")


def connect(folder: Path) -> Engine:
    """The database of this data folder, made when it is not there."""
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

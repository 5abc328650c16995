"""Locks the data folder: a second service would take the first one's running jobs for lost."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


class AlreadyRunningError(RuntimeError):
    """Another process serves this folder."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Holds the lock of the folder; the system releases it however the process ends. Raises AlreadyRunningError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            raise AlreadyRunningError(
                f"Another service runs on {folder}: stop it, or set CONSISTENT_FACE_DATA."
            ) from error
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

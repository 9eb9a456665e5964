"""Folders for what outlives a run: of the node's user alone, written whole or not at all, by runs that take turns.

What stands in a folder is in its ``CURRENT``. A run that is ended as it writes, or a power failure, leaves what was there before,
or nothing; what it left behind itself, secrets perhaps, goes with the next write.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

CURRENT = "current"
PAUSE = 0.05  # seconds between two looks whether it is this run's turn

_FRESH = "fresh-"
_DRAFT = "draft"


@contextmanager
def turn(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """The folder's ``CURRENT``, which may not exist yet, for as long as no other run may change it. Who has the turn waits for no
    peer: others wait for it. ``waiting`` is called now and then until the turn has come, and may raise."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("a") as lock:
        while not _locked(lock):
            waiting()
            time.sleep(PAUSE)
        os.utime(lock.fileno())  # says when the folder was used last
        yield folder / CURRENT


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def replacing(current: Path) -> Iterator[Path]:
    """An empty folder, whose files take the place of those of ``current`` at the end. In a turn."""
    for left in current.parent.glob(f"{_FRESH}*"):
        shutil.rmtree(left)
    fresh = Path(tempfile.mkdtemp(prefix=_FRESH, dir=current.parent))  # of mode 0700
    yield fresh
    for path in fresh.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(current, ignore_errors=True)  # files that are mapped stay readable
    fresh.rename(current)


def put(path: Path, content: bytes) -> None:
    """Write a file of this user's alone, whole or not at all, also through a power failure."""
    draft = path.with_name(_DRAFT)
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    keep_names(path.parent)


def keep_names(folder: Path) -> None:
    """Make the names in a folder last through a power failure, as they stand."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

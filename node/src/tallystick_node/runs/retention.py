"""What a node's folders ``runs`` and ``kept`` hold, and for how long.

Both would grow with every task. A folder goes when it has not been used for the days that the settings say; when all together
take more than the bytes that the settings say, those go that were used least recently. Nothing goes that an unfinished task may
use. From the folder of a run that has ended, lack of room takes all but the opening of this party's commitment, which is small and
which a dispute may ask for: that stays for its days.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.task import TaskSpec

from tallystick_node.settings import Settings
from tallystick_node.store.database import ACTIVE, RunRecord, Store
from tallystick_node.workloads.registry import workload_named

LOG = structlog.get_logger()
DAY = 86_400.0  # seconds
OPENING = "opening.json"
GOING = ".removed"  # what a folder is named while its files are removed: nobody opens it by its own name meanwhile


@dataclass(frozen=True)
class Entry:
    """A folder, when it was used last (seconds since 1970), and the bytes on the disk that removing it would free."""

    path: Path
    used: float
    size: int


class Retention:
    """Keeps the folders of one node within its settings."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    def sweep(self) -> None:
        """Remove what need not be kept, and log each. What cannot be read or removed is logged and left, and so is
        everything where a stored task cannot be read: what it uses is not known."""
        settings = self._settings
        try:
            _bound(settings.home / "kept", settings.kept_days, settings.kept_bytes, self._tables, _remove)
            _bound(settings.home / "runs", settings.runs_days, settings.runs_bytes, self._running, _strip)
        except (InvalidTask, MalformedDocument) as error:
            LOG.warning("folders are left as they are, since a stored task cannot be read", problem=str(error))

    def _tables(self) -> frozenset[str]:
        """The names of tables that unfinished tasks use."""
        specs = (TaskSpec.parse(run.spec) for run in self._store.active_runs())
        return frozenset(name for spec in specs for name in workload_named(spec.workload).kept(spec))

    def _running(self) -> frozenset[str]:
        """The folders of attempts whose task is unfinished, or failed within a day and may be tried again."""
        runs = self._store.runs_since(time.time() - DAY)
        going = [run for run in runs if run.state in ACTIVE or (run.state == "failed" and _may_go_on(run))]
        return frozenset(folder_name(run.task, attempt) for run in going for attempt in range(1, run.attempt + 1))


def folder_name(task: str, attempt: int) -> str:
    """The name of an attempt's folder in ``runs``."""
    return f"{task[2:18]}-{attempt}"


def _may_go_on(run: RunRecord) -> bool:
    return run.attempt < TaskSpec.parse(run.spec).attempts


def _bound(folder: Path, days: int, most: int, in_use: Callable[[], frozenset[str]], free: Callable[[Entry], None]) -> None:
    """Remove the folders below ``folder`` that are older than ``days``, then ``free`` the oldest while all take more than ``most``
    bytes; none that is in use, which is asked anew for each."""
    entries = sorted(_entries(folder), key=lambda entry: entry.used)
    oldest = time.time() - days * DAY
    total = sum(entry.size for entry in entries)
    for entry in entries:
        late = entry.used < oldest
        if not (late or (total > most and entry.size)) or entry.path.name in in_use():
            continue
        try:
            (_remove if late else free)(entry)
        except OSError as error:
            LOG.warning("a folder cannot be removed", folder=str(entry.path), problem=error.strerror)
            continue
        total -= entry.size
        why = f"not used for {days} days" if late else f"more than {most} bytes are kept"
        LOG.info("folder removed", folder=str(entry.path), bytes=entry.size, reason=why)


def _entries(folder: Path) -> Iterator[Entry]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        try:
            if path.name.endswith(GOING):  # a node that was ended as it removed it
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_dir() and not path.is_symlink():
                yield _entry(path)
        except FileNotFoundError:  # a run moves its files as this looks at them
            continue
        except OSError as error:
            LOG.warning("a folder cannot be read", folder=str(path), problem=error.strerror)


def _entry(path: Path) -> Entry:
    facts = [(each, each.lstat()) for each in (path, *path.rglob("*"))]
    freed = sum(found.st_blocks * 512 for each, found in facts if not each.is_dir() and each.name != OPENING)
    return Entry(path, max(found.st_mtime for _, found in facts), freed)


def _remove(entry: Entry) -> None:
    going = entry.path.with_name(entry.path.name + GOING)
    entry.path.rename(going)
    shutil.rmtree(going)


def _strip(entry: Entry) -> None:
    """Remove all but the opening, whose days go on as they were."""
    for each in entry.path.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        elif each.name != OPENING:
            each.unlink()
    os.utime(entry.path, (entry.used, entry.used))

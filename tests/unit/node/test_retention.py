"""What is removed from a node's folders, and what never is."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tallystick_node.engines import folders
from tallystick_node.runs.retention import DAY, Retention, folder_name
from tallystick_node.store.database import Store
from tallystick_node.workloads.lookup.workload import Lookup
from unit.workloads.test_lookup import spec_of

LARGE = 1 << 16


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = Store(f"sqlite:///{tmp_path}/node.db")
    yield made
    made.close()


def sweep(store: Store, home: Path, **limits: int) -> dict[str, str]:
    """Why each removed folder was."""
    bounds = {"runs_days": 30, "runs_bytes": 1 << 40, "kept_days": 30, "kept_bytes": 1 << 40, **limits}
    settings: Any = SimpleNamespace(home=home, **bounds)
    with capture_logs() as logs:
        Retention(settings, store).sweep()
    return {Path(line["folder"]).name: line.get("reason", line["event"]) for line in logs}


def fill(folder: Path, days: float = 0, name: str = "part") -> Path:
    """A folder with a file, as it was left days ago."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(bytes(LARGE))
    for path in (folder / name, folder):
        os.utime(path, (time.time() - days * DAY,) * 2)
    return folder


def run(store: Store, home: Path, number: int, *states: str, days: float = 0, attempts: int = 1) -> Path:
    """A task that went through these states, and the folder of its first attempt."""
    task = f"0x{number:02x}" + "00" * 31
    store.create_run(task, replace(spec_of(), attempts=attempts).to_bytes())
    for state in states:
        store.advance(task, state)
    folder = fill(home / "runs" / folder_name(task, 1), days, "opening.json")
    fill(folder, days)
    return folder


ENDED = ("admitted", "running", "proving", "proved")


def test_nothing_is_removed_before_its_time(store: Store, tmp_path: Path) -> None:
    assert sweep(store, tmp_path) == {}  # there are no folders yet
    run(store, tmp_path, 1, *ENDED, days=29)
    fill(tmp_path / "kept" / "lookup-1" / "table", 29)
    assert sweep(store, tmp_path) == {}


def test_after_its_days_a_folder_goes_whole(store: Store, tmp_path: Path) -> None:
    folder = run(store, tmp_path, 1, *ENDED, days=31)
    table = fill(fill(tmp_path / "kept" / "lookup-1" / "table", 31).parent, 31)
    os.utime(table, (time.time() - 31 * DAY,) * 2)
    assert set(sweep(store, tmp_path)) == {folder.name, "lookup-1"}
    assert not any((tmp_path / "runs").iterdir()) and not any((tmp_path / "kept").iterdir())


def test_what_an_unfinished_task_uses_stays(store: Store, tmp_path: Path) -> None:
    folder = run(store, tmp_path, 1, "admitted", "running", days=99)
    (used,) = fill_table(tmp_path)
    other = fill(tmp_path / "kept" / "lookup-other", 99)
    limits = {"runs_bytes": 0, "kept_bytes": 0}
    assert set(sweep(store, tmp_path, **limits)) == {other.name}
    assert len(list(folder.iterdir())) == 2 and used.exists()
    store.advance("0x01" + "00" * 31, "failed")
    assert set(sweep(store, tmp_path, **limits)) == {folder.name, used.name}


def fill_table(home: Path) -> list[Path]:
    """The folder of the table that the tasks use."""
    return [fill(home / "kept" / name, 99) for name in Lookup().kept(spec_of())]


def test_what_another_attempt_may_go_on_from_stays(store: Store, tmp_path: Path) -> None:
    first = run(store, tmp_path, 1, "admitted", "running", "failed", attempts=2)
    assert sweep(store, tmp_path, runs_bytes=0) == {}
    store.advance("0x01" + "00" * 31, "admitted", attempt=2)
    assert sweep(store, tmp_path, runs_bytes=0) == {}
    store.advance("0x01" + "00" * 31, "failed")
    assert set(sweep(store, tmp_path, runs_bytes=0)) == {first.name}


def test_for_lack_of_room_the_oldest_goes_first_and_openings_stay(store: Store, tmp_path: Path) -> None:
    old, new = [run(store, tmp_path, number, *ENDED, days=10 - number) for number in (1, 2)]
    removed = sweep(store, tmp_path, runs_bytes=2 * LARGE - 1)
    assert removed == {old.name: f"more than {2 * LARGE - 1} bytes are kept"}
    assert [path.name for path in old.iterdir()] == ["opening.json"]
    assert len(list(new.iterdir())) == 2
    assert sweep(store, tmp_path, runs_bytes=2 * LARGE - 1) == {}
    assert set(sweep(store, tmp_path, runs_days=9)) == {old.name}  # its days went on
    assert not old.exists()


def test_tables_that_were_used_last_stay(store: Store, tmp_path: Path) -> None:
    for number in (1, 2):
        fill(tmp_path / "kept" / f"lookup-{number}" / "table" / "current", number)
        with folders.turn(tmp_path / "kept" / f"lookup-{number}" / "table"):
            pass
    for path in [*(tmp_path / "kept").rglob("*")]:
        os.utime(path, (time.time() - 5 * DAY,) * 2)
    with folders.turn(tmp_path / "kept" / "lookup-1" / "table"):
        pass
    assert set(sweep(store, tmp_path, kept_bytes=LARGE + 8192)) == {"lookup-2"}


def test_what_a_node_began_to_remove_goes_and_links_are_not_followed(store: Store, tmp_path: Path) -> None:
    fill(tmp_path / "kept" / "lookup-1.removed")
    elsewhere = fill(tmp_path / "elsewhere", 99)
    (tmp_path / "kept" / "link").symlink_to(elsewhere)
    fill(tmp_path / "kept" / "lookup-2", 99)
    (tmp_path / "kept" / "lookup-2" / "inner").symlink_to(elsewhere)
    assert "link" not in sweep(store, tmp_path, kept_bytes=0)
    assert not (tmp_path / "kept" / "lookup-1.removed").exists()
    assert (elsewhere / "part").exists()


def test_a_folder_that_cannot_be_removed_is_logged_and_the_next_one_goes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        fill(tmp_path / "kept" / f"lookup-{number}", 99)
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name == "lookup-1":
            raise PermissionError(13, "Permission denied")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    assert sweep(store, tmp_path)["lookup-1"] == "a folder cannot be removed"
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["lookup-1"]


def test_a_folder_that_cannot_be_read_is_logged_and_the_next_one_goes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, late = (fill(tmp_path / "kept" / name, days=40) for name in ("closed", "late"))
    readable = Path.rglob

    def rglob(path: Path, pattern: str) -> Any:
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return readable(path, pattern)

    monkeypatch.setattr(Path, "rglob", rglob)
    assert sweep(store, tmp_path) == {"closed": "a folder cannot be read", "late": "not used for 30 days"}
    assert closed.exists() and not late.exists()


def test_where_a_stored_task_cannot_be_read_everything_stays(store: Store, tmp_path: Path) -> None:
    store.create_run("0x" + "01" * 32, b"of another release")
    late = fill(tmp_path / "kept" / "late", days=40)
    settings: Any = SimpleNamespace(home=tmp_path, runs_days=30, runs_bytes=1 << 40, kept_days=30, kept_bytes=1 << 40)
    with capture_logs() as logs:
        Retention(settings, store).sweep()
    assert [line["event"] for line in logs] == ["folders are left as they are, since a stored task cannot be read"]
    assert late.exists()

"""Machine code that processes keep at the same moment, or cannot keep: each gets back its own, or none."""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import threading
from pathlib import Path
from typing import Any

import pytest
from tallystick_node.engines import compiled


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a kernel."""
    monkeypatch.setattr(compiled, "_KERNELS", [])
    path = tmp_path / "kernel.py"
    path.write_text("def kernel(x):\n    return x\n")
    return path


def kept(source: Path) -> Any:
    """Where a process of its own would keep the kernel's code."""
    spec = importlib.util.spec_from_file_location("kernel", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kernel: Any = compiled.compiled(module.kernel)
    return kernel._cache._cache_file


def test_two_processes_that_keep_a_kernel_for_two_types_get_their_own_back(source: Path) -> None:
    one, other = kept(source), kept(source)
    look, looked, go_on = one._load_index, threading.Event(), threading.Event()

    def slowly() -> Any:
        found = look()
        looked.set()
        assert go_on.wait(60)
        return found

    one._load_index = slowly
    threads = [threading.Thread(target=each.save, args=(key, key)) for each, key in ((one, "float64"), (other, "int64"))]
    threads[0].start()
    assert looked.wait(60)
    threads[1].start()
    threads[1].join(0.5)  # it waits for its turn
    go_on.set()
    for each in threads:
        each.join(60)
    assert [kept(source).load(key) for key in ("float64", "int64")] == ["float64", "int64"]


def test_code_that_cannot_be_written_is_not_listed_with_that_of_other_sources(source: Path) -> None:
    kept(source).save("int64", "of the release before")
    source.write_text("def kernel(x):\n    return x + 1\n")
    now = kept(source)
    assert now.load("int64") is None

    def full(name: str, code: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write, now._save_data = now._save_data, full
    with pytest.raises(OSError, match="No space"):
        now.save("int64", "of this release")
    assert kept(source).load("int64") is None
    now._save_data = write
    now.save("int64", "of this release")
    assert kept(source).load("int64") == "of this release"


def test_a_process_that_stands_still_in_its_turn_is_not_waited_for_for_ever(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_TURN_SECONDS", 0.1)
    now = kept(source)
    now.save("int64", "kept")
    with (Path(now._cache_path) / "kernels.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        now.save("float64", "not kept")
    assert [kept(source).load(key) for key in ("int64", "float64")] == ["kept", None]
    now.save("float64", "kept too")
    assert kept(source).load("float64") == "kept too"

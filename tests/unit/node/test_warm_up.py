"""Warming the engines: which a task needs, when nothing is to do, and that no kernel is left out."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tallystick_node.app import Node
from tallystick_node.engines import compiled
from tallystick_node.runs import warm_up
from tallystick_node.runs.warm_up import ENGINES, QUICK, WarmUp, is_warm, needed, warm

KERNELS = """
import importlib, pkgutil, types
from numba.core.registry import CPUDispatcher
from tallystick_node import engines
from tallystick_node.runs.warm_up import ENGINES

modules = [importlib.import_module(each.name) for each in pkgutil.walk_packages(engines.__path__, engines.__name__ + ".")]
for run in ENGINES.values():
    run()


def calls(kernel):
    names, known = kernel.py_func.__code__.co_names, kernel.py_func.__globals__
    for place in [known, *(vars(known[name]) for name in names if isinstance(known.get(name), types.ModuleType))]:
        yield from (place[name] for name in names if isinstance(place.get(name), CPUDispatcher))


kernels = {kernel for module in modules for kernel in vars(module).values() if isinstance(kernel, CPUDispatcher)}
ran = {kernel for kernel in kernels if kernel.signatures}
new = list(ran)
while new:  # machine code that is kept of a kernel holds that of those that it calls
    found = set(calls(new.pop())) - ran
    ran |= found
    new += found
for kernel in kernels - ran:
    if not kernel.targetoptions.get("inline"):
        print(f"{kernel.__module__.removeprefix(engines.__name__ + '.')}.{kernel.__name__}")
"""
#: What no workload runs: garbled circuits, and their transfers.
UNUSED = ("garbling.", "ot.extension._choose", "compiled._nothing")


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Engines that only note that they ran, and their marks in a folder of their own."""
    ran: list[str] = []
    monkeypatch.setattr(compiled, "folder", lambda: tmp_path / "new")
    monkeypatch.setattr(warm_up, "ENGINES", {name: lambda name=name: ran.append(name) for name in ENGINES})
    yield ran


def test_an_engine_runs_once(marks: list[str]) -> None:
    assert not is_warm("replicated")
    assert warm("replicated") is not None
    assert is_warm("replicated") and not is_warm("two-party")
    assert warm("replicated") is None
    assert marks == ["replicated"]


def test_an_engine_runs_again_after_its_sources_or_the_compiler_changed(marks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    warm("replicated")
    before = compiled.fingerprint()
    monkeypatch.setattr(platform, "python_version", lambda: "another")
    assert compiled.fingerprint() != before
    assert not is_warm("replicated") and warm("replicated") is not None
    monkeypatch.setattr(compiled.numba, "__version__", "0")
    assert not is_warm("replicated")
    assert marks == ["replicated"] * 2


def test_an_engine_that_fails_is_not_warm(marks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(warm_up.ENGINES, "replicated", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        warm("replicated")
    assert not is_warm("replicated")


def spec(workload: str, **parameters: Any) -> Any:
    return SimpleNamespace(workload=workload, parameters=parameters)


def test_a_task_needs_the_engines_that_it_runs() -> None:
    assert needed(spec("statistics")) == {"answers"} and needed(spec("training")) == {"training"}
    assert needed(spec("enclave")) == set()
    assert needed(spec("intersection")) == needed(spec("intersection-sum")) == {"intersection"}
    assert needed(spec("linked-statistics")) == {"intersection", "two-party", "hidden-join"}
    assert needed(spec("computation", protocol="two-party")) == {"intersection", "two-party"}
    assert needed(spec("computation", protocol="two-party:0x5598")) == {"intersection", "two-party"}
    assert needed(spec("vertical-regression")) == {"intersection", "two-party"}
    assert needed(spec("boosting")) == needed(spec("joint-prediction")) == {"intersection"}


def test_a_new_node_does_first_what_takes_seconds() -> None:
    """So does the command."""
    assert tuple(ENGINES)[: len(QUICK)] == QUICK


def test_the_process_stands_back_once_after_the_quick_engines(
    marks: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "alarm", lambda seconds: None)
    monkeypatch.setattr(os, "nice", lambda by: marks.append(f"nice {by}"))
    warm_up.main()
    assert marks == [*QUICK, "nice 19", *list(ENGINES)[len(QUICK) :]]
    assert capsys.readouterr().out.split() == list(ENGINES)


def test_a_node_that_is_warm_starts_no_process(marks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ENGINES:
        warm(engine)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", None)
    asyncio.run(WarmUp().run())


@pytest.mark.timeout(680)  # all kernels are compiled, where none was
def test_the_engines_run_every_kernel() -> None:
    done = subprocess.run([sys.executable, "-c", KERNELS], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert [each for each in done.stdout.split() if not each.startswith(UNUSED)] == []


@pytest.mark.timeout(680)  # it stands back behind everything else on this machine
def test_the_process_warms_what_is_cold_and_names_it(marks: list[str]) -> None:
    """The real process, which finds the real marks: only this node believes that it is cold."""
    warming = WarmUp()
    assert warming.cold == set(ENGINES)
    assert not warming.ready(spec("computation", protocol="two-party")) and not warming.ready(spec("statistics"))
    assert warming.ready(spec("enclave"))
    asyncio.run(warming.run())
    assert warming.ready(spec("computation", protocol="two-party")) and warming.quick.is_set()


def test_a_process_that_fails_keeps_no_task_back(marks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    warming = WarmUp()
    asyncio.run(warming.run())
    assert warming.ready(spec("computation", protocol="two-party"))


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_a_process_that_cannot_be_started_keeps_no_task_back(
    number: int, marks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*given: Any, **named: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    warming = WarmUp()
    with capture_logs() as logs:
        asyncio.run(warming.run())
    assert warming.ready(spec("computation", protocol="two-party")) and warming.quick.is_set()
    (warning,) = [each for each in logs if each["log_level"] == "warning"]
    assert os.strerror(number) in warning["problem"] and warning["remedy"] and warning["engines"] == sorted(ENGINES)


def test_spares_start_as_soon_as_the_quick_engines_are_warm(
    marks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process here names those, and then goes on until it is killed."""
    slow = tmp_path / "python"
    slow.write_text(f"#!/bin/sh\nprintf '%s\\n' {' '.join(QUICK)}\nexec sleep 1000\n")
    slow.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(slow))
    warming = WarmUp()
    assert not warming.quick.is_set()

    async def play() -> None:
        kept = asyncio.Event()

        async def keep() -> None:
            kept.set()

        node: Any = SimpleNamespace(warming=warming, workers=SimpleNamespace(keep=keep))
        preparing = asyncio.create_task(Node._prepare(node))
        await kept.wait()
        assert warming.ready(spec("statistics")) and not warming.ready(spec("computation", protocol="two-party"))
        preparing.cancel()
        await asyncio.wait([preparing])
        assert preparing.cancelled()

    asyncio.run(play())


def test_spares_start_at_once_in_a_node_that_is_warm(marks: list[str]) -> None:
    for engine in QUICK:
        warm(engine)
    assert WarmUp().quick.is_set()

"""Warming the engines: which a task needs, when nothing is to do, and that no kernel is left out."""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick_node.engines import compiled
from tallystick_node.runs import warm_up
from tallystick_node.runs.warm_up import ENGINES, WarmUp, is_warm, needed, warm

KERNELS = """
import importlib, pkgutil
from numba.core.registry import CPUDispatcher
from tallystick_node.runs.warm_up import ENGINES
for run in ENGINES.values():
    run()
others = {"bits._steps", "circuits._turn", "extension._choose"}  # called by compiled code alone, or by garbled circuits
joint = ("mpc.matrix", "mpc.permutation", "mpc.replicated", "mpc.malicious", "mpc.beaver")
for package in (*joint, "okvs", "ot", "psi.blake2s", "psi.circuit_bins", "psi.curve25519", "psi.items", "psi.tags"):
    name = f"tallystick_node.engines.{package}"
    package = importlib.import_module(name)
    found = [each.name for each in pkgutil.walk_packages(getattr(package, "__path__", []), name + ".")]
    for module in [package, *map(importlib.import_module, found)]:
        for kernel in vars(module).values():
            own = isinstance(kernel, CPUDispatcher) and kernel.__module__ == module.__name__
            if own and not kernel.signatures and not kernel.targetoptions.get("inline"):
                short = f"{module.__name__.rpartition('.')[2]}.{kernel.__name__}"
                if short not in others:
                    print(short)
"""


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
    assert needed(spec("statistics")) == set()
    assert needed(spec("intersection")) == needed(spec("intersection-sum")) == {"intersection"}
    assert needed(spec("linked-statistics")) == {"intersection", "two-party", "hidden-join"}
    assert needed(spec("computation", protocol="two-party")) == {"intersection", "two-party"}
    assert needed(spec("computation", protocol="two-party:0x5598")) == {"intersection", "two-party"}
    assert needed(spec("vertical-regression")) == {"intersection", "two-party"}
    assert needed(spec("boosting")) == needed(spec("joint-prediction")) == {"intersection"}


def test_a_node_that_is_warm_starts_no_process(marks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ENGINES:
        warm(engine)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", None)
    asyncio.run(WarmUp().run())


def test_the_process_warms_what_is_cold_and_names_it(marks: list[str]) -> None:
    """The real process, which finds the real marks: only this node believes that it is cold."""
    warming = WarmUp()
    assert warming.cold == set(ENGINES)
    assert not warming.ready(spec("computation", protocol="two-party")) and warming.ready(spec("statistics"))
    asyncio.run(warming.run())
    assert warming.ready(spec("computation", protocol="two-party"))


def test_a_process_that_fails_keeps_no_task_back(marks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    warming = WarmUp()
    asyncio.run(warming.run())
    assert warming.ready(spec("computation", protocol="two-party"))


def test_the_engines_run_every_kernel() -> None:
    done = subprocess.run([sys.executable, "-c", KERNELS], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""

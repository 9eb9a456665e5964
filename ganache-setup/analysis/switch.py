"""A pytest plugin: run the contract tests on instrumented contracts, and note what they reach or which missing check they see.

``ANALYSIS`` names the folder that :mod:`instrument` made, ``ANALYSIS_KIND`` is ``checks`` or ``statements``.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from instrument import SWITCH
from tallystick.chain.transport import Transport
from tallystick.testing.local_chain import LocalChain

FOLDER = Path(os.environ["ANALYSIS"])
KIND = os.environ["ANALYSIS_KIND"]
UNTIL = time.monotonic() + float(os.environ.get("ANALYSIS_SECONDS", "86400"))
SITES = json.loads((FOLDER / "sites.json").read_text())
chains: list[LocalChain] = []
reached: set[int] = set()

_command, _start, _answer = LocalChain._command, LocalChain.start, Transport.answer  # noqa: SLF001 - analysis alone


def unlimited(self: LocalChain) -> list[str]:
    """Anvil without the limit of code size."""
    return [*_command(self), "--disable-code-size-limit"]


def started(self: LocalChain) -> LocalChain:
    """Remember the chain, whose balances switch checks off."""
    chains.append(self)
    return _start(self)


def traced(self: Transport, method: str, parameters: Any) -> dict[str, Any]:
    """Ask a call once more with a tracer, whether it succeeds or reverts."""
    if method in ("eth_call", "eth_estimateGas"):
        found = _answer(self, "debug_traceCall", [parameters[0], "latest", {"tracer": "callTracer"}])
        note(found.get("result") or {})
    return _answer(self, method, parameters)


def note(call: dict[str, Any]) -> None:
    """Note the statements in a call's trace."""
    number = int(call.get("to") or "0x0", 16) - SWITCH
    if 0 < number <= len(SITES):
        reached.add(number)
    for inner in call.get("calls", ()):
        note(inner)


LocalChain._command, LocalChain.start = unlimited, started  # type: ignore[method-assign] # noqa: SLF001
if KIND == "statements":
    Transport.answer = traced  # type: ignore[method-assign]


class Between:
    """What follows each test: the session alone stays set up."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[Any]:
        """As of an item: what stays set up."""
        return [self._session]


def passes(item: pytest.Item) -> bool:
    """Run a test, again if need be."""
    reports = runtestprotocol(item, log=False, nextitem=Between(item.session))  # type: ignore[arg-type]
    return not any(report.failed for report in reports)


def likely(item: pytest.Item, site: dict[str, Any]) -> int:
    """How likely a test sees that a check is gone: it speaks of the contract in its file's name, and of the error."""
    line = (Path(__file__).parents[2] / "contracts/src" / site["file"].removeprefix("contracts/")).read_text().splitlines()
    nearby = " ".join(line[site["line"] - 1 : site["line"] + 3])
    errors = re.findall(r"revert (\w+)", nearby)
    source = inspect.getsource(getattr(item, "function", passes))
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", Path(site["file"]).stem).lower()
    return -(2 * any(error in source for error in errors) + (name in item.nodeid))


class Trials:
    """Tests on mutants. A test that fails on the whole contracts too, for want of gas or of bytes, says nothing of a mutant."""

    def __init__(self) -> None:
        self._sound: dict[str, bool] = {}

    def sees(self, item: pytest.Item, check: int) -> bool:
        """Whether a test fails when a check is switched off, and only then."""
        if not self._sound.get(item.nodeid, True) or self._passes(item, check):
            return False
        if item.nodeid not in self._sound:
            self._sound[item.nodeid] = self._passes(item, 0)
        return self._sound[item.nodeid]

    def _passes(self, item: pytest.Item, check: int) -> bool:
        if chains:
            chains[0].rpc("anvil_setBalance", hex(SWITCH), hex(check))
        return passes(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Instead of the usual run."""
    if KIND == "statements":
        for number, item in enumerate(session.items, 1):
            print(f"{number} of {len(session.items)}: {item.nodeid} {'passes' if passes(item) else 'FAILS'}", flush=True)
            (FOLDER / "reached.json").write_text(json.dumps(sorted(reached)))
        return True
    passes(session.items[0])  # starts the chain
    step, most, trials, found = (
        int(os.environ.get("ANALYSIS_STEP", "1")),
        int(os.environ.get("ANALYSIS_TESTS", "9999")),
        Trials(),
        {},
    )
    for site in SITES[::step]:
        if time.monotonic() > UNTIL:
            break
        ordered = sorted(session.items, key=lambda item: likely(item, site))
        killer = next((item.nodeid for item in ordered[:most] if trials.sees(item, site["number"])), "")
        found[site["number"]] = killer
        print(f"{site['file']}:{site['line']} {site['text']}: {killer or 'SURVIVES'}", flush=True)
        (FOLDER / "killed.json").write_text(json.dumps(found))
    return True

"""A pytest plugin: run the contract tests on instrumented contracts, and note what they reach or which missing check they see.

``ANALYSIS`` names the folder that :mod:`instrument` made, ``ANALYSIS_KIND`` is ``checks`` or ``statements``, ``ANALYSIS_KEPT`` the
file of what is known already, which grows here after each mutant or file of tests.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from _pytest.runner import runtestprotocol
from instrument import SWITCH
from tallystick.chain import deployment
from tallystick.chain.transport import Transport
from tallystick.testing.local_chain import LocalChain

FOLDER = Path(os.environ["ANALYSIS"])
KIND = os.environ["ANALYSIS_KIND"]
UNTIL = time.monotonic() + float(os.environ.get("ANALYSIS_SECONDS", "86400"))
SITES = json.loads((FOLDER / "sites.json").read_text())
KEPT = Path(os.environ["ANALYSIS_KEPT"])
PROBED = re.compile(rb'"to":"0x%s([0-9a-f]{8})"' % f"{SWITCH:040x}"[:32].encode(), re.IGNORECASE)
chains: list[LocalChain] = []
reached: set[str] = set()

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
        asked = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "debug_traceCall",
            "params": [parameters[0], "latest", {"tracer": "callTracer"}],
        }
        trace = requests.post(self.url, json=asked, timeout=600).content
        for found in set(re.findall(PROBED, trace)):
            reached.add(SITES[int(found, 16) - 1]["key"])
    return _answer(self, method, parameters)


LocalChain._command, LocalChain.start = unlimited, started  # type: ignore[method-assign] # noqa: SLF001
deployment.GAS_LIMIT = 29_000_000  # what is instrumented is larger; a block has thirty million
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


def likely(item: pytest.Item, site: dict[str, Any], killers: dict[str, str]) -> int:
    """How likely a test sees that a check is gone: it speaks of the error or the rule, its file of these or the contract, or either
    saw others go."""
    line = (Path(__file__).parents[2] / "contracts/src" / site["file"].removeprefix("contracts/")).read_text().splitlines()
    nearby = " ".join(line[site["line"] - 1 : site["line"] + 3])
    errors, rules = re.findall(r"revert (\w+)", nearby), re.findall(r'"([^"]+)"', nearby)
    source, around = inspect.getsource(getattr(item, "function", passes)), item.path.read_text()
    stem = Path(site["file"]).stem
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", stem.removesuffix("Verifier")).lower()
    contract = site["key"].partition("#")[0]
    same = [killer for key, killer in killers.items() if key.startswith(contract) and killer]
    beside = any(killer.startswith(item.nodeid.partition("::")[0]) for killer in same)
    says = 4 * any(error in source for error in errors) + 4 * any(rule in source for rule in rules)
    of = 2 * (name in item.nodeid) + (f'"{stem}"' in around) + any(rule in around for rule in rules)
    return -(says + of + beside + (item.nodeid in same))


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
            if not self._sound[item.nodeid]:
                print(f"{item.nodeid} fails on whole contracts: not asked", flush=True)
        return self._sound[item.nodeid]

    def _passes(self, item: pytest.Item, check: int) -> bool:
        if chains:
            chains[0].rpc("anvil_setBalance", hex(SWITCH), hex(check))
        return passes(item)


def known() -> dict[str, Any]:
    """What earlier runs found."""
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def keep(found: dict[str, Any]) -> None:
    """Keep what was found, whenever this process ends."""
    KEPT.with_suffix(".new").write_text(json.dumps(found, indent=0))
    KEPT.with_suffix(".new").replace(KEPT)


def follow(session: pytest.Session) -> None:
    """Note what the tests reach, file by file; but for those that reached the same before, since neither they nor that changed."""
    keys, found = {site["key"] for site in SITES}, known()
    shared = b"".join(path.read_bytes() for path in sorted(Path(session.items[0].path).parent.glob("[!t]*.py")))
    files: dict[Path, list[pytest.Item]] = {}
    for item in session.items:
        files.setdefault(item.path, []).append(item)
    found = {path.name: found[path.name] for path in files if path.name in found}
    for path, items in files.items():
        digest = hashlib.sha256(shared + path.read_bytes()).hexdigest()
        before = found.get(path.name, {"digest": ""})
        if before["digest"] == digest and keys.issuperset(before["reached"]):
            continue
        if time.monotonic() > UNTIL:
            break
        reached.clear()
        failed = [item.nodeid for item in items if not passes(item)]
        found[path.name] = {"digest": digest, "reached": sorted(reached), "failed": failed}
        print(f"{path.name}: {len(reached)} reached; {len(failed)} of {len(items)} tests fail {failed or ''}", flush=True)
        keep(found)
    keep(found)


def switch_off(session: pytest.Session) -> None:
    """Try the mutants: those that were never tried, then those that survived before."""
    keys, trials = {site["key"] for site in SITES}, Trials()
    found = {key: killer for key, killer in known().items() if key in keys}
    chosen = [site for site in SITES if re.search(os.environ["ANALYSIS_ONLY"], site["file"])][:: int(os.environ["ANALYSIS_STEP"])]
    passes(session.items[0])  # starts the chain
    for site in sorted((site for site in chosen if not found.get(site["key"])), key=lambda site: site["key"] in found):
        if time.monotonic() > UNTIL:
            break
        ordered = sorted(session.items, key=lambda item: likely(item, site, found))[: int(os.environ["ANALYSIS_TESTS"])]
        killer = next((item.nodeid for item in ordered if trials.sees(item, site["number"])), "")
        found[site["key"]] = killer
        print(f"{site['file']}:{site['line']} {site['text']}: {killer or 'SURVIVES'}", flush=True)
        keep(found)
    keep(found)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Instead of the usual run."""
    {"statements": follow, "checks": switch_off}[KIND](session)
    return True

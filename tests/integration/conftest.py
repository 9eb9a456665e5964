"""What holds for every test of whole networks."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from tallystick.testing.network import Institution, Network

LINES = 20  # of each node's log


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its nodes warned of: why a task failed only they say, and their folders do not last."""
    report = yield
    if report.failed:
        for network in _networks(getattr(item, "funcargs", {})):
            for who in network.institutions.values():
                if warned := "\n".join(_warnings(who)):
                    report.sections.append((f"what the node of {who.name} warned of", warned))
    return report


def _networks(fixtures: dict[str, Any]) -> Iterator[Network]:
    """Those that a test was given, or that what it was given holds."""
    held = [*fixtures.values(), *(each for value in fixtures.values() for each in getattr(value, "__dict__", {}).values())]
    found = {id(each): each for each in held if isinstance(each, Network)}
    yield from found.values()


def _warnings(who: Institution) -> list[str]:
    log = who.folder / "node.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return [line for line in lines if not _informs(line)][-LINES:]


def _informs(line: str) -> bool:
    try:
        return bool(json.loads(line)["level"] == "info")
    except (ValueError, TypeError, KeyError):
        return False  # a traceback, say

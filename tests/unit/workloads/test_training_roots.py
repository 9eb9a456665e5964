"""The roots of what owners sent in a training: told to all alike, or the owner that did not is named by all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tallystick_node.engines.channel import VOUCHER, ProtocolViolation, Session, local_sessions
from tallystick_node.engines.credentials import KEY
from tallystick_node.engines.echo import Echo
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.workloads.training import workload as training
from unit.engines.conftest import run_parties

OWNERS, PARTIES = (0, 1, 2), 4  # party 3 only receives
SENT = [np.arange(9, dtype=np.uint32) + owner for owner in OWNERS]
SUMS = sum(each.astype(np.uint64) for each in SENT)


class Twofold(Echo):
    """A party that tells party 0 its root, and everybody else another, and signs both."""

    other = b"\7" * 32

    def tell(self, word: bytes) -> None:
        for peer in sorted(self._session.channels):
            told = word if peer == 0 else self.other + word[len(self.other) :]
            said = self._heard[self._session.index] = self._sign(told)
            self._session.channels[peer].send(said[: KEY + VOUCHER] + said[-64:] + told)


def prove(folder: Path, monkeypatch: pytest.MonkeyPatch, cheater: type[Echo] = Echo, sums: Any = SUMS) -> list[Any]:
    """Each party's outcome; party 1 tells what a ``cheater`` does, and believes in ``sums``."""
    monkeypatch.setattr(training, "Echo", lambda session, *about: (cheater if session.index == 1 else Echo)(session, *about))

    def one(session: Session) -> Any:
        journal = Journal(folder / f"rounds-{session.index}")
        sent = SENT[session.index] if session.index in OWNERS else None
        journal.append(sent, sums if session.index == 1 else SUMS)
        return training._proved(session, OWNERS, journal)

    return run_parties([replace(each, context=b"\1" * 32) for each in local_sessions(PARTIES, seconds=300)], one)


def test_all_find_the_same_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = prove(tmp_path, monkeypatch)
    assert not any(isinstance(each, Exception) for each in found), found
    assert len({tuple(each.all_commitments) for each in found}) == 1
    assert [bool(each) for each in found[0].all_commitments] == [True, True, True, False]


def test_an_owner_that_tells_two_parties_two_roots_is_named_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = prove(tmp_path, monkeypatch, Twofold)
    for party in (0, 2, 3):
        assert isinstance(found[party], ProtocolViolation), found
        assert (found[party].peer, "signed both" in str(found[party])) == (1, True)


def test_who_used_another_aggregate_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = prove(tmp_path, monkeypatch, sums=SUMS + np.uint64(1))
    for party in (0, 2, 3):
        assert isinstance(found[party], ProtocolViolation), found
        assert (found[party].peer, "used another aggregate" in str(found[party])) == (1, True)

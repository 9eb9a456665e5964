"""Faults in secure computation: a run ends on record within seconds, by the name of who was lost, and the next attempt proves."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.mpc.conftest import PATIENCE, Five, walked
from integration.processes import number, stopped, until, workers
from tallystick.chain.contract import Event
from tallystick.client import GrantFile, follow
from tallystick.protocol import canonical
from tallystick.protocol.reasons import Reason

pytestmark = pytest.mark.slow

ROUNDS = 300
CEDAR, DOGWOOD, ELM = 2, 3, 4


@contextmanager
def computing(five: Five, **options: Any) -> Iterator[tuple[str, dict[str, GrantFile]]]:
    """A task on Alder's and Birch's data that Cedar, Dogwood and Elm compute and that cannot end before the block does:
    Cedar's worker stands still as soon as all three compute. Alder and Birch have shared their data."""
    spec, grants = five.walk(ROUNDS, "replicated", (five.cedar, five.dogwood, five.elm), **options)
    task = five.elm.submit(spec, grants.values())
    (worker,) = until(lambda: workers(five.homes[CEDAR]))
    five.computing(task, five.cedar, five.dogwood, five.elm)
    with stopped(worker):
        yield task, grants


def failures(five: Five, task: str) -> list[Event]:
    chain = five.network.governor.chain
    return [e for e in chain.events(0, chain.head()) if e.name == "Failed" and e["task"] == canonical.unhex32(task)]


def state(five: Five, task: str) -> str:
    return follow.state_of(five.network.governor.chain, task).state


def failed(five: Five, task: str) -> Event:
    """Why the first attempt of a task failed."""
    return until(lambda: failures(five, task))[0]


def idle(five: Five) -> bool:
    return not any(workers(home) for home in five.homes if home.process is not None)


def require_result(five: Five, task: str, folder: Path) -> None:
    """The task is proved in its second attempt, with the right numbers."""
    until(lambda: state(five, task) == "Proved")
    assert follow.state_of(five.network.governor.chain, task).attempt == 2
    paths = five.patiently(lambda: five.elm.result(task, folder))
    content = json.loads(next(path for path in paths if path.name == "result.json").read_bytes())
    (output,) = content["values"]["outputs"]
    assert np.abs(np.array(output["numbers"], float) - walked(ROUNDS)).max() < 0.001


def test_a_killed_compute_node_is_named_and_the_next_attempt_proves(five: Five, tmp_path: Path) -> None:
    dogwood = five.homes[DOGWOOD]
    with computing(five, attempts=2) as (task, _):
        five.network.halt(dogwood, by=signal.SIGKILL)
        found = failed(five, task)
    until(lambda: idle(five))
    assert (found["reason"], found["accused"]) == (Reason.PEER_SILENT, five.dogwood.account)
    five.network.launch(dogwood, link_seconds=PATIENCE)
    require_result(five, task, tmp_path)
    assert len(failures(five, task)) == 1


def test_a_compute_node_that_hangs_is_named_by_those_that_wait_for_it(five: Five) -> None:
    """Cedar and Elm wait for one another too, but each says whom it waits for."""
    dogwood = five.homes[DOGWOOD]
    spec, grants = five.walk(ROUNDS, "replicated", (five.cedar, five.dogwood, five.elm), attempts=1)
    task = five.elm.submit(spec, grants.values())
    five.computing(task, five.cedar, five.dogwood, five.elm)
    with stopped(*workers(dogwood), number(dogwood)):
        found = failed(five, task)
        assert (found["reason"], found["accused"]) == (Reason.PEER_SILENT, five.dogwood.account)
        others = [home for home in five.homes if home is not dogwood]
        until(lambda: not any(workers(home) for home in others))
    until(lambda: idle(five))
    until(lambda: {five.status(each, task).state for each in five.clients} == {"failed"})
    assert len(failures(five, task)) == 1


def test_a_compute_party_that_is_suspended_is_cut_at_once_and_there_is_no_next_attempt(five: Five) -> None:
    governor = five.network.governor.chain
    with computing(five, attempts=2) as (task, _):
        try:
            governor.send("ParticipantRegistry", "suspend", five.dogwood.account, bytes(32))
            assert failed(five, task)["reason"] == Reason.AUTHORISATION_ENDED
            until(lambda: idle(five))
        finally:
            governor.send("ParticipantRegistry", "reinstate", five.dogwood.account)
    assert state(five, task) == "Failed" and len(failures(five, task)) == 1


def test_a_run_that_takes_longer_than_its_task_allows_is_ended(five: Five) -> None:
    """Cedar hangs, and the task's time is over before the others' patience with it, however late it began to compute."""
    with computing(five, attempts=1, run_seconds=PATIENCE + 5) as (task, _):
        until(lambda: state(five, task) in ("Failed", "Expired"))
        until(lambda: idle(five))
    assert all(each["reason"] in (Reason.WORKER, Reason.PEER_ABORTED, Reason.PEER_SILENT) for each in failures(five, task))


def test_a_killed_worker_is_on_record_as_its_nodes_own_fault_or_as_silent(five: Five) -> None:
    with computing(five, attempts=1) as (task, _):
        (worker,) = workers(five.homes[DOGWOOD])
        os.kill(worker, signal.SIGKILL)
        found = failed(five, task)
        until(lambda: idle(five))
    if found["reason"] != Reason.PEER_ABORTED:  # Dogwood's own report came later than the others give it time for
        assert found["reason"] in (Reason.WORKER, Reason.PEER_SILENT)
        assert five.dogwood.account in (found["reporter"], found["accused"])


def test_a_compute_node_that_does_not_come_back_is_on_record_as_late(five: Five) -> None:
    dogwood, governor = five.homes[DOGWOOD], five.network.governor.chain
    with computing(five, attempts=2) as (task, _):
        five.network.halt(dogwood, by=signal.SIGKILL)
        failed(five, task)
    try:
        others = {client.account for client in five.clients} - {five.dogwood.account}
        until(lambda: set(follow.history_of(governor, task).accepted.get(2, ())) == others)
        governor.request("evm_increaseTime", 601)  # the deadline for acceptance passes
        governor.request("evm_mine")
        until(lambda: state(five, task) == "Expired")
        assert follow.history_of(governor, task).late == [five.dogwood.account]
    finally:
        five.network.launch(dogwood, link_seconds=PATIENCE)

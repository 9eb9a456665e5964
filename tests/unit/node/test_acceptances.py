"""Acceptances that wait for kernels: of first attempts and of further ones, also across restarts of the node."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.chain.contract import Event
from tallystick.protocol.errors import ChainUnreachable, Refused
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec, proposal_of
from tallystick_node.runs.engine import Runs
from tallystick_node.runs.promises import NOBODY
from tallystick_node.settings import Policy
from tallystick_node.store.database import Store
from unit.node.test_agreements import WORLD, Ledger, Me

COUNTED: dict[str, Any] = {
    **{name: [] for name in ("columns", "histograms", "where")},
    **dict.fromkeys(("regression", "group_by")),
    "compute": ["count"],
    "minimum_group": 5,
    "ddof": 0,
}
SPEC = replace(WORLD.spec, attempts=3, parameters=COUNTED)
TASK = "0x" + proposal_of(SPEC).id().hex()


class Node:
    """One start of a node, whose kernels are warm or cold."""

    def __init__(self, store: Store, *, warm: bool) -> None:
        self.warm, self.notes = warm, []
        self.chain: Any = Ledger(bytes(32))
        self.chain.now = lambda: SPEC.accept_by - 1000
        settings: Any = SimpleNamespace(policy=Policy(), results=Path("results"))
        warming: Any = SimpleNamespace(ready=lambda spec: self.warm)
        self.runs: Any = Runs(settings, store, self.chain, Me(), None, warming, None, "")  # type: ignore[arg-type]
        self.gate: Any = SimpleNamespace(check=lambda spec: None)
        acceptances = self.runs._acceptances
        acceptances._gate, acceptances._promises.waits = self.gate, lambda spec: ""
        acceptances.state_of, acceptances.rows = lambda proposal: "Proposed", lambda spec: dict.fromkeys(spec.parties, 10)
        self.runs._me = acceptances._me = SimpleNamespace(note=lambda kind, *_, **__: self.notes.append(kind))

    def start(self) -> None:
        asyncio.run(self.runs.resume())

    def tick(self) -> None:
        self.runs._acceptances.go_on()

    def fail(self, attempt: int) -> None:
        told = {"attempt": attempt, "accused": NOBODY, "reporter": NOBODY, "reason": int(Reason.RESTARTED)}
        event = Event("TaskLedger", "Failed", {"task": bytes.fromhex(TASK[2:]), **told}, 5, "", "", 0)
        asyncio.run(self.runs.on_event(event))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path / 'node.db'}")
    store.create_run(TASK, SPEC.to_bytes())
    return store


def ran(store: Store) -> None:
    store.advance(TASK, "admitted", attempt=1)
    store.advance(TASK, "running")


def accepted(store: Store) -> list[str]:
    return [row.key for row in store.due_writes() if row.function == "accept"]


def state(store: Store) -> tuple[str, int]:
    run = store.run(TASK)
    assert run is not None
    return run.state, run.attempt


def test_a_first_attempt_waits_for_kernels_across_restarts(store: Store) -> None:
    Node(store, warm=False).start()
    node = Node(store, warm=False)
    node.start()
    node.tick()
    assert accepted(store) == [] and state(store) == ("received", 1)
    node.warm = True
    node.tick()
    assert accepted(store) == [f"accept:{TASK}:1"] and state(store) == ("admitted", 1)


def test_a_further_attempt_waits_for_kernels_across_restarts(store: Store) -> None:
    ran(store)
    first = Node(store, warm=False)
    first.fail(1)
    first.tick()
    assert accepted(store) == [] and state(store) == ("failed", 1)
    for _ in range(2):  # restarted twice, and no event tells of the failure again
        node = Node(store, warm=False)
        node.start()
        node.tick()
        assert accepted(store) == []
    node.warm = True
    node.tick()
    node.tick()
    assert accepted(store) == [f"accept:{TASK}:2"] and state(store) == ("admitted", 2)
    later = Node(store, warm=True)
    later.start()
    later.tick()
    assert accepted(store) == [f"accept:{TASK}:2"] and state(store) == ("admitted", 2) and later.notes == []


def test_a_chain_that_is_silent_when_the_kernels_are_there_loses_no_attempt(store: Store) -> None:
    ran(store)
    Node(store, warm=False).fail(1)
    node = Node(store, warm=True)
    node.start()

    def silent(spec: TaskSpec) -> None:
        raise ChainUnreachable("no answer", party="http://chain")

    node.gate.check = silent
    with pytest.raises(ChainUnreachable):  # the next tick is a second later
        node.tick()
    node.gate.check = lambda spec: None
    node.tick()
    assert accepted(store) == [f"accept:{TASK}:2"]


def test_a_defect_in_one_task_that_waited_ends_neither_the_node_nor_the_next_start(store: Store) -> None:
    ran(store)
    Node(store, warm=False).fail(1)
    node = Node(store, warm=True)

    def broken(spec: TaskSpec) -> None:
        raise ZeroDivisionError

    node.gate.check = broken
    node.start()
    node.tick()
    assert accepted(store) == [] and state(store) == ("failed", 1) and store.recalled("retry-waits") == []


@pytest.mark.parametrize("why", ["refused", "late", "last"])
def test_what_may_not_be_accepted_any_more_after_a_restart_is_not_and_is_forgotten(store: Store, why: str) -> None:
    ran(store)
    Node(store, warm=False).fail(1)
    node = Node(store, warm=True)

    def refuse(spec: TaskSpec) -> None:
        raise Refused("the grant is revoked", rule="grant-state", party=spec.requester)

    if why == "refused":
        node.gate.check = refuse
    elif why == "late":
        node.chain.now = lambda: SPEC.accept_by
    else:  # the node ended between accepting it and forgetting that it waited, and so did the attempt
        store.advance(TASK, "admitted", attempt=3)
        store.advance(TASK, "running")
        store.advance(TASK, "failed")
    node.start()
    node.tick()
    assert accepted(store) == [] and state(store) == ("failed", 3 if why == "last" else 1)
    assert node.notes == (["refusal"] if why == "refused" else [])
    again = Node(store, warm=True)
    again.start()
    again.tick()
    assert again.notes == [] and store.recalled("retry-waits") == []

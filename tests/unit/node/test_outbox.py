"""The outbox: order, exactly once, crashes before and after the sending, refusals, waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tallystick.chain.connection import Receipt
from tallystick.protocol.agreement import COIN, Agreement
from tallystick.protocol.errors import ChainUnreachable, ContractRefused, Deadline
from tallystick_node.anchoring.outbox import DONE, Outbox
from tallystick_node.store.database import Store, Write


class Ledger:
    """A chain that takes each write once and then refuses it as the contracts do; ``fault`` strikes before or after."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, tuple[Any, ...]]] = []
        self.paid: list[int] = []
        self.before: Exception | None = None
        self.after: Exception | None = None

    def send(self, contract: str, function: str, *arguments: Any, value: int = 0) -> Receipt:
        self.paid.append(value)
        if self.before:
            raise self.before
        record = (contract, function, arguments)
        if record in self.taken:
            raise ContractRefused("again", error=min(DONE[contract, function]))
        self.taken.append(record)
        if self.after:
            raise self.after
        return Receipt("0x1", 1, "0x2", 21000, ())


class Bench:
    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'node.db'}"
        self.store = Store(self.url)
        self.ledger = Ledger()
        self.refused: list[tuple[str, str]] = []

    def outbox(self) -> Outbox:
        return Outbox(self.store, self.ledger, lambda key, error: self.refused.append((key, error.error)))  # type: ignore[arg-type]

    def restart(self) -> Outbox:
        self.store.close()
        self.store = Store(self.url)
        self.ledger.before = self.ledger.after = None
        return self.outbox()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def accept(number: int) -> Write:
    return Write(f"accept:{number}:1", "TaskLedger", "accept", [number])


def test_writes_go_out_in_order_and_once(bench: Bench) -> None:
    for number in range(5):
        bench.store.enqueue(accept(number))
    bench.outbox().flush()
    bench.outbox().flush()
    assert [arguments[0] for _, _, arguments in bench.ledger.taken] == [0, 1, 2, 3, 4]


AGREEMENT = Agreement(bytes(32), COIN, 10, 250, 60, 60, False, False, (10_000,))


def test_what_has_a_deadline_goes_first(bench: Bench) -> None:
    for function in ("expire", "accept", "fail", "tenderReport"):
        bench.store.enqueue(Write(f"{function}:{len(bench.store.due_writes())}", "TaskLedger", function, [function]))
    bench.outbox().flush()
    assert [function for _, function, _ in bench.ledger.taken] == ["accept", "fail", "tenderReport", "expire"]


def test_a_stake_pays_the_bond_and_nothing_else_pays(bench: Bench) -> None:
    bench.store.enqueue(Write("stake:1", "Settlement", "post", [[1], AGREEMENT.as_tuple()]))
    bench.store.enqueue(accept(1))
    bench.outbox().flush()
    assert bench.ledger.paid == [250, 0]


def test_what_comes_too_early_is_tried_again(bench: Bench) -> None:
    bench.store.enqueue(Write("expire:1:1", "TaskLedger", "expire", [1]))
    bench.ledger.before = ContractRefused("wait", error="TooEarly")
    bench.outbox().flush()
    assert bench.refused == [] and bench.store.due_writes() == []  # not now, and not given up
    bench.ledger.before = None
    with bench.store._engine.begin() as connection:
        connection.exec_driver_sql("update outbox set not_before = 0")
    bench.outbox().flush()
    assert len(bench.ledger.taken) == 1


@pytest.mark.parametrize("write", [Write("k:x:1", *target, [7, AGREEMENT.as_tuple()]) for target in sorted(DONE)], ids=str)
def test_a_crash_after_the_sending_does_not_send_twice(bench: Bench, write: Write) -> None:
    bench.store.enqueue(write)
    bench.ledger.after = KeyboardInterrupt()  # type: ignore[assignment] # the process ends between the sending and the note
    with pytest.raises(KeyboardInterrupt):
        bench.outbox().flush()
    bench.restart().flush()
    assert len(bench.ledger.taken) == 1
    assert bench.store.due_writes() == []
    assert bench.refused == []


def test_a_crash_before_the_sending_loses_nothing(bench: Bench) -> None:
    bench.store.enqueue(accept(1))
    bench.ledger.before = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        bench.outbox().flush()
    bench.restart().flush()
    assert len(bench.ledger.taken) == 1


@pytest.mark.parametrize("fault", [ChainUnreachable("gone"), Deadline("late")])
def test_an_unreachable_chain_keeps_the_order(bench: Bench, fault: Exception) -> None:
    for number in range(3):
        bench.store.enqueue(accept(number))
    bench.ledger.before = fault
    bench.outbox().flush()
    assert len(bench.store.due_writes()) == 3
    bench.ledger.before = None
    bench.outbox().flush()
    assert [arguments[0] for _, _, arguments in bench.ledger.taken] == [0, 1, 2]


def test_a_rules_refusal_is_final_and_told(bench: Bench) -> None:
    bench.store.enqueue(accept(1))
    bench.ledger.before = ContractRefused("no", error="GrantUsedUp")
    bench.outbox().flush()
    assert bench.refused == [("accept:1:1", "GrantUsedUp")]
    assert bench.store.due_writes() == []


@pytest.mark.parametrize("error", ["unknown", "reverted"])
def test_what_no_rule_says_is_tried_again_and_holds_up_nobody(bench: Bench, error: str) -> None:
    bench.store.enqueue(accept(1))
    bench.ledger.before = ContractRefused("insufficient funds", error=error)
    bench.outbox().flush()
    bench.ledger.before = None
    bench.store.enqueue(accept(2))
    bench.outbox().flush()
    assert [arguments[0] for _, _, arguments in bench.ledger.taken] == [2]
    assert bench.refused == []
    with bench.store._engine.begin() as connection:
        connection.exec_driver_sql("update outbox set not_before = 0")
    bench.outbox().flush()
    assert [arguments[0] for _, _, arguments in bench.ledger.taken] == [2, 1]

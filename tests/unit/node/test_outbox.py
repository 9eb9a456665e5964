"""The outbox: order, exactly once, crashes before and after the sending, refusals, waits, re-organisations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tallystick.chain.connection import Receipt
from tallystick.protocol.agreement import COIN, Agreement
from tallystick.protocol.errors import ChainUnreachable, ContractRefused, Deadline
from tallystick_node.anchoring import outbox as module
from tallystick_node.anchoring.outbox import DONE, Outbox
from tallystick_node.store.database import Store, Write


class Ledger:
    """A chain that takes each write once, in a block of its own, and then refuses it as the contracts do; ``fault`` strikes before
    or after. ``lose`` takes blocks away."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, tuple[Any, ...]]] = []
        self.made = 0
        self.blocks = ["first"]  # hashes
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
        self.mine()
        if self.after:
            raise self.after
        return Receipt(f"0x{self.made}", *self.latest(), 21000, ())

    def mine(self) -> None:
        self.made += 1
        self.blocks.append(f"block {self.made}")

    def lose(self, blocks: int) -> None:
        """The last blocks, and what they held."""
        del self.blocks[len(self.blocks) - blocks :]
        del self.taken[len(self.blocks) - 1 :]

    def latest(self) -> tuple[int, str]:
        return len(self.blocks) - 1, self.blocks[-1]

    def hash_at(self, number: int) -> str:
        return self.blocks[number] if number < len(self.blocks) else ""


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
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(module, "PAUSE", 3600.0)  # what is to be tried again is not, before a test says so
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


# -- re-organisations


def test_what_a_reorganisation_takes_away_is_sent_again_and_nothing_else(bench: Bench) -> None:
    outbox = bench.outbox()
    for number in range(5):
        bench.store.enqueue(accept(number))
    outbox.flush()
    bench.ledger.lose(2)
    bench.ledger.paid.clear()
    outbox.flush()
    assert [arguments[0] for _, _, arguments in bench.ledger.taken] == [0, 1, 2, 3, 4]
    assert len(bench.ledger.paid) == 2
    outbox.flush()
    assert len(bench.ledger.paid) == 2


@pytest.mark.parametrize("lost", range(1, 6))
def test_the_chain_may_be_longer_than_before_when_it_is_looked_at(bench: Bench, lost: int) -> None:
    for number in range(5):
        bench.store.enqueue(accept(number))
    bench.outbox().flush()
    kept = bench.ledger.taken[: 5 - lost]
    bench.ledger.lose(lost)
    for _ in range(2 * lost):
        bench.ledger.mine()
    bench.restart().flush()
    assert [arguments[0] for _, _, arguments in bench.ledger.taken] == [0, 1, 2, 3, 4] and bench.ledger.taken[: 5 - lost] == kept


def test_what_others_brought_back_is_not_sent_twice(bench: Bench) -> None:
    bench.store.enqueue(accept(1))
    bench.outbox().flush()
    [record] = bench.ledger.taken
    bench.ledger.lose(1)
    bench.ledger.mine()
    bench.ledger.taken.append(record)  # the same transaction, in another block
    bench.outbox().flush()
    assert bench.ledger.taken == [record] and bench.store.due_writes() == []


def test_what_was_there_already_is_watched_from_the_block_at_which_it_was_seen(bench: Bench) -> None:
    """Another's transaction did what this write was for, and the block that it was in goes."""
    bench.ledger.taken.append(("TaskLedger", "accept", (1,)))
    bench.ledger.mine()
    bench.store.enqueue(accept(1))
    bench.outbox().flush()
    bench.ledger.lose(1)
    assert bench.ledger.taken == []
    bench.outbox().flush()
    assert len(bench.ledger.taken) == 1


def test_a_block_that_came_while_a_write_was_refused_is_watched(bench: Bench) -> None:
    """It may be the one that shows what the write was for, so the one before it would be watched in vain."""
    send, pending = bench.ledger.send, [("TaskLedger", "accept", (1,))]

    def overtaken(*arguments: Any, value: int = 0) -> Receipt:
        if pending:
            bench.ledger.taken.append(pending.pop())
            bench.ledger.mine()
        return send(*arguments, value=value)

    bench.ledger.send = overtaken  # type: ignore[method-assign]
    bench.store.enqueue(accept(1))
    bench.outbox().flush()
    bench.ledger.lose(1)
    bench.outbox().flush()
    assert len(bench.ledger.taken) == 1


def test_a_chain_that_makes_blocks_faster_than_it_answers_is_not_asked_for_ever(bench: Bench) -> None:
    bench.ledger.taken.append(("TaskLedger", "accept", (1,)))
    send, tried = bench.ledger.send, []

    def overtaken(*arguments: Any, value: int = 0) -> Receipt:
        tried.append(arguments)
        assert len(tried) < 9
        bench.ledger.mine()
        return send(*arguments, value=value)

    bench.ledger.send = overtaken  # type: ignore[method-assign]
    bench.store.enqueue(accept(1))
    bench.store.enqueue(accept(2))
    bench.outbox().flush()
    assert len(tried) == 2 and bench.store.due_writes() == []


def test_a_refusal_by_a_chain_that_is_no_more_does_not_count(bench: Bench) -> None:
    """The block that held what the write was for went between the refusal and the look at the chain."""
    bench.ledger.taken.append(("TaskLedger", "accept", (1,)))
    bench.ledger.mine()
    send, pending = bench.ledger.send, [True]

    def lost(*arguments: Any, value: int = 0) -> Receipt:
        try:
            return send(*arguments, value=value)
        finally:
            if pending and pending.pop():
                bench.ledger.lose(1)
                bench.ledger.mine()

    bench.ledger.send = lost  # type: ignore[method-assign]
    bench.store.enqueue(accept(1))
    bench.outbox().flush()
    assert len(bench.ledger.taken) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        ContractRefused("gone too", error="UnknownTask"),
        ContractRefused("gone too", error="WrongState", arguments=(b"", 0)),
        ContractRefused("not there yet", error="WrongState", arguments=(b"", 1)),
        ContractRefused("not there yet", error="WrongAttempt", arguments=(b"", 2)),
    ],
    ids=lambda each: each.error,
)
def test_what_a_write_rests_on_may_come_again_later(bench: Bench, refusal: ContractRefused) -> None:
    bench.store.enqueue(accept(1))
    outbox = bench.outbox()
    outbox.flush()
    bench.ledger.lose(1)
    bench.ledger.before = refusal
    outbox.flush()
    assert bench.refused == [] and bench.ledger.taken == []
    bench.ledger.before = None
    with bench.store._engine.begin() as connection:
        connection.exec_driver_sql("update outbox set not_before = 0")
    outbox.flush()
    assert len(bench.ledger.taken) == 1


@pytest.mark.parametrize(("error", "told"), [("TooLate", True), ("UnknownTask", True), ("WrongAttempt", False)])
def test_nobody_waits_for_ever_for_what_a_write_rests_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: str, told: bool
) -> None:
    monkeypatch.setattr(module, "PATIENCE", -1.0 if error != "TooLate" else 1000.0)
    bench.store.enqueue(accept(1))
    outbox = bench.outbox()
    outbox.flush()
    bench.ledger.lose(1)
    bench.ledger.before = ContractRefused("no", error=error)
    outbox.flush()
    assert bench.refused == ([("accept:1:1", error)] if told else []) and bench.store.due_writes() == []

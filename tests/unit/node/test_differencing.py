"""How often one dataset is compared with another owner's data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tallystick.protocol.errors import Refused
from tallystick.protocol.task import TaskSpec
from tallystick_node.admission import gate as module
from tallystick_node.admission.gate import Gate
from tallystick_node.settings import Policy
from tallystick_node.store.database import Store
from tallystick_node.workloads.registry import workload_named
from unit.workloads.conftest import ACCOUNTS
from unit.workloads.test_intersection import parameters_of, spec_of
from unit.workloads.test_intersection_sum import parameters_of as sums
from unit.workloads.test_intersection_sum import spec_of as sum_of
from unit.workloads.test_lookup import spec_of as lookup_of

LIMIT = 3
COUNTED = spec_of(parameters_of(["int64"]), [1])  # the second owner receives


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path}/node.db")
    yield made
    made.close()


def ran(store: Store, number: int, spec: TaskSpec = COUNTED, states: tuple[str, ...] = ("admitted", "running")) -> None:
    task = f"0x{number:064x}"
    store.create_run(task, spec.to_bytes())
    for state in states:
        store.advance(task, state)


def refused(store: Store, tmp_path: Path, spec: TaskSpec = COUNTED, account: str = ACCOUNTS[0]) -> bool:
    none: Any = None
    gate = Gate(account, none, store, Policy(intersections_per_day=LIMIT), tmp_path)
    try:
        gate._differencing_rule(spec, workload_named(spec.workload))
    except Refused as refusal:
        assert refusal.rule == "differencing"
        assert refusal.party in ACCOUNTS and refusal.party != account
        return True
    return False


def test_comparisons_of_a_pair_are_counted_whoever_asks(store: Store, tmp_path: Path) -> None:
    for number in range(LIMIT):
        assert not refused(store, tmp_path)
        ran(store, number, replace(COUNTED, requester=ACCOUNTS[number % 2]))
    assert refused(store, tmp_path)
    assert refused(store, tmp_path, replace(COUNTED, purpose="another"))


def test_intersections_and_sums_count_together_and_attempts_count(store: Store, tmp_path: Path) -> None:
    summed = sum_of(sums(), [0])
    ran(store, 0, summed)
    ran(store, 1, states=("admitted", "running", "failed"))
    assert not refused(store, tmp_path)
    store.advance(f"0x{1:064x}", "admitted", attempt=2)
    assert refused(store, tmp_path) and refused(store, tmp_path, summed)


def test_what_does_not_count(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(store, 0, states=())
    ran(store, 1, states=("refused",))
    ran(store, 2, states=("cancelled",))
    ran(store, 3, lookup_of())
    ran(store, 4, spec_of(parameters_of(["int64"]), [0]))  # only this party learns which keys match
    elsewhere = tuple(replace(part, dataset="0x" + "77" * 32) for part in COUNTED.inputs)
    ran(store, 5, replace(COUNTED, inputs=elsewhere))
    for number in (6, 7):
        ran(store, number)
    assert not refused(store, tmp_path)
    ran(store, 8, states=("admitted", "failed"))
    assert refused(store, tmp_path)
    assert not refused(store, tmp_path, spec_of(parameters_of(["int64"]), [0]))
    later = time.time() + module.DAY + 1
    monkeypatch.setattr(module.time, "time", lambda: later)
    assert not refused(store, tmp_path)  # two still run


def test_a_task_that_expired_counts_by_the_attempts_that_ran(store: Store, tmp_path: Path) -> None:
    """Else proposals that nobody starts would use up the day, or what ran until its time was over would be forgotten."""
    for number in range(LIMIT + 1):
        ran(store, number, states=("expired",) if number % 2 else ("admitted", "expired"))
    assert not refused(store, tmp_path)
    ran(store, 10, states=("admitted", "running", "expired"))
    ran(store, 11, states=("admitted", "running", "proving", "expired"))
    assert not refused(store, tmp_path)
    ran(store, 12, states=("admitted", "running", "failed"))
    store.advance(f"0x{12:064x}", "admitted", attempt=2)
    assert refused(store, tmp_path)
    store.advance(f"0x{12:064x}", "expired")  # its second attempt was not started
    assert refused(store, tmp_path)
    assert [store.begun(f"0x{number:064x}") for number in (0, 1, 10, 11, 12)] == [0, 0, 1, 1, 1]


def test_an_attempt_that_may_start_at_any_moment_counts_until_it_expires(store: Store, tmp_path: Path) -> None:
    for number in range(LIMIT):
        ran(store, number, states=("admitted",))
    assert refused(store, tmp_path)
    store.advance(f"0x{0:064x}", "expired")
    assert not refused(store, tmp_path)


def test_of_three_owners_each_pair_counts(store: Store, tmp_path: Path) -> None:
    for number in range(LIMIT):
        ran(store, number)
    third = replace(COUNTED.inputs[1], party=ACCOUNTS[2], dataset="0x" + "99" * 32)
    pair = replace(COUNTED, inputs=(COUNTED.inputs[0], third), receivers=(ACCOUNTS[2],))
    assert not refused(store, tmp_path, pair)
    assert refused(store, tmp_path, replace(COUNTED, inputs=(*COUNTED.inputs, third)))


def test_a_policy_of_none(store: Store, tmp_path: Path) -> None:
    none: Any = None
    gate = Gate(ACCOUNTS[0], none, store, Policy(intersections_per_day=0), tmp_path)
    with pytest.raises(Refused, match="as often as this node allows"):
        gate._differencing_rule(COUNTED, workload_named("intersection"))
    gate._differencing_rule(lookup_of(), workload_named("lookup"))

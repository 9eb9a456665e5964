"""How many lookups of a day are counted against a requester."""

import time
from dataclasses import replace

import pytest
from tallystick.protocol.errors import Refused
from tallystick_node.admission import gate as module
from tallystick_node.admission.gate import Gate
from tallystick_node.settings import Policy
from tallystick_node.store.database import Store
from tallystick_node.workloads.lookup.workload import Lookup
from unit.workloads.conftest import ACCOUNTS
from unit.workloads.test_lookup import ASKER, OWNER, spec_of

LIMIT = 20  # two tasks of eight, and half of a third


@pytest.fixture
def store(tmp_path):
    made = Store(f"sqlite:///{tmp_path}/node.db")
    yield made
    made.close()


def ran(store, number, states, spec=None, attempts=1):
    """A run that went through these states."""
    task = f"0x{number:064x}"
    store.create_run(task, (spec or spec_of()).to_bytes())
    for state in states:
        store.advance(task, state, attempt=attempts if state == "admitted" else None)


def refused(store, tmp_path, account=ACCOUNTS[OWNER], spec=None):
    gate = Gate(account, None, store, Policy(lookups_per_day=LIMIT), tmp_path)
    try:
        gate._rate_rule(spec or spec_of(), Lookup())
    except Refused as refusal:
        assert refusal.rule == "lookup-rate"
        return True
    return False


def test_lookups_of_a_requester_are_counted(store, tmp_path):
    assert not refused(store, tmp_path)
    ran(store, 1, ["admitted", "running", "proving", "proved"])
    assert not refused(store, tmp_path)
    ran(store, 2, ["admitted", "running", "failed"])
    assert refused(store, tmp_path)
    assert not refused(store, tmp_path, account=ACCOUNTS[ASKER])  # nobody looks anything up in its data
    assert not refused(store, tmp_path, spec=replace(spec_of(), requester=ACCOUNTS[2]))


def test_each_attempt_counts(store, tmp_path):
    ran(store, 1, ["admitted", "failed", "admitted"], attempts=2)
    assert refused(store, tmp_path)


def test_cancelling_the_next_attempt_does_not_take_back_what_was_read(store, tmp_path):
    for number in (1, 2):
        ran(store, number, ["admitted", "running", "failed"])
        store.advance(f"0x{number:064x}", "admitted", attempt=2)
        store.advance(f"0x{number:064x}", "cancelled")
    assert refused(store, tmp_path)


def test_what_read_nothing_or_long_ago_does_not_count(store, tmp_path, monkeypatch):
    ran(store, 1, [])
    ran(store, 2, ["refused"])
    ran(store, 3, ["cancelled"])
    ran(store, 4, ["admitted"], spec=replace(spec_of(), workload="statistics"))
    assert not refused(store, tmp_path)
    ran(store, 5, ["admitted", "failed"])
    ran(store, 6, ["admitted", "failed"])
    assert refused(store, tmp_path)
    later = time.time() + module.DAY + 1
    monkeypatch.setattr(module.time, "time", lambda: later)
    assert not refused(store, tmp_path)


def test_what_was_admitted_long_ago_and_still_runs_counts(store, tmp_path, monkeypatch):
    ran(store, 1, ["admitted", "running"])
    ran(store, 2, ["admitted", "running"])
    later = time.time() + module.DAY + 1
    monkeypatch.setattr(module.time, "time", lambda: later)
    assert refused(store, tmp_path)


def test_a_policy_of_none(store, tmp_path):
    gate = Gate(ACCOUNTS[OWNER], None, store, Policy(lookups_per_day=0), tmp_path)
    with pytest.raises(Refused, match="passes what this node allows"):
        gate._rate_rule(spec_of(), Lookup())
    assert "lookup" not in Policy().workloads

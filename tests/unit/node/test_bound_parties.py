"""What a node that staked a bond does with a run's course, so that no fault of others, or of its own policy, costs it the bond."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.chain.contract import Event
from tallystick.protocol.errors import ChainUnreachable, PeerFailed, Refused
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import PROJECTION_ABSENT, TaskSpec
from tallystick_node.admission.agreements import Agreed
from tallystick_node.runs.engine import Runs
from tallystick_node.settings import Policy
from tallystick_node.store.database import Store
from unit.node.test_agreements import OTHERS, OWN, RUN, WORLD, Ledger, Me, agreed, queued


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'node.db'}")


class Known:
    """What was agreed; asked again, what was agreed meanwhile."""

    def __init__(self, *terms: Agreed | None) -> None:
        self.terms = list(terms)

    def of(self, spec: TaskSpec) -> Agreed | None:
        found = self.terms.pop(0) if len(self.terms) > 1 else self.terms[0]
        if found is None:
            raise ChainUnreachable("no answer", party="http://chain")
        return found


def runs_of(store: Store, *terms: Agreed | None, **policy: Any) -> Any:
    settings = SimpleNamespace(policy=Policy(**policy), results=Path("results"))
    store.create_run(RUN.task, WORLD.spec.to_bytes())
    runs: Any = Runs(settings, store, Ledger(bytes(32)), Me(), None, None, None, "")  # type: ignore[arg-type]
    runs._promises._agreements = Known(*terms)
    runs._me = runs._acceptances._me = SimpleNamespace(note=lambda *_, **__: None)
    return runs


SPARING = replace(WORLD.spec, proof=PROJECTION_ABSENT[0], requester=OTHERS[0], receivers=(OTHERS[0],))
SILENT = PeerFailed("sent nothing", party=OTHERS[0], reason=Reason.PEER_SILENT)


@pytest.mark.parametrize(("terms", "reports"), [(agreed(0b001), 1), (agreed(0b110), 0), (None, 1)])
def test_who_leaves_a_run_that_may_end_without_it_is_not_silent(store: Store, terms: Agreed | None, reports: int) -> None:
    assert OWN in SPARING.may_be_absent
    runs = runs_of(store, terms)
    runs._fail(RUN, SPARING, SILENT)
    runs._fail(RUN, SPARING, SILENT)  # again, after a restart
    assert queued(store) == [("Disputes", "tenderReport")] * reports


class Closed:
    """A gate that a requester closed after this party had staked."""

    def check(self, spec: TaskSpec) -> None:
        raise Refused("the grant is used up", rule="grant-state", party=spec.requester, remedy="ask for a grant")


class Opened:
    def check(self, spec: TaskSpec) -> None:
        pass


@pytest.mark.parametrize(("posted", "tendered"), [(0b001, 1), (0b110, 0)])
def test_who_staked_and_cannot_accept_any_more_shows_that_it_was_bound(store: Store, posted: int, tendered: int) -> None:
    runs = runs_of(store, agreed(posted))
    runs._acceptances._gate = Closed()
    assert runs._acceptances.admit(store.run(RUN.task)).state == "refused"
    assert queued(store) == [("Disputes", "tenderAcceptance")] * tendered


def test_a_stake_that_arrives_after_the_refusal_binds_too(store: Store) -> None:
    runs = runs_of(store, agreed(), agreed(0b001))
    runs._acceptances._gate = Closed()
    runs._acceptances.admit(store.run(RUN.task))
    assert queued(store) == []
    posted = Event("Settlement", "BondPosted", {"task": bytes.fromhex(RUN.task[2:])}, 4, "", "", 0)
    asyncio.run(runs.on_event(posted))
    assert queued(store) == [("Disputes", "tenderAcceptance")]


def test_near_its_deadline_a_bound_party_tenders_though_it_could_not_accept(store: Store) -> None:
    runs = runs_of(store, agreed(0b001))
    runs._acceptances._gate = Closed()
    runs._meet_deadlines(store.run(RUN.task), WORLD.spec.accept_by - 1)
    assert queued(store) == [("Disputes", "tenderAcceptance")]


@pytest.mark.parametrize("change", [{"bond": 51}, {"token": "0x" + "ab" * 20}])
def test_no_more_is_staked_than_the_policy_says_where_terms_appear_after_admission(store: Store, change: Any) -> None:
    runs = runs_of(store, agreed(**change), largest_stake=50)
    runs._acceptances._gate = Opened()  # it saw no agreement yet
    runs._acceptances.state_of = lambda proposal: "Proposed"
    run = runs._acceptances.admit(store.run(RUN.task))
    assert (run.state, run.problem["rule"], queued(store)) == ("refused", "agreement", [])


def test_an_account_that_is_no_party_staked_nothing() -> None:
    assert not agreed(0b111).staked("0x" + "cd" * 20)


# -- in a run


def heard(name: str, **told: Any) -> Event:
    return Event("TaskLedger", name, {"task": bytes.fromhex(RUN.task[2:]), "attempt": 1, **told}, 5, "0x" + "00" * 32, "", 0)


@pytest.mark.parametrize(("stated", "answers"), [(b"", 1), (b"1", 0)])
def test_who_is_accused_of_silence_answers_unless_its_proof_is_on_its_way(store: Store, stated: bytes, answers: int) -> None:
    runs = runs_of(store, agreed(0b111))
    store.advance(RUN.task, "admitted", attempt=1)
    store.advance(RUN.task, "running")
    store.advance(RUN.task, "proving")
    store.remember(RUN.task, stated=stated)
    asyncio.run(runs.on_event(heard("Reported", accused=OWN)))
    assert queued(store) == [("TaskLedger", "fail")] * answers


@pytest.mark.parametrize("state", ["received", "refused", "expired"])
def test_a_run_that_starts_without_this_node_is_failed(store: Store, state: str) -> None:
    runs = runs_of(store, agreed(0b001))
    if state != "received":
        store.advance(RUN.task, state)
    asyncio.run(runs.on_event(heard("Started", runBy=10**10)))
    assert queued(store) == [("TaskLedger", "fail")]


def test_a_chain_that_lags_does_not_make_a_report_late(store: Store) -> None:
    runs, now = runs_of(store, agreed()), int(time.time())
    for said in (now - 1000, now + 1000):
        runs._chain.now = lambda said=said: said
        assert abs(runs._now(0) - max(said, now)) < 100


def test_a_task_of_others_that_was_handed_to_this_node_does_not_stop_it_reading_the_chain(store: Store) -> None:
    runs = runs_of(store, agreed(0b111))
    runs._signer.address = "0x" + "cd" * 20
    store.advance(RUN.task, "refused")
    asyncio.run(runs.on_event(heard("Expired")))
    assert queued(store) == []


def test_a_task_that_is_refused_while_its_deadline_passes_does_not_stop_the_node(store: Store) -> None:
    runs = runs_of(store, agreed())
    runs._chain.now = lambda: WORLD.spec.accept_by + 1

    def refused_meanwhile(proposal: Any) -> str:
        store.advance(RUN.task, "refused")
        return "None"

    runs._acceptances.state_of = refused_meanwhile
    asyncio.run(runs.tick())
    found = store.run(RUN.task)
    assert found is not None and found.state == "refused"

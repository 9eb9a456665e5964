"""What a node makes of agreements: read once from the chain, held against its policy, and kept to when a run stalls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tallystick.chain.contract import Event
from tallystick.chain.profile import PROFILES, ChainProfile
from tallystick.protocol import typed
from tallystick.protocol.agreement import COIN, Agreement
from tallystick.protocol.errors import ChainUnreachable, NotFound, PeerFailed, Refused, RunFailed
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec, proposal_of
from tallystick.signing import signer_from_uri
from tallystick_node.admission.agreements import Agreed, Agreements, require_terms
from tallystick_node.runs import promises as module
from tallystick_node.runs.promises import OutOfTime, Promises, contradiction
from tallystick_node.settings import Policy
from tallystick_node.store.database import RunRecord, Store
from unit.protocol.world import DEPLOYED, make

SIGNER = signer_from_uri("mnemonic:0")
WORLD = make()
OWN, OTHERS = WORLD.spec.parties[0], WORLD.spec.parties[1:]
TOKEN = "0x" + "ab" * 20
TASK = proposal_of(WORLD.spec).id()
TERMS = Agreement(TASK, COIN, 1000, 50, 60, 60, True, False, (5000, 3000, 2000), (OWN,))


def event(agreement: Agreement) -> Event:
    names = ("task", "token", "fee", "bond", "dispute", "ruling", "measured", "default", "shares", "arbiters", "price")
    told = {"task": TASK, "agreement": dict(zip(names, agreement.as_tuple(), strict=True))}
    return Event("Settlement", "AgreementOpened", told, 3, "", "", 0)


class Ledger:
    """As much of a chain as an agreement needs."""

    shown_url, profile = "http://chain", PROFILES["public"]

    def __init__(self, agreement: bytes | None = None, posted: int = 0, events: tuple[Event, ...] = ()) -> None:
        self.agreement, self.posted, self.told, self.reads = agreement, posted, events, 0
        self.settlement = self

    def escrow_of(self, task: bytes) -> dict[str, Any]:
        if self.agreement is None:
            raise NotFound("this deployment has no Settlement")
        assert task == TASK
        return {"agreement": self.agreement, "posted": self.posted}

    def head(self) -> int:
        return 0

    def events(self, first: int, last: int) -> tuple[Event, ...]:
        self.reads += 1
        assert last == self.profile.confirmations  # what is not final yet, too
        return self.told

    def domain(self, contract: str) -> typed.Domain:
        return typed.Domain(contract, 1, DEPLOYED["TaskLedger"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'node.db'}")


def agreed(posted: int = 0, **changes: Any) -> Agreed:
    return Agreed(replace(TERMS, **changes), posted, WORLD.spec.parties)


# -- reading


def test_an_agreement_is_kept_as_it_was_opened(store: Store) -> None:
    chain = Ledger(TERMS.id(), posted=0b10)
    agreements = Agreements(chain, store)  # type: ignore[arg-type]
    agreements.keep(event(TERMS))
    found = agreements.of(WORLD.spec)
    assert found is not None and found.agreement == TERMS and chain.reads == 0
    assert [found.staked(each) for each in WORLD.spec.parties] == [False, True, False]


def test_one_that_the_node_has_not_come_to_is_read_ahead(store: Store) -> None:
    found = Agreements(Ledger(TERMS.id(), events=(event(TERMS),)), store).of(WORLD.spec)  # type: ignore[arg-type]
    assert found is not None and found.agreement == TERMS
    with pytest.raises(ChainUnreachable, match="terms"):
        Agreements(Ledger(bytes(31) + b"\1"), store).of(WORLD.spec)  # type: ignore[arg-type]


@pytest.mark.parametrize("chain", [Ledger(bytes(32)), Ledger(None)])
def test_where_nothing_was_agreed(store: Store, chain: Ledger) -> None:
    assert Agreements(chain, store).of(WORLD.spec) is None  # type: ignore[arg-type]


# -- the policy


@pytest.mark.parametrize(
    ("policy", "terms", "refused"),
    [
        ({}, None, False),
        ({}, agreed(), False),
        ({"minimum_fee": 500}, agreed(), False),
        ({"minimum_fee": 501}, agreed(), True),
        ({"minimum_fee": 500}, agreed(shares=(), measured=False, price=600), False),  # half of the fee, which does not suffice
        ({"minimum_fee": 501}, agreed(shares=(), measured=False, price=600), True),
        ({"minimum_fee": 300}, agreed(shares=(), measured=False, price=300), False),
        ({"minimum_fee": 301}, agreed(shares=(), measured=False, price=300), True),
        ({"minimum_fee": 1}, None, True),
        ({"minimum_fee": 1}, agreed(token=TOKEN), True),
        ({"bond_of_others": 50}, agreed(), False),
        ({"bond_of_others": 51}, agreed(), True),
        ({"bond_of_others": 1}, None, True),
        ({"bond_of_others": 1}, agreed(token=TOKEN), True),
        ({"largest_stake": 50}, agreed(), False),
        ({"largest_stake": 49}, agreed(), True),
        ({"largest_stake": 50}, agreed(token=TOKEN), True),
        ({"largest_stake": 0}, agreed(bond=0), False),
        ({"largest_stake": 0}, agreed(posted=0b1), False),  # its operator staked
        ({"largest_stake": 0}, agreed(posted=0b10), True),
    ],
)
def test_terms_are_held_against_the_policy(policy: dict[str, int], terms: Agreed | None, *, refused: bool) -> None:
    if not refused:
        require_terms(terms, WORLD.spec, OWN, Policy(**policy))  # type: ignore[arg-type]
        return
    with pytest.raises(Refused) as caught:
        require_terms(terms, WORLD.spec, OWN, Policy(**policy))  # type: ignore[arg-type]
    assert (caught.value.rule, caught.value.party) == ("agreement", WORLD.spec.requester) and caught.value.remedy


# -- keeping promises


class Me:
    """A signer that is the first party."""

    address = OWN

    def sign_digest(self, digest: bytes) -> bytes:
        return SIGNER.sign_digest(digest)


def promises(store: Store, terms: Agreed | None, **policy: Any) -> Promises:
    class Known:
        def of(self, spec: TaskSpec) -> Agreed | None:
            return terms

    return Promises(Ledger(bytes(32)), store, Me(), Policy(**policy), Known())  # type: ignore[arg-type]


def queued(store: Store) -> list[tuple[str, str]]:
    return [(row.contract, row.function) for row in store.due_writes()]


RUN = RunRecord("0x" + TASK.hex(), "running", 1, "", 0.0, {}, b"")
SILENT = PeerFailed("sent nothing", party=OTHERS[0], reason=Reason.PEER_SILENT)
LATE = OutOfTime("not over", reason=Reason.WORKER)


@pytest.mark.parametrize(
    ("posted", "error", "function", "over"),
    [
        (0b000, SILENT, "fail", True),  # nobody staked: end it, and try again
        (0b001, SILENT, "fail", True),  # the silent one has nothing to lose
        (0b101, SILENT, "fail", True),
        (0b011, SILENT, "tenderReport", False),
        (0b010, SILENT, "expire", False),  # nothing of the own to lose: wait
        (0b111, PeerFailed("ended", party=OTHERS[1], reason=Reason.PEER_ABORTED), "tenderReport", False),
        (0b111, LATE, "tenderReport", False),
        (0b001, LATE, "fail", True),
        (0b111, RunFailed("died", reason=Reason.WORKER), "fail", True),
        (0b111, PeerFailed("lied", party=OTHERS[0], reason=Reason.PEER_VIOLATION), "fail", True),
    ],
)
def test_a_bonded_party_that_waits_says_so_and_lets_the_silent_one_be_late(
    store: Store, posted: int, error: Any, function: str, *, over: bool
) -> None:
    write, ended = promises(store, agreed(posted)).failure(RUN, WORLD.spec, error)
    assert (write.function, ended) == (function, over)
    if function == "tenderReport":
        assert write.arguments[1] == 1 and write.arguments[2] in (OTHERS[0], COIN)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_patience_leaves_two_thirds_of_the_margin_to_speak_in(store: Store, profile: ChainProfile) -> None:
    aborted = PeerFailed("ended", party=OTHERS[0], reason=Reason.PEER_ABORTED)
    made = promises(store, None)
    made._chain.profile = profile  # type: ignore[misc]
    delay = made.failure(RUN, WORLD.spec, aborted)[0].delay
    assert 0 < delay <= min(5, made.margin / 3)
    assert made.failure(RUN, WORLD.spec, SILENT)[0].delay == 0


def test_a_node_stakes_by_its_policy_and_after_the_others_where_that_asks_it(store: Store) -> None:
    assert promises(store, None, largest_stake=50).waits(WORLD.spec) == ""
    assert promises(store, agreed()).waits(WORLD.spec) == ""  # staking is its operator's business
    assert promises(store, agreed(bond=0), largest_stake=50).waits(WORLD.spec) == ""
    assert "others" in promises(store, agreed(0b010), largest_stake=50, bond_of_others=50).waits(WORLD.spec)
    assert queued(store) == []
    assert "staking" in promises(store, agreed(0b110), largest_stake=50, bond_of_others=50).waits(WORLD.spec)
    assert queued(store) == [("Settlement", "post")]
    assert promises(store, agreed(0b111), largest_stake=50, bond_of_others=50).waits(WORLD.spec) == ""


def test_who_staked_shows_that_it_accepts_and_who_was_late(store: Store) -> None:
    for posted in (0b010, 0b001):
        promises(store, agreed(posted)).willing(WORLD.spec)
    assert queued(store) == [("Disputes", "tenderAcceptance")]
    promises(store, agreed(0)).lateness(RUN, WORLD.spec)
    promises(store, agreed(0b100)).lateness(RUN, WORLD.spec)
    assert queued(store)[1:] == [("Disputes", "proveLateness")]


def test_contradictions_are_shown_where_a_bond_is_staked(store: Store) -> None:
    signed = ((TASK, 1, OWN, OTHERS[0], 3, 300, bytes(32)), OWN, bytes(65))
    for terms in (None, agreed(0)):
        promises(store, terms).contradict(RUN, WORLD.spec, [(signed, signed)])
    assert queued(store) == []
    back = ((TASK, 1, OTHERS[0], OWN, 3, 300, bytes(32)), OWN, bytes(65))
    for _ in range(2):
        promises(store, agreed(0b100)).contradict(RUN, WORLD.spec, [(signed, signed), (back, back)])
    assert queued(store) == [("Disputes", "proveTwoDigests")] * 2
    store.withdraw_write(contradiction(RUN.task, 1, OWN, OTHERS[0]), (5, "0x5"))  # another party has shown it
    store.withdraw_write(contradiction(RUN.task, 2, OTHERS[0], OWN), (5, "0x5"))
    assert [row.key for row in store.due_writes()] == [contradiction(RUN.task, 1, OTHERS[0], OWN)]


def test_parties_show_a_contradiction_one_after_the_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STAGGER", 3600.0)
    signed = ((TASK, 1, OWN, OTHERS[0], 3, 300, bytes(32)), OWN, bytes(65))
    later = promises(store, agreed(0b100))
    later._signer.address = OTHERS[1]  # type: ignore[misc]
    later.contradict(RUN, WORLD.spec, [(signed, signed)])
    assert queued(store) == []

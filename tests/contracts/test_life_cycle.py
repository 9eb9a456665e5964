"""The life of tasks on a real chain against a small model of it: after any sequence of steps both are in the same state.

The model says of every step which rule refuses it, or which events it leaves. Time moves in steps that keep clear of every
deadline by 50 seconds, so the seconds that the test itself takes never decide; the borders have tests of their own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from contracts.conftest import KIND, Actor, World
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tallystick.protocol import typed
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.grant import Grant
from tallystick.protocol.task import Party, Proposal

NONE, PROPOSED, RUNNING, PROVED, FAILED, CANCELLED, EXPIRED = range(7)
ACCEPT_SECONDS, RUN_SECONDS, ATTEMPTS = 3650, 650, 3
TASKS = range(2)
PARTIES = 3
NOBODY = "0x" + "00" * 20
Outcome = str | list[tuple[str, Any]]


@dataclass
class ModelGrant:
    uses: int
    budget: int
    cost: int  # of one debit
    used: int = 0
    spent: int = 0
    revoked: bool = False
    withdrawn: bool = False


@dataclass
class ModelTask:
    state: int = NONE
    attempt: int = 0
    accepted: int = 0
    run_by: int = 0


@dataclass
class Model:
    """What the contracts promise, in as few words as possible. A step returns the refusing rule or the events."""

    accept_by: int
    grants: list[ModelGrant | None]  # by the party's place; a receiver has none
    tasks: list[ModelTask] = field(default_factory=lambda: [ModelTask() for _ in TASKS])
    suspended: set[int] = field(default_factory=set)  # places of parties; PARTIES is the requester

    def propose(self, number: int, by_requester: bool, now: int) -> Outcome:
        if not by_requester:
            return "NotTheRequester"
        if PARTIES in self.suspended:
            return "NotActive"
        if self.tasks[number].state != NONE:
            return "TaskExists"
        if now >= self.accept_by:
            return "BadDeadlines"
        for place, grant in enumerate(self.grants):
            if grant and grant.withdrawn:
                return "DatasetWithdrawn"
            if place in self.suspended:
                return "NotActive"
        self.tasks[number] = ModelTask(PROPOSED, 1)
        return [("Proposed", number)]

    def accept(self, number: int, attempt: int, places: list[int], forged: bool, now: int) -> Outcome:
        task = self.tasks[number]
        if task.state == NONE:
            return "UnknownTask"
        if not places:
            return "LengthMismatch"
        state, current, accepted = task.state, task.attempt, task.accepted
        if state == FAILED and current < ATTEMPTS:
            state, current, accepted = PROPOSED, current + 1, 0
        if state != PROPOSED:
            return "WrongState"
        if attempt != current:
            return "WrongAttempt"
        if now > self.accept_by:
            return "TooLate"
        events: list[tuple[str, Any]] = []
        for position, place in enumerate(places):
            if accepted >> place & 1:
                return "AlreadyAccepted"
            if place in self.suspended:
                return "NotActive"
            if forged and position == len(places) - 1:
                return "BadAcceptance"
            accepted |= 1 << place
            events.append(("Accepted", place))
        if accepted == (1 << PARTIES) - 1:
            used = [grant for grant in self.grants if grant]
            for grant in used:
                if grant.withdrawn:
                    return "DatasetWithdrawn"
                if grant.revoked:
                    return "GrantIsRevoked"
                if grant.used == grant.uses:
                    return "GrantUsedUp"
                if grant.spent + grant.cost > grant.budget:
                    return "BudgetExceeded"
            events.append(("Started", attempt))
            for grant in used:
                grant.used += 1
                grant.spent += grant.cost
                events.append(("Debited", (grant.used, grant.spent)))
            state = RUNNING
        self.tasks[number] = ModelTask(state, current, accepted, now + RUN_SECONDS if state == RUNNING else 0)
        return events

    def prove(self, number: int, attempt: int, forged: bool, now: int) -> Outcome:
        task = self.tasks[number]
        if self.suspended & set(range(PARTIES)):
            return "NotActive"
        if forged:
            return "BadSignature"
        if task.state != RUNNING:
            return "WrongState"
        if attempt != task.attempt:
            return "WrongAttempt"
        if now > task.run_by:
            return "TooLate"
        task.state = PROVED
        return [("ResultProved", attempt), ("ProvedBy", attempt)]

    def fail(self, number: int, attempt: int, by_party: bool, accused: bool, now: int) -> Outcome:
        task = self.tasks[number]
        if task.state == NONE:
            return "UnknownTask"
        if not by_party:
            return "NotAParty"
        if task.state != RUNNING:
            return "WrongState"
        if attempt != task.attempt:
            return "WrongAttempt"
        if now > task.run_by:
            return "TooLate"
        task.state = FAILED
        return [("Failed", accused)]

    def cancel(self, number: int, by_requester: bool) -> Outcome:
        task = self.tasks[number]
        if task.state == NONE:
            return "UnknownTask"
        if not by_requester:
            return "NotTheRequester"
        if task.state != PROPOSED:
            return "WrongState"
        task.state = CANCELLED
        return [("Cancelled", number)]

    def expire(self, number: int, now: int) -> Outcome:
        task = self.tasks[number]
        if task.state == NONE:
            return "UnknownTask"
        if task.state not in (PROPOSED, RUNNING):
            return "WrongState"
        if now <= (self.accept_by if task.state == PROPOSED else task.run_by):
            return "TooEarly"
        everyone = (1 << PARTIES) - 1
        late = everyone if task.state == RUNNING else everyone & ~task.accepted
        task.state = EXPIRED
        return [("Expired", late)]

    def revoke(self, place: int, by_owner: bool) -> Outcome:
        grant = self.grants[place]
        assert grant
        if not by_owner:
            return "NotTheDatasetOwner"
        if grant.revoked:
            return "GrantIsRevoked"
        grant.revoked = True
        return [("GrantRevoked", None)]

    def withdraw(self, place: int, by_owner: bool) -> Outcome:
        grant = self.grants[place]
        assert grant
        if not by_owner:
            return "NotTheOwner"
        if grant.withdrawn:
            return "DatasetWithdrawn"
        grant.withdrawn = True
        return [("Withdrawn", None)]

    def suspend(self, place: int, by_governor: bool, lift: bool) -> Outcome:
        if not by_governor:
            return "NotAllowed"
        if (place in self.suspended) != lift:
            return "WrongStatus"
        (self.suspended.remove if lift else self.suspended.add)(place)
        return [("Reinstated" if lift else "Suspended", None)]


#: What is compared of each event's arguments.
SHOWN: dict[str, Callable[[Any, World, list[Proposal]], Any]] = {
    "Proposed": lambda e, w, ps: [p.id() for p in ps].index(e["task"]),
    "Accepted": lambda e, w, ps: [party.account for party in ps[0].parties].index(e["party"]),
    "Started": lambda e, w, ps: e["attempt"],
    "Debited": lambda e, w, ps: (e["used"], e["spentMicros"]),
    "ResultProved": lambda e, w, ps: e["attempt"],
    "ProvedBy": lambda e, w, ps: e["attempt"],
    "Failed": lambda e, w, ps: e["accused"] != NOBODY,
    "Cancelled": lambda e, w, ps: [p.id() for p in ps].index(e["task"]),
    "Expired": lambda e, w, ps: e["late"],
}


POOL: list[tuple[Callable[..., None], dict[str, st.SearchStrategy[Any]]]] = []


def step(weight: int, **strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A step that is drawn ``weight`` times as often as another. Rules of their own would be switched off example by example,
    and hardly an example would get as far as a grant's last use."""

    def register(method: Callable[..., None]) -> Callable[..., None]:
        POOL.extend([(method, strategies)] * weight)
        return method

    return register


class LifeCycle(RuleBasedStateMachine):
    """Two tasks that share their grants, so that one uses up what the other needs."""

    def __init__(self, world: World, grants: list[Grant]) -> None:
        super().__init__()
        self.world = world
        self.snapshot = world.chain.request("evm_snapshot")
        now = world.chain.now()
        self.first_block = int(world.chain.request("eth_blockNumber"), 16) + 1
        owners = dict(zip((actor.address for actor in world.parties), grants, strict=False))
        members = sorted([*world.parties[:2], world.regulator], key=lambda actor: int(actor.address, 16))
        self.parties: list[Actor] = members
        self.grants = [owners.get(actor.address) for actor in members]
        self.accept_by = now + ACCEPT_SECONDS
        self.proposals: list[Proposal] = []
        self.terms = [grant.terms if grant else bytes(32) for grant in self.grants]
        self.history: list[tuple[str, Any]] = []

    def teardown(self) -> None:
        head = int(self.world.chain.request("eth_blockNumber"), 16)
        recorded = [self.shown(event) for event in self.world.chain.events(self.first_block, head)]
        self.world.chain.request("evm_revert", self.snapshot)
        assert recorded == self.history

    def shown(self, event: Any) -> tuple[str, Any]:
        see = SHOWN.get(event.name)
        return event.name, see(event, self.world, self.proposals) if see else None

    def compare(self, expected: Outcome, actor: Actor, contract: str, function: str, *arguments: Any) -> None:
        try:
            receipt = actor.send(contract, function, *arguments)
        except ContractRefused as refusal:
            assert refusal.error == expected, f"the chain says {refusal}, the model {expected}"
            return
        events = [self.shown(event) for event in receipt.events]
        assert events == expected
        self.history += events

    def now(self) -> int:
        """The time of a block that is made now: refusals make none, and the last one may be from long before them."""
        self.world.chain.request("evm_mine")
        return self.world.chain.now()

    def someone(self, place: int) -> Actor:
        return [*self.parties, self.world.requester][place]

    # -- steps: mostly by those who may, so that examples get somewhere

    @initialize(cost=st.sampled_from([0, 400_000]), both=st.sampled_from([True, True, False]))
    def start(self, cost: int, both: bool) -> None:
        """Without a cost the uses end first, with it the budget does."""
        costs = [cost if grant and grant.epsilon_micros else 0 for grant in self.grants]
        parties = tuple(
            Party(actor.address, grant.dataset, grant.id(), each, 1) if grant else Party(actor.address)
            for actor, grant, each in zip(self.parties, self.grants, costs, strict=True)
        )
        options: dict[str, Any] = {"accept_by": self.accept_by, "run_seconds": RUN_SECONDS, "attempts": ATTEMPTS}
        self.proposals = [self.world.proposal([], parties=parties, **options) for _ in TASKS]
        grants = zip(self.grants, costs, strict=True)
        self.model = Model(self.accept_by, [ModelGrant(g.uses, g.epsilon_micros, each) if g else None for g, each in grants])
        for number in TASKS[: 1 + both]:
            self.propose(number, rightly=True)

    @step(12, number=st.sampled_from(TASKS), wish=st.sampled_from(["prove", "fail", "fail", "fail", "expire"]))
    def advance(self, number: int, wish: str) -> None:
        """What an honest network does next."""
        task = self.model.tasks[number]
        if task.state == NONE:
            self.propose(number, rightly=True)
        elif task.state in (PROPOSED, FAILED):
            left = [place for place in range(PARTIES) if task.state == FAILED or not task.accepted >> place & 1]
            self.accept(number, 0, left, "")
        elif task.state == RUNNING and wish == "prove":
            self.prove(number, ahead=0, forged=False)
        elif task.state == RUNNING and wish == "fail":
            self.fail(number, 0, 0, 1)
        elif task.state == RUNNING:
            self.time_passes(700)
            self.expire(number)

    @step(2, number=st.sampled_from(TASKS), place=st.integers(0, PARTIES - 1))
    def linger(self, number: int, place: int) -> None:
        """One party accepts, the others never do."""
        if self.model.tasks[number].state in (PROPOSED, FAILED):
            self.accept(number, 0, [place], "")
            self.time_passes(ACCEPT_SECONDS + 100)
            self.expire(number)

    @step(1, number=st.sampled_from(TASKS), rightly=st.sampled_from([True, True, True, False]))
    def propose(self, number: int, rightly: bool) -> None:
        actor = self.world.requester if rightly else self.world.stranger
        expected = self.model.propose(number, rightly, self.now())
        self.compare(expected, actor, "TaskLedger", "propose", self.proposals[number].as_tuple())

    @step(
        3,
        number=st.sampled_from(TASKS),
        ahead=st.sampled_from([0, 0, 0, 0, 1]),
        places=st.one_of(
            st.permutations(range(PARTIES)), st.permutations(range(PARTIES)), st.lists(st.integers(0, PARTIES - 1), max_size=3)
        ),
        flaw=st.sampled_from(["", "", "", "", "attempt", "task", "contract", "key"]),
    )
    def accept(self, number: int, ahead: int, places: list[int], flaw: str) -> None:
        task, proposal = self.model.tasks[number], self.proposals[number]
        attempt = max(1, task.attempt + (task.state == FAILED) + ahead)
        signatures = [self.acceptance(place, number, attempt) for place in places]
        if flaw and places:
            signatures[-1] = self.acceptance(places[-1], number, attempt, flaw)
        expected = self.model.accept(number, attempt, list(places), bool(flaw and places), self.now())
        call = (proposal.as_tuple(), attempt, list(places), signatures, self.terms)
        self.compare(expected, self.world.relayer, "TaskLedger", "accept", *call)

    def acceptance(self, place: int, number: int, attempt: int, flaw: str = "") -> bytes:
        proposal = self.proposals[1 - number if flaw == "task" else number]
        domain = self.world.domain("ProofRegistry" if flaw == "contract" else "TaskLedger")
        signer = self.parties[(place + 1) % PARTIES if flaw == "key" else place].signer
        digest = typed.acceptance_digest(domain, proposal.id(), proposal.spec, attempt + (flaw == "attempt"))
        return signer.sign_digest(digest)

    @step(
        2, number=st.sampled_from(TASKS), ahead=st.sampled_from([0, 0, 0, 1]), forged=st.sampled_from([False, False, False, True])
    )
    def prove(self, number: int, ahead: int, forged: bool) -> None:
        proposal = self.proposals[number]
        attempt = max(1, self.model.tasks[number].attempt + ahead)
        result = self.world.result(proposal, attempt=attempt)
        signed = self.world.result(proposal, attempt=attempt + 1) if forged else result
        digest = typed.result_digest(self.world.domain("ProofRegistry"), signed)
        signatures = [actor.signer.sign_digest(digest) for actor in self.parties]
        expected = self.model.prove(number, attempt, forged, self.now())
        call = (proposal.as_tuple(), result.as_tuple(), signatures, b"")
        self.compare(expected, self.world.relayer, "ProofRegistry", "submit", *call)

    @step(
        1,
        number=st.sampled_from(TASKS),
        ahead=st.sampled_from([0, 0, 0, 1]),
        by=st.integers(0, PARTIES),
        accused=st.one_of(st.none(), st.integers(0, PARTIES - 1)),
    )
    def fail(self, number: int, ahead: int, by: int, accused: int | None) -> None:
        attempt = max(1, self.model.tasks[number].attempt + ahead)
        expected = self.model.fail(number, attempt, by < PARTIES, accused is not None, self.now())
        at_fault = NOBODY if accused is None else self.parties[accused].address
        call = (self.proposals[number].as_tuple(), attempt, at_fault, 7, bytes(32))
        self.compare(expected, self.someone(by), "TaskLedger", "fail", *call)

    @step(1, number=st.sampled_from(TASKS), rightly=st.sampled_from([True, False, False]))
    def cancel(self, number: int, rightly: bool) -> None:
        actor = self.world.requester if rightly else self.parties[0]
        expected = self.model.cancel(number, rightly)
        self.compare(expected, actor, "TaskLedger", "cancel", self.proposals[number].as_tuple())

    @step(2, number=st.sampled_from(TASKS))
    def expire(self, number: int) -> None:
        expected = self.model.expire(number, self.now())
        self.compare(expected, self.world.stranger, "TaskLedger", "expire", self.proposals[number].as_tuple())

    @step(2, seconds=st.sampled_from([100, 100, 700, 2000]))
    def time_passes(self, seconds: int) -> None:
        self.world.travel(seconds)

    @step(1, place=st.integers(0, PARTIES - 1), rightly=st.booleans())
    def revoke_grant(self, place: int, rightly: bool) -> None:
        grant = self.grants[place]
        if grant:
            actor = self.parties[place] if rightly else self.world.requester
            self.compare(self.model.revoke(place, rightly), actor, "GrantLedger", "revoke", grant.as_tuple())

    @step(1, place=st.integers(0, PARTIES - 1), rightly=st.sampled_from([True, False, False]))
    def withdraw_dataset(self, place: int, rightly: bool) -> None:
        grant = self.grants[place]
        if grant:
            actor = self.parties[place] if rightly else self.world.governor
            self.compare(self.model.withdraw(place, rightly), actor, "DatasetRegistry", "withdraw", grant.dataset)

    @step(1, place=st.integers(0, PARTIES), rightly=st.booleans())
    def suspend(self, place: int, rightly: bool) -> None:
        actor = self.world.governor if rightly else self.someone(place)
        expected = self.model.suspend(place, rightly, lift=False)
        self.compare(expected, actor, "ParticipantRegistry", "suspend", self.someone(place).address, bytes(32))

    @step(2, rightly=st.sampled_from([True, True, True, False]))
    def reinstate(self, rightly: bool) -> None:
        place = min(self.model.suspended, default=0)
        actor = self.world.governor if rightly else self.world.stranger
        expected = self.model.suspend(place, rightly, lift=True)
        self.compare(expected, actor, "ParticipantRegistry", "reinstate", self.someone(place).address)

    @rule(data=st.data())
    def any_step(self, data: st.DataObject) -> None:
        method, strategies = data.draw(st.sampled_from(POOL))
        method(self, **{name: data.draw(strategy) for name, strategy in strategies.items()})

    # -- what holds after every step

    @invariant()
    def tasks_agree(self) -> None:
        for model, proposal in zip(self.model.tasks, self.proposals, strict=True):
            task = self.world.call("TaskLedger", "taskAt", proposal.id())
            assert (task["state"], task["attempt"], task["accepted"]) == (model.state, model.attempt, model.accepted)
            assert abs(task["runBy"] - model.run_by) < 30
            assert task["runBy"] == (task["startedAt"] + RUN_SECONDS if task["startedAt"] else 0)

    @invariant()
    def grants_agree_and_never_exceed(self) -> None:
        for model, grant in zip(self.model.grants, self.grants, strict=True):
            if model and grant:
                found = self.world.call("GrantLedger", "accountOf", grant.id())
                assert (found["used"], found["spentMicros"], found["revoked"]) == (model.used, model.spent, model.revoked)
                assert found["used"] <= grant.uses
                assert found["spentMicros"] <= grant.epsilon_micros


@pytest.mark.timeout(400)
def test_any_sequence_of_steps_leaves_chain_and_model_in_the_same_state(world: World) -> None:
    grants = []
    for owner, changes in zip(world.parties[:2], ({"uses": 3, "epsilon_micros": 1_000_000}, {"uses": 2}), strict=True):
        grant = world.grant(world.publish(owner), salt=secrets.token_bytes(32), **changes)
        world.issue(owner, grant)
        grants.append(grant)
    run_state_machine_as_test(
        lambda: LifeCycle(world, grants),
        settings=settings(
            max_examples=18 if KIND == "anvil" else 5,
            stateful_step_count=24,
            database=None,
            phases=[Phase.generate],  # to shrink a failure takes minutes on a real chain; its 24 steps can be read as they are
            suppress_health_check=list(HealthCheck),
        ),
    )

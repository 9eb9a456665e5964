"""Money under any sequence of steps: what is claimed is what a small model says, and in the end nothing is left.

The model knows who staked, what each is found guilty of and how the task ended; it never looks at the contract. After every
sequence everybody waits, tells the contracts what is over, and claims: each gets what the model says, and the contract is empty.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from contracts.bargain import BOND, FEE, RULING, WINDOW, Bargain
from contracts.conftest import KIND, Actor, Case
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from tallystick.protocol.agreement import COIN
from tallystick.protocol.errors import ContractRefused

SHARES = (5000, 3000, 2000)
PARTIES = range(3)
REQUESTER, STATEMENT = 3, 3  # as an actor, and in the place of an accused


class Money(RuleBasedStateMachine):
    """One task with three parties. The requester may stake as well."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.world = case.world
        self.snapshot = self.world.chain.request("evm_snapshot")
        self.case = case

    def teardown(self) -> None:
        try:
            if hasattr(self, "bargain"):
                self.finish()
        finally:
            self.world.chain.request("evm_revert", self.snapshot)

    @initialize(bond=st.sampled_from([0, 1, BOND, BOND]), default=st.booleans(), staking=st.sets(st.integers(0, 3)))
    def begin(self, bond: int, default: bool, staking: set[int]) -> None:
        self.bargain = Bargain.of(self.case, bond=bond, upheld_by_default=default)
        self.actors: list[Actor] = [*self.bargain.parties, self.world.requester]
        self.staked: set[int] = set()
        self.guilty: set[int] = set()  # loses share and bond
        self.forfeited: set[int] = set()  # loses its bond
        self.void, self.ended, self.proved = False, False, False
        self.shares = SHARES
        self.open: dict[bytes, tuple[int, int]] = {}  # disputes without an outcome: challenger, accused
        self.paid = 0
        self.result = self.world.result(self.bargain.proposal)
        self.case.propose()
        self.bargain.open()
        for place in sorted(staking):
            self.bargain.post(self.actors[place])
            self.staked.add(place)

    @rule(how=st.sampled_from(["prove", "prove", "prove", "fail", "cancel", "silence"]), accepting=st.sets(st.integers(0, 2)))
    @precondition(lambda self: not self.ended)
    def run(self, how: str, accepting: set[int]) -> None:
        """The task comes to its end. After ``silence`` whoever staked and did nothing is late."""
        world, proposal, grants = self.world, self.bargain.proposal, self.case.grants
        self.ended = True
        if how == "cancel":
            world.requester.send("TaskLedger", "cancel", proposal.as_tuple())
        elif how == "silence":
            if accepting:
                world.accept(proposal, grants, indices=sorted(accepting))
            world.travel(3700)  # past both deadlines, and inside the time for evidence
            self.bargain.expire()
            started = accepting == set(PARTIES)
            self.convict((self.staked & set(PARTIES)) - (set() if started else accepting))
        else:
            world.accept(proposal, grants)
            if how == "prove":
                self.proved = True
                world.prove(proposal, self.result)
            else:
                for attempt in (1, 2):
                    if attempt == 2:
                        world.accept(proposal, grants, attempt=2)
                    self.actors[0].send("TaskLedger", "fail", proposal.as_tuple(), attempt, COIN, 1, bytes(32))

    def convict(self, late: set[int]) -> None:
        try:
            found = {event["accused"] for event in self.bargain.lateness().events}
        except ContractRefused as refusal:
            assert refusal.error == "NobodyLate" and not late - self.guilty
            return
        assert found == {self.actors[place].address for place in late - self.guilty}
        self.guilty |= late

    @rule(place=st.integers(0, 2))
    def two_statements(self, place: int) -> None:
        actor, other = self.actors[place], replace(self.result, inputs=secrets.token_bytes(32))
        try:
            self.bargain.two_statements(actor, self.result, other)
        except ContractRefused as refusal:
            assert (refusal.error, place in self.guilty) == ("AlreadyAtFault", True)
        self.guilty.add(place)

    @rule(challenger=st.integers(0, 3), accused=st.integers(0, 3), ruling=st.sampled_from(["uphold", "dismiss", "silence"]))
    @precondition(lambda self: self.ended)
    def challenge(self, challenger: int, accused: int, ruling: str) -> None:
        account = COIN if accused == STATEMENT else self.actors[accused].address
        try:
            dispute = self.bargain.challenge(self.actors[challenger], account)
        except ContractRefused as refusal:
            bonded = not self.bargain.agreement.bond or challenger in self.staked
            bound = self.proved if accused == STATEMENT else accused in self.staked
            assert refusal.error == ("BondMissing" if not bonded else "DisputeExists" if bound else "NotBound")
            return
        if ruling == "silence":
            self.open[dispute] = (challenger, accused)
            return
        self.bargain.judged(dispute, ruling == "uphold")
        self.decided(challenger, accused, upheld=ruling == "uphold", by_default=False)

    def decided(self, challenger: int, accused: int, *, upheld: bool, by_default: bool) -> None:
        if upheld and accused == STATEMENT:
            self.void = True
        elif upheld:
            self.guilty.add(accused)
        elif not by_default:
            self.forfeited.add(challenger)

    @rule(shares=st.permutations(SHARES))
    @precondition(lambda self: self.proved and self.shares == SHARES)
    def measure(self, shares: list[int]) -> None:
        try:
            self.bargain.measure(shares, self.result)
        except ContractRefused as refusal:
            assert refusal.error == "NotMeasured"  # twice the declared shares themselves
            return
        self.shares = tuple(shares)

    @rule(place=st.integers(0, 3))
    def too_soon(self, place: int) -> None:
        """Nobody gets anything before the settlement, and the settlement waits."""
        bargain = self.bargain
        for attempt in (lambda: bargain.claim(self.actors[place]), bargain.settle):
            try:
                attempt()
            except ContractRefused as refusal:
                assert refusal.error in ("WrongStage", "TaskNotEnded", "TooEarly", "DisputePending")
            else:
                # a task that ended without proof and bonds is settled at once
                assert attempt == bargain.settle and self.ended and not self.proved and not self.staked and not self.open
                self.world.chain.request("evm_revert", self.snapshot_of_settled)

    @invariant()
    def everything_is_there(self) -> None:
        if hasattr(self, "bargain"):
            assert self.bargain.held() == FEE + len(self.staked) * self.bargain.agreement.bond
            self.snapshot_of_settled = self.world.chain.request("evm_snapshot")

    def expected(self) -> list[int]:
        bond = self.bargain.agreement.bond
        amounts = [0, 0, 0, 0, 0]
        if self.proved and not self.void:
            for place in PARTIES:
                if place not in self.guilty and (place in self.staked or not bond):
                    amounts[place] = FEE * self.shares[place] // 10_000
        amounts[3] = FEE - sum(amounts)
        lost = self.staked & (self.guilty | self.forfeited)
        stood = self.staked - lost
        for place in stood:
            amounts[place] += bond
        heirs = stood & set(PARTIES)
        part = len(lost) * bond // (len(heirs) + 1)
        for place in heirs:
            amounts[place] += part
        amounts[4 if REQUESTER in lost else 3] += len(lost) * bond - part * len(heirs)
        return amounts

    def finish(self) -> None:
        """Everybody waits until all is over, and takes what it is owed."""
        bargain = self.bargain
        self.world.travel(5000 + WINDOW + RULING)
        for dispute, (challenger, accused) in self.open.items():
            bargain.conclude(dispute)
            self.decided(challenger, accused, upheld=bargain.agreement.upheld_by_default, by_default=True)
        bargain.settle()
        expected = self.expected()
        assert bargain.payouts() == expected
        for actor, amount in zip([*self.actors, self.world.governor], expected, strict=True):
            try:
                assert bargain.claim(actor) == amount
            except ContractRefused as refusal:
                assert (refusal.error, amount) == ("NothingOwed", 0)
        assert bargain.held() == 0


def test_any_sequence_of_steps_pays_everybody_what_it_is_owed_and_leaves_nothing(case: Case) -> None:
    run_state_machine_as_test(
        lambda: Money(case),
        settings=settings(
            max_examples=14 if KIND == "anvil" else 5,
            stateful_step_count=10,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )

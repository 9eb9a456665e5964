"""A price for each use: what the ledger debited is paid, up to the fee. And who was absent from a result is not paid for it."""

from __future__ import annotations

from dataclasses import replace

from contracts.bargain import BOND, FEE, Bargain
from contracts.conftest import Actor, Case, World, refused
from contracts.test_projection_quorum import Quorum
from tallystick.protocol.agreement import contribution_digest
from tallystick.protocol.task import Party

USES = (1, 2, 3)
PRICE = 7


def metered(world: World, fee: int, attempts: int = 3) -> Bargain:
    """Three datasets of whose grants an attempt uses one, two and three."""
    grants = [world.grant(world.publish(actor), uses=20) for actor in world.parties]
    for actor, grant in zip(world.parties, grants, strict=True):
        world.issue(actor, grant)
    proposal = world.proposal(grants, attempts=attempts)
    parties = tuple(replace(party, uses=uses) for party, uses in zip(proposal.parties, USES, strict=True))
    case = Case(world, grants, replace(proposal, parties=parties))
    return Bargain.of(case, fee=fee, price=PRICE, shares=(), measured=False)


def run(bargain: Bargain, failures: int = 0) -> None:
    """Bonds staked, ``failures`` attempts failed, and the next proved."""
    world, case = bargain.world, bargain.case
    bargain.ready()
    for attempt in range(1, failures + 2):
        world.accept(case.proposal, case.grants, attempt=attempt)
        if attempt <= failures:
            bargain.parties[0].send("TaskLedger", "fail", case.proposal.as_tuple(), attempt, "0x" + "00" * 20, 1, bytes(32))
    world.prove(case.proposal, world.result(case.proposal, attempt=failures + 1))
    bargain.closed()
    bargain.settle()


def test_each_use_that_was_debited_is_paid_and_the_rest_goes_back(world: World) -> None:
    bargain = metered(world, 100)
    run(bargain)
    assert bargain.payouts() == [7 + BOND, 14 + BOND, 21 + BOND, 100 - 42, 0]


def test_failed_attempts_debited_their_uses_too(world: World) -> None:
    bargain = metered(world, 100)
    run(bargain, failures=1)
    assert bargain.payouts() == [14 + BOND, 28 + BOND, 42 + BOND, 100 - 84, 0]


def test_the_fee_is_the_most_that_is_paid(world: World) -> None:
    bargain = metered(world, 100)
    run(bargain, failures=2)
    assert bargain.payouts() == [100 // 6 + BOND, 200 // 6 + BOND, 300 // 6 + BOND, 1, 0]
    assert [each - BOND for each in bargain.payouts()[:3]] == bargain.agreement.owed(USES, 3)


def test_the_sdk_says_what_the_contract_pays(world: World) -> None:
    bargain = metered(world, 83)
    run(bargain, failures=1)
    assert [each - BOND for each in bargain.payouts()[:3]] == bargain.agreement.owed(USES, 2)


def test_without_a_proof_no_use_is_paid(world: World) -> None:
    bargain = metered(world, 100)
    bargain.ready()
    world.accept(bargain.proposal, bargain.case.grants)
    bargain.closed()
    bargain.settle()
    assert bargain.payouts()[3] == 100


def test_who_has_no_data_uses_nothing_and_is_paid_nothing(world: World) -> None:
    grants = [world.grant(world.publish(actor)) for actor in world.parties[:2]]
    for actor, grant in zip(world.parties, grants, strict=False):
        world.issue(actor, grant)
    case = Case(world, grants, world.proposal(grants, receivers=(world.parties[2],)))
    assert case.proposal.parties[2] == Party(world.parties[2].address)
    bargain = Bargain.of(case, fee=100, price=PRICE, shares=(), measured=False)
    run(bargain)
    assert bargain.payouts() == [7 + BOND, 7 + BOND, BOND, 86, 0]


def test_a_price_stands_in_the_place_of_shares(case: Case) -> None:
    for changes in ({"shares": (5000, 3000, 2000), "measured": False}, {"shares": (), "measured": True}):
        terms = list(Bargain.of(case).agreement.as_tuple())
        terms[6], terms[8], terms[10] = changes["measured"], list(changes["shares"]), PRICE  # type: ignore[call-overload]
        with refused("BadShares"):
            case.world.requester.send("Settlement", "open", case.proposal.as_tuple(), tuple(terms), value=terms[2])


def test_a_price_without_bound_overflows_nothing(world: World) -> None:
    bargain = metered(world, 1000)
    bargain.agreement = replace(bargain.agreement, price=2**128 - 1)
    run(bargain)
    assert sum(bargain.payouts()) == 1000 + 3 * BOND
    assert bargain.payouts()[2] == 500 + BOND


def test_a_price_is_part_of_the_agreements_id(case: Case) -> None:
    agreement = replace(Bargain.of(case).agreement, shares=(), measured=False, price=PRICE)
    assert bytes(case.world.call("Settlement", "agreementId", agreement.as_tuple())) == agreement.id()
    assert replace(agreement, price=PRICE + 1).id() != agreement.id()


class Training:
    """Four owners, of whom the second is absent from the proved result, and a receiver; all staked a bond."""

    def __init__(self, world: World, **terms: object) -> None:
        world.enrol(world.newcomer)
        self.quorum = Quorum(world, before=lambda case: self._open(case, **terms))
        self.gone = self.quorum.owners[1]
        self.place = self.quorum.place(self.gone)
        proof = self.quorum.proof([self.gone])
        self.result = self.quorum.result(proof)
        self.quorum.prove(proof, [self.gone])

    def _open(self, case: Case, **terms: object) -> None:
        even = (2000,) * 5
        self.bargain = Bargain.of(case, shares=even, arbiters=(case.world.relayer.address,))
        self.bargain.agreement = replace(self.bargain.agreement, **terms)  # type: ignore[arg-type]
        self.bargain.open(self._actor(case, case.proposal.requester))
        for party in case.proposal.parties:
            self.bargain.post(self._actor(case, party.account))

    def _actor(self, case: Case, account: str) -> Actor:
        return case.world.actor(account)

    def settled(self) -> list[int]:
        """What each party is paid of the fee, its bond apart."""
        self.bargain.closed()
        self.bargain.settle()
        requester = self.quorum.place(self.quorum.requester)
        owed = self.bargain.payouts()
        owed[requester] += owed.pop(5)  # the requester is a party
        return [each - BOND for each in owed[:5]]

    def measure(self, shares: list[int]) -> None:
        """As the present parties sign."""
        world, proposal = self.quorum.world, self.quorum.proposal
        domain = world.domain("Settlement")
        digest = contribution_digest(
            domain, proposal.id(), 1, world.call("ProofRegistry", "proofOf", proposal.id())["digest"], shares
        )
        signed = [world.actor(party.account).signer.sign_digest(digest) for party in proposal.parties]
        signed[self.place] = b""
        world.stranger.send("Settlement", "measure", *self.bargain.terms, shares, signed)


def test_who_was_absent_keeps_its_bond_and_gets_no_share(world: World) -> None:
    training = Training(world)
    paid, share = training.settled(), FEE // 5
    requester = training.quorum.place(training.quorum.requester)
    expected = [share] * 5
    expected[training.place] = 0
    expected[requester] = FEE - 3 * share
    assert paid == expected


def test_who_was_absent_is_not_paid_for_uses(world: World) -> None:
    training = Training(world, shares=(), measured=False, price=PRICE)
    paid = training.settled()
    assert paid[training.place] == 0
    assert sorted(paid) == sorted([0, 0, PRICE, PRICE, FEE - 2 * PRICE])


def test_contributions_are_measured_without_who_was_absent(world: World) -> None:
    training = Training(world)
    shares = [2500] * 5
    shares[training.place] = 0
    with refused("BadContribution"):
        training.measure([2000] * 5)
    training.measure(shares)
    paid = training.settled()
    assert paid[training.place] == 0
    assert sorted(paid)[1] == FEE // 4

"""A participant's operators act for it in their scopes, until their expiry, and in nothing else."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest
from contracts.bargain import BOND, FEE, Bargain
from contracts.conftest import DAY, Actor, Case, World, refused
from contracts.test_disputes import opening_of, prove_opening
from eth_account import Account
from tallystick.chain.connection import Receipt
from tallystick.protocol import typed
from tallystick.protocol.agreement import contribution_digest
from tallystick.protocol.operators import NODE, Scope, authorisation_digest

ALL = NODE | Scope.STAKE
REGISTRY = "ParticipantRegistry"


class Institution:
    """The first party, with the newcomer, who never enrols, as its node's key."""

    def __init__(self, case: Case) -> None:
        self.case, self.world = case, case.world
        self.own, self.node = case.world.parties[0], case.world.newcomer

    def authorise(self, scopes: int = NODE, seconds: int = DAY) -> Receipt:
        return self.own.send(REGISTRY, "authorise", self.node.address, scopes, self.world.chain.now() + seconds)

    def revoke(self) -> Receipt:
        return self.own.send(REGISTRY, "authorise", self.node.address, 0, 0)

    def accept(self, by: Actor | None = None, index: int = 0) -> Receipt:
        """The party at ``index`` is said to accept, signed by the node or ``by``."""
        proposal = self.case.proposal
        signature = self.world.acceptance(by or self.node, proposal)
        terms = self.world.terms(proposal, self.case.grants)
        return self.world.relayer.send("TaskLedger", "accept", proposal.as_tuple(), 1, [index], [signature], terms)

    def start(self) -> None:
        """All accept: the first party by its node."""
        self.case.propose()
        self.accept()
        self.world.accept(self.case.proposal, self.case.grants, indices=[1, 2])

    def signatures(self, result: typed.Result) -> list[bytes]:
        made = self.world.signatures(self.case.proposal, result)
        digest = typed.result_digest(self.world.domain("ProofRegistry"), result)
        return [self.node.signer.sign_digest(digest), *made[1:]]

    def prove(self, result: typed.Result) -> Receipt:
        return self.world.prove(self.case.proposal, result, signatures=self.signatures(result))


@pytest.fixture
def institution(case: Case) -> Institution:
    return Institution(case)


def test_an_operator_accepts_and_signs_for_its_participant(institution: Institution) -> None:
    institution.authorise()
    institution.start()
    institution.prove(institution.world.result(institution.case.proposal))
    assert institution.world.state(institution.case.proposal) == "Proved"


def test_the_participants_own_key_signs_besides_its_operators(institution: Institution) -> None:
    institution.authorise()
    institution.case.start()
    assert institution.world.state(institution.case.proposal) == "Running"


def test_without_authorisation_nobody_acts_for_another(institution: Institution) -> None:
    institution.case.propose()
    with refused("BadAcceptance"):
        institution.accept()


def test_an_operator_ends_with_its_expiry_to_the_second(institution: Institution) -> None:
    world = institution.world
    institution.case.propose()
    ends = world.chain.now() + 100
    institution.own.send(REGISTRY, "authorise", institution.node.address, NODE, ends)
    assert world.call(REGISTRY, "actsFor", institution.node.address, institution.own.address, int(Scope.ACCEPT))
    world.travel(ends - world.chain.now() + 1)
    assert not world.call(REGISTRY, "actsFor", institution.node.address, institution.own.address, int(Scope.ACCEPT))
    with refused("BadAcceptance"):
        institution.accept()


def test_a_revoked_operator_acts_no_more_at_once(institution: Institution) -> None:
    institution.authorise()
    institution.start()
    result = institution.world.result(institution.case.proposal)
    institution.revoke()
    with refused("BadSignature"):
        institution.prove(result)
    with refused("NotAParty"):
        institution.node.send("TaskLedger", "fail", institution.case.proposal.as_tuple(), 1, institution.own.address, 2, bytes(32))


def test_an_operator_resigns_itself_and_for_itself_alone(institution: Institution) -> None:
    institution.authorise()
    with refused("NotAnOperator"):
        institution.world.stranger.send(REGISTRY, "resign", institution.own.address)
    institution.node.send(REGISTRY, "resign", institution.own.address)
    institution.case.propose()
    with refused("BadAcceptance"):
        institution.accept()
    with refused("NotAnOperator"):
        institution.node.send(REGISTRY, "resign", institution.own.address)


@pytest.mark.parametrize("scope", [Scope.SIGN, Scope.REPORT, Scope.STAKE, ALL & ~Scope.ACCEPT])
def test_acceptance_is_a_scope(institution: Institution, scope: Scope) -> None:
    institution.authorise(scope)
    institution.case.propose()
    with refused("BadAcceptance"):
        institution.accept()


def test_signing_is_a_scope(institution: Institution) -> None:
    institution.authorise(ALL & ~Scope.SIGN)
    institution.start()
    with refused("BadSignature"):
        institution.prove(institution.world.result(institution.case.proposal))


def test_reporting_is_a_scope(institution: Institution) -> None:
    node, proposal = institution.node, institution.case.proposal
    institution.authorise(ALL & ~Scope.REPORT)
    institution.start()
    failure = (proposal.as_tuple(), 1, institution.world.parties[1].address, 2, bytes(32))
    for contract, function in (("TaskLedger", "fail"), ("Disputes", "tenderReport")):
        with refused("NotAParty"):
            node.send(contract, function, *failure)
    with refused("NotAnOperatorOf"):
        node.send("AuditLog", "anchorFor", institution.own.address, secrets.token_bytes(32), 1)


def test_an_operator_reports_in_its_participants_name(institution: Institution) -> None:
    node, own, proposal = institution.node, institution.own, institution.case.proposal
    institution.authorise()
    institution.start()
    root = secrets.token_bytes(32)
    node.send("AuditLog", "anchorFor", own.address, root, 4)
    assert institution.world.call("AuditLog", "headOf", own.address)["root"] == root
    assert institution.world.call("AuditLog", "headOf", node.address)["size"] == 0
    with refused("NotGrowing"):
        node.send("AuditLog", "anchorFor", own.address, secrets.token_bytes(32), 4)
    said = (proposal.as_tuple(), 1, institution.world.parties[1].address, 2, bytes(32))
    assert node.send("Disputes", "tenderReport", *said).event("Reported")["party"] == own.address
    assert node.send("TaskLedger", "fail", *said).event("Failed")["reporter"] == own.address


def test_an_operator_stakes_with_its_own_coins_and_what_comes_back_is_the_participants(institution: Institution) -> None:
    bargain = Bargain.of(institution.case)
    institution.authorise()
    institution.case.propose()
    bargain.open()
    with refused("NotAParty"):
        bargain.post(institution.node)
    institution.authorise(ALL)
    assert bargain.post(institution.node).event("BondPosted")["account"] == institution.own.address
    with refused("BondIsPosted"):
        bargain.post(institution.own)
    bargain.closed()
    bargain.settle()
    with refused("NothingOwed"):
        bargain.claim(institution.node)
    assert bargain.claim(institution.own) == BOND


def test_an_operator_tenders_and_measures(institution: Institution) -> None:
    world, own, proposal = institution.world, institution.own, institution.case.proposal
    bargain = Bargain.of(institution.case)
    institution.authorise()
    institution.case.propose()
    bargain.open()
    acceptance = world.acceptance(institution.node, proposal)
    world.stranger.send("Disputes", "tenderAcceptance", proposal.as_tuple(), own.address, acceptance)
    institution.accept()
    world.accept(proposal, institution.case.grants, indices=[1, 2])
    result = world.result(proposal)
    world.stranger.send("Disputes", "tenderResult", proposal.as_tuple(), own.address, bargain.signed(institution.node, result))
    institution.prove(result)
    bargain.measure([8000, 1000, 1000], result, signers=[institution.node, *world.parties[1:]])
    digest = contribution_digest(world.domain("Settlement"), proposal.id(), 1, result.hash(), [8000, 1000, 1000])
    assert len(digest) == 32


def test_an_operator_acts_for_its_participant_and_for_no_other(institution: Institution) -> None:
    world = institution.world
    institution.authorise(ALL)
    institution.case.propose()
    with refused("BadAcceptance"):
        institution.accept(index=1)
    with refused("NotAnOperatorOf"):
        institution.node.send("AuditLog", "anchorFor", world.parties[1].address, secrets.token_bytes(32), 1)


def test_a_key_serves_who_authorised_it_first_and_no_other(institution: Institution) -> None:
    world, ends = institution.world, institution.world.chain.now() + DAY
    institution.authorise()
    institution.revoke()
    with refused("ServesAnother"):
        world.parties[1].send(REGISTRY, "authorise", institution.node.address, int(NODE), ends)
    world.parties[1].send(REGISTRY, "authorise", institution.node.address, 0, 0)  # takes nothing, and nothing back
    institution.authorise()
    assert world.call(REGISTRY, "actsFor", institution.node.address, institution.own.address, int(NODE))


def test_nobody_makes_anothers_operator_stake_for_it(institution: Institution) -> None:
    """A party before it in the order would else be meant by what the operator calls, and have the bond that it staked."""
    world, node, bargain = institution.world, institution.node, Bargain.of(institution.case)
    thief, victim = world.parties[:2]
    ends = world.chain.now() + DAY
    victim.send(REGISTRY, "authorise", node.address, int(ALL), ends)
    with refused("ServesAnother"):
        thief.send(REGISTRY, "authorise", node.address, int(ALL), ends)
    bargain.open()
    assert bargain.post(node).event("BondPosted")["account"] == victim.address


def test_an_operator_of_a_suspended_or_revoked_participant_acts_for_nobody(institution: Institution) -> None:
    world, own = institution.world, institution.own
    institution.authorise(ALL)
    institution.start()
    world.governor.send(REGISTRY, "suspend", own.address, bytes(32))
    assert not world.call(REGISTRY, "actsFor", institution.node.address, own.address, int(Scope.SIGN))
    with refused("NotActive"):
        institution.prove(world.result(institution.case.proposal))
    signed = Bargain.of(institution.case).signed(institution.node, world.result(institution.case.proposal))
    with refused("BadSignature"):
        world.stranger.send("Disputes", "tenderResult", institution.case.proposal.as_tuple(), own.address, signed)
    with refused("NotAnOperatorOf"):
        institution.node.send("AuditLog", "anchorFor", own.address, secrets.token_bytes(32), 1)
    world.governor.send(REGISTRY, "reinstate", own.address)
    institution.prove(world.result(institution.case.proposal))


def test_an_operator_never_grants_publishes_proposes_challenges_claims_or_authorises(institution: Institution) -> None:
    world, node, case = institution.world, institution.node, institution.case
    institution.authorise(ALL)
    grant = world.grant(case.grants[0].dataset)
    with refused("BadOwnerSignature"):
        world.issue(node, grant)
    with refused("NotTheDatasetOwner"):
        node.send("GrantLedger", "revoke", case.grants[0].as_tuple())
    with refused("NotActive"):
        world.publish(node)
    with refused("NotTheOwner"):
        node.send("DatasetRegistry", "withdraw", case.grants[0].dataset)
    with refused("NotAllowed"):
        node.send(REGISTRY, "revoke", institution.own.address, bytes(32))
    with refused("InactiveParticipant"):
        node.send(REGISTRY, "authorise", world.stranger.address, int(NODE), world.chain.now() + DAY)
    with refused("BadAuthorisation"):
        authorise_signed(institution, by=node)
    own = replace(case.proposal, requester=institution.own.address)
    with refused("NotTheRequester"):
        node.send("TaskLedger", "propose", own.as_tuple())
    bargain = Bargain.of(case)
    bargain.proved()
    with refused("NotAParty"):
        bargain.challenge(node)
    bargain.closed()
    bargain.settle()
    with refused("NothingOwed"):
        bargain.claim(node)
    assert bargain.payouts()[0] == FEE // 2 + BOND


def authorise_signed(institution: Institution, *, by: Actor | None = None, nonce: int | None = None, **changes: Any) -> Receipt:
    """Relayed by a stranger."""
    world, own, node = institution.world, institution.own, institution.node
    held = world.call(REGISTRY, "operatorAt", own.address, node.address)["nonce"]
    scopes, ends = changes.get("scopes", int(NODE)), world.now + 2 * DAY
    domain = changes.get("domain", world.domain(REGISTRY))
    digest = authorisation_digest(domain, own.address, node.address, int(scopes), ends, held if nonce is None else nonce)
    signature = (by or own).signer.sign_digest(digest)
    relayed = (own.address, changes.get("operator", node.address), changes.get("said", int(scopes)), ends, signature)
    return world.stranger.send(REGISTRY, "authoriseSigned", *relayed)


def test_anyone_relays_an_authorisation_that_the_participant_signed_once(institution: Institution) -> None:
    authorise_signed(institution)
    institution.start()
    with refused("BadAuthorisation"):
        authorise_signed(institution, nonce=0)
    institution.revoke()
    with refused("BadAuthorisation"):
        authorise_signed(institution, nonce=1)


def test_a_revocation_is_relayed_too_and_voids_what_is_still_out(institution: Institution) -> None:
    authorise_signed(institution)
    authorise_signed(institution, scopes=0)
    institution.case.propose()
    with refused("BadAcceptance"):
        institution.accept()
    institution.revoke()  # of an authorisation that was signed for nonce 2 and is out
    with refused("BadAuthorisation"):
        authorise_signed(institution, nonce=2)


def test_an_authorisation_is_good_for_one_chain_contract_operator_and_scope(institution: Institution) -> None:
    domain = institution.world.domain(REGISTRY)
    for other in (
        {"domain": replace(domain, chain_id=domain.chain_id + 1)},
        {"domain": replace(domain, address=institution.world.deployment.contracts["TaskLedger"])},
        {"operator": institution.world.stranger.address},
        {"said": int(ALL)},
        {"by": institution.world.parties[1]},
    ):
        with refused("BadAuthorisation"):
            authorise_signed(institution, **other)  # type: ignore[arg-type]


def test_what_an_operator_signs_for_another_chain_or_contract_does_not_count(institution: Institution) -> None:
    institution.authorise()
    institution.case.propose()
    domain, proposal = institution.world.domain("TaskLedger"), institution.case.proposal
    terms = institution.world.terms(proposal, institution.case.grants)
    others = (
        replace(domain, chain_id=domain.chain_id + 1),
        replace(domain, address=institution.world.deployment.contracts["AuditLog"]),
    )
    for other in others:
        signature = institution.world.acceptance(institution.node, proposal, domain=other)
        with refused("BadAcceptance"):
            institution.world.relayer.send("TaskLedger", "accept", proposal.as_tuple(), 1, [0], [signature], terms)


def test_authorisations_that_make_no_sense_are_refused(institution: Institution) -> None:
    own, now = institution.own, institution.world.chain.now()
    for arguments, error in (
        ((own.address, int(NODE), now + DAY), "BadOperator"),
        (("0x" + "00" * 20, int(NODE), now + DAY), "BadOperator"),
        ((institution.node.address, int(ALL) + 1, now + DAY), "BadScopes"),
        ((institution.node.address, int(NODE), now - 1), "BadExpiry"),
    ):
        with refused(error):
            own.send(REGISTRY, "authorise", *arguments)
    with refused("InactiveParticipant"):
        institution.world.stranger.send(REGISTRY, "authorise", institution.node.address, int(NODE), now + DAY)


def test_a_participant_has_at_most_64_operators_in_all(institution: Institution) -> None:
    own, ends = institution.own, institution.world.chain.now() + DAY
    keys = [Account.create().address for _ in range(64)]
    for key in keys:
        own.send(REGISTRY, "authorise", key, int(NODE), ends)
    own.send(REGISTRY, "authorise", keys[0], 0, 0)  # what it signed counts on, so that it keeps its place
    with refused("TooManyOperators"):
        institution.authorise()
    own.send(REGISTRY, "authorise", keys[0], int(NODE), ends)


def test_operators_are_listed_with_what_they_may_do(institution: Institution) -> None:
    world, own = institution.world, institution.own
    institution.authorise()
    institution.authorise(Scope.REPORT)
    own.send(REGISTRY, "authorise", world.stranger.address, int(Scope.SIGN), world.chain.now() + DAY)
    institution.revoke()
    assert world.call(REGISTRY, "operatorsOf", own.address) == [institution.node.address, world.stranger.address]
    held = world.call(REGISTRY, "operatorAt", own.address, institution.node.address)
    assert (held["scopes"], held["everScopes"], held["nonce"]) == (0, NODE, 3)


def two_results(world: World, case: Case) -> tuple[typed.Result, typed.Result]:
    result = world.result(case.proposal)
    return result, replace(result, output=secrets.token_bytes(32))


def test_nobody_escapes_from_what_its_operator_signed_by_revoking_it(institution: Institution) -> None:
    bargain = Bargain.of(institution.case)
    institution.authorise()
    bargain.ready()
    institution.accept()
    institution.world.accept(institution.case.proposal, institution.case.grants, indices=[1, 2])
    one, other = (bargain.signed(institution.node, each) for each in two_results(institution.world, institution.case))
    institution.revoke()
    proving = ("Disputes", "proveTwoStatements", *bargain.terms, institution.own.address, one, other)
    assert institution.world.stranger.send(*proving).event("BreachProved")["accused"] == institution.own.address


def test_a_key_that_was_revoked_before_the_attempt_started_convicts_nobody(institution: Institution) -> None:
    bargain = Bargain.of(institution.case)
    institution.authorise(ALL)
    bargain.ready()
    institution.revoke()
    institution.world.travel(5)
    institution.world.accept(institution.case.proposal, institution.case.grants)
    one, other = (bargain.signed(institution.node, each) for each in two_results(institution.world, institution.case))
    with refused("BadSignature"):
        institution.world.stranger.send("Disputes", "proveTwoStatements", *bargain.terms, institution.own.address, one, other)


@pytest.mark.parametrize("followed", [False, True])
def test_nobody_escapes_from_its_operators_false_opening_by_another_attempt(institution: Institution, followed: bool) -> None:
    """An opening is of no attempt: what was signed in the first binds, though the operator is revoked and a second one starts."""
    bargain, world, case = Bargain.of(institution.case), institution.world, institution.case
    institution.authorise()
    bargain.ready()
    institution.accept()
    world.accept(case.proposal, case.grants, indices=[1, 2])
    true = opening_of(bargain, 0, [secrets.token_bytes(8) for _ in range(5)], 2)
    institution.revoke()
    if followed:
        world.travel(5)
        world.parties[1].send("TaskLedger", "fail", case.proposal.as_tuple(), 1, world.parties[2].address, 1, bytes(32))
        world.accept(case.proposal, case.grants, attempt=2)
    receipt = prove_opening(bargain, institution.node, replace(true, leaf=secrets.token_bytes(32)))
    assert receipt.event("BreachProved")["accused"] == institution.own.address


def test_an_operator_that_never_might_sign_convicts_nobody(institution: Institution) -> None:
    bargain = Bargain.of(institution.case)
    institution.authorise(ALL & ~Scope.SIGN)
    bargain.ready()
    institution.world.accept(institution.case.proposal, institution.case.grants)
    one, other = (bargain.signed(institution.node, each) for each in two_results(institution.world, institution.case))
    with refused("BadSignature"):
        institution.world.stranger.send("Disputes", "proveTwoStatements", *bargain.terms, institution.own.address, one, other)


def test_an_operator_that_may_sign_no_more_convicts_nobody_though_it_may_report(institution: Institution) -> None:
    bargain = Bargain.of(institution.case)
    institution.authorise(ALL)
    bargain.ready()
    institution.authorise(ALL & ~Scope.SIGN)
    institution.world.travel(5)
    institution.authorise(Scope.REPORT, 2 * DAY)
    institution.world.accept(institution.case.proposal, institution.case.grants)
    one, other = (bargain.signed(institution.node, each) for each in two_results(institution.world, institution.case))
    with refused("BadSignature"):
        institution.world.stranger.send("Disputes", "proveTwoStatements", *bargain.terms, institution.own.address, one, other)


def test_nobody_escapes_from_what_its_operator_signed_by_leaving_it_less(institution: Institution) -> None:
    bargain = Bargain.of(institution.case)
    institution.authorise()
    bargain.ready()
    institution.accept()
    institution.world.accept(institution.case.proposal, institution.case.grants, indices=[1, 2])
    one, other = (bargain.signed(institution.node, each) for each in two_results(institution.world, institution.case))
    institution.authorise(Scope.REPORT)
    proving = ("Disputes", "proveTwoStatements", *bargain.terms, institution.own.address, one, other)
    assert institution.world.stranger.send(*proving).event("BreachProved")["accused"] == institution.own.address

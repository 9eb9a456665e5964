"""A stranger tries every function of every contract that changes anything, with arguments as good as a stranger can make them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from contracts.bargain import Bargain
from contracts.conftest import DAY, Case, b32, refused
from contracts.test_attestation_verifier import registration
from cryptography.hazmat.primitives.asymmetric import ec
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import SimulatedPlatform
from tallystick.chain import artifacts
from tallystick.protocol import typed
from tallystick.protocol.agreement import Demand, Opening, opening_digest
from tallystick.protocol.identity import sign_p256
from tallystick.protocol.narrowing import Narrowing, narrowing_digest, revocation_digest
from tallystick.protocol.operators import authorisation_digest
from tallystick.protocol.revocation import certificate_revocation_digest


def digests(count: int) -> list[bytes]:
    return [secrets.token_bytes(32) for _ in range(count)]


def platform(case: Case) -> list[Any]:
    """Certified by a simulation authority of the stranger's own making."""
    made = ProvisioningAuthority((case.world.now - DAY, case.world.now + DAY))
    return list(registration(SimulatedPlatform(made).pck, made.pck_key.public_key()))


def party(case: Case) -> str:
    return case.world.parties[0].address


def key(_: Case) -> list[Any]:
    point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    return [b32(point.x), b32(point.y), 0, 2**39]


def enrolment(case: Case) -> list[Any]:
    """Certified by an authority of the stranger's own making."""
    world, stranger = case.world, case.world.stranger
    made, domain = world.enrolment(stranger), world.domain("ParticipantRegistry")
    by_authority = sign_p256(ec.generate_private_key(ec.SECP256R1()), typed.enrolment_digest(domain, made))
    by_subject = sign_p256(stranger.key, typed.possession_digest(domain, made.account, made.fingerprint))
    return [0, made.as_tuple(), by_authority, by_subject]


def certificate(case: Case) -> list[Any]:
    """A party's, revoked by an authority of the stranger's own making."""
    actor, reason = case.world.parties[0], secrets.token_bytes(32)
    domain = case.world.domain("ParticipantRegistry")
    digest = certificate_revocation_digest(domain, actor.address, actor.fingerprint, reason)
    signature = sign_p256(ec.generate_private_key(ec.SECP256R1()), digest)
    return [0, actor.address, actor.fingerprint, reason, signature]


def moved(case: Case) -> str:
    """A party that a regulator moved to suspend."""
    case.world.regulator.send("ParticipantRegistry", "moveSuspension", party(case), secrets.token_bytes(32))
    return party(case)


def grant(case: Case) -> list[Any]:
    """The use of a party's data, granted by the stranger to itself."""
    made = case.world.grant(case.grants[0].dataset, grantee=case.world.stranger.address)
    digest = typed.grant_digest(case.world.domain("GrantLedger"), made.id())
    return [made.as_tuple(), case.world.stranger.signer.sign_digest(digest)]


def debit(case: Case) -> list[Any]:
    made = case.grants[0]
    return [made.id(), made.dataset, made.terms, case.world.requester.address, case.proposal.id(), 1, 1, 0]


def acceptance(case: Case) -> list[Any]:
    """The first party's, signed by the stranger."""
    world, proposal = case.world, case.proposal
    return [proposal.as_tuple(), 1, [0], [world.acceptance(world.stranger, proposal)], world.terms(proposal, case.grants)]


def result(case: Case) -> list[Any]:
    """One that the stranger signed for all parties."""
    world, proposal = case.world, case.proposal
    made = world.result(proposal)
    signature = world.stranger.signer.sign_digest(typed.result_digest(world.domain("ProofRegistry"), made))
    return [proposal.as_tuple(), made.as_tuple(), [signature] * len(proposal.parties), b""]


def proposal(case: Case) -> list[Any]:
    return [case.proposal.as_tuple()]


def narrowing(case: Case) -> list[Any]:
    """Of a party's grant, signed by the stranger."""
    made = case.grants[0]
    to = Narrowing(made.id(), 1, 0, made.not_after)
    return [made.as_tuple(), to.as_tuple(), sign(case, narrowing_digest(case.world.domain("GrantLedger"), to))]


def revocation(case: Case) -> list[Any]:
    """Of a party's grant, signed by the stranger."""
    made = case.grants[0]
    return [made.as_tuple(), sign(case, revocation_digest(case.world.domain("GrantLedger"), made.id()))]


def sign(case: Case, digest: bytes) -> bytes:
    return case.world.stranger.signer.sign_digest(digest)


def opened(case: Case) -> Bargain:
    """The task's agreement, with the fee deposited."""
    made = Bargain.of(case)
    made.open()
    return made


def contributions(case: Case) -> list[Any]:
    """Of a task that was proved, signed by the stranger for all parties."""
    made = opened(case)
    case.world.accept(case.proposal, case.grants)
    case.world.prove(case.proposal, case.world.result(case.proposal))
    return [*made.terms, [10000, 0, 0], [case.world.stranger.signer.sign_digest(bytes(32))] * 3]


def disputed(case: Case) -> list[Any]:
    """A dispute between parties, which the stranger would judge."""
    made = Bargain.of(case)
    made.open()
    made.post(made.parties[0])
    case.world.accept(case.proposal, case.grants)
    case.world.prove(case.proposal, case.world.result(case.proposal))
    return [*made.terms, made.challenge(made.parties[0])]


def two_statements(case: Case) -> list[Any]:
    """A party's, signed by the stranger."""
    made, stranger = opened(case), case.world.stranger
    signed = [made.signed(stranger, case.world.result(case.proposal)) for _ in range(2)]
    return [*made.terms, party(case), *signed]


def two_digests(case: Case) -> list[Any]:
    """Of two parties, signed by the stranger."""
    made, stranger = opened(case), case.world.stranger
    ends = made.parties[:2]
    forged = [(link.as_tuple(), end.address, made.signed_link(stranger, link)[2]) for end in ends for link in [made.link(*ends)]]
    return [*made.terms, *forged]


def false_opening(case: Case) -> list[Any]:
    """Of a party's dataset, signed by the stranger."""
    made = opened(case)
    opening = Opening(case.proposal.id(), case.grants[0].dataset, *digests(2), 0, 1, ())
    signature = case.world.stranger.signer.sign_digest(opening_digest(case.world.domain("Disputes"), opening))
    return [*made.terms, opening.as_tuple(), signature]


def demand(case: Case) -> list[Any]:
    """Of a row of a party's dataset, in a task that is over."""
    made = disputed(case)
    return [*made[:2], Demand(case.grants[0].dataset, *digests(1), 0, 1).as_tuple()]


def false_answer(case: Case) -> list[Any]:
    """To a dispute that demands none."""
    opening = Opening(case.proposal.id(), case.grants[0].dataset, *digests(2), 0, 1, ())
    return [*disputed(case), opening.as_tuple()]


def authorisation(case: Case) -> list[Any]:
    """Of the stranger by a party, signed by the stranger."""
    stranger, ends = case.world.stranger.address, case.world.now + DAY
    digest = authorisation_digest(case.world.domain("ParticipantRegistry"), party(case), stranger, 1, ends, 0)
    return [party(case), stranger, 1, ends, sign(case, digest)]


def tender(case: Case) -> list[Any]:
    """The first party's acceptance, signed by the stranger."""
    return [*proposal(case), party(case), case.world.acceptance(case.world.stranger, case.proposal)]


def tendered_result(case: Case) -> list[Any]:
    """The first party's result, signed by the stranger."""
    made = Bargain.of(case)
    return [*proposal(case), party(case), made.signed(case.world.stranger, case.world.result(case.proposal))]


def registered(case: Case) -> bytes:
    """A party's algorithm."""
    (code,) = digests(1)
    case.world.parties[0].send("AlgorithmRegistry", "register", code, 1, *digests(1))
    return code


ATTEMPTS: dict[str, tuple[Callable[[Case], list[Any]], str]] = {
    "AlgorithmRegistry.register": (lambda _: [*digests(1), 1, *digests(1)], "NotActive"),
    "AlgorithmRegistry.review": (lambda case: [registered(case), False, *digests(1)], "NotActive"),
    "AlgorithmRegistry.withdraw": (lambda case: [registered(case)], "NotTheAuthor"),
    "AuditLog.anchorFor": (lambda case: [party(case), *digests(1), 1], "NotAnOperatorOf"),
    "AuditLog.anchor": (lambda _: [*digests(1), 1], "NotActive"),
    "DatasetRegistry.publish": (lambda _: digests(3), "NotActive"),
    "DatasetRegistry.revise": (lambda case: [case.grants[0].dataset, *digests(3)], "NotActive"),
    "DatasetRegistry.withdraw": (lambda case: [case.grants[0].dataset], "NotTheOwner"),
    "Disputes.answerOpening": (false_answer, "WrongOpening"),
    "Disputes.challenge": (lambda case: [*disputed(case)[:2], party(case), 5, bytes(32)], "NotAParty"),
    "Disputes.conclude": (disputed, "TooEarly"),
    "Disputes.demandOpening": (demand, "NotAParty"),
    "Disputes.proveFalseOpening": (false_opening, "BadSignature"),
    "Disputes.proveLateness": (lambda case: [*opened(case).terms], "WrongState"),
    "Disputes.proveTwoDigests": (two_digests, "BadSignature"),
    "Disputes.proveTwoStatements": (two_statements, "BadSignature"),
    "Disputes.rule": (lambda case: [*disputed(case), True, bytes(32)], "NotAnArbiter"),
    "Disputes.tenderAcceptance": (tender, "BadSignature"),
    "Disputes.tenderReport": (lambda case: [*proposal(case), 1, party(case), 2, bytes(32)], "NotAParty"),
    "Disputes.tenderResult": (tendered_result, "BadSignature"),
    "GrantLedger.debit": (debit, "OnlyTaskLedger"),
    "GrantLedger.issue": (grant, "BadOwnerSignature"),
    "GrantLedger.narrow": (narrowing, "BadOwnerSignature"),
    "GrantLedger.revokeSigned": (revocation, "BadOwnerSignature"),
    "GrantLedger.revoke": (lambda case: [case.grants[0].as_tuple()], "NotTheDatasetOwner"),
    "Groth16Verifier.register": (lambda _: [bytes(32), b""], "NotActive"),
    "HardwareVerifier.allow": (lambda _: digests(1), "OnlyGovernor"),
    "HardwareVerifier.disallow": (lambda _: digests(2), "OnlyGovernor"),
    "HardwareVerifier.registerPlatform": (platform, "UnknownIssuer"),
    "HardwareVerifier.revokePlatform": (lambda _: digests(2), "OnlyGovernor"),
    "ParticipantRegistry.acceptOwnership": (lambda _: [], "OwnableUnauthorizedAccount"),
    "ParticipantRegistry.addAuthority": (key, "NotAllowed"),
    "ParticipantRegistry.authorise": (
        lambda case: [case.world.relayer.address, 1, 2**39],
        "InactiveParticipant",
    ),
    "ParticipantRegistry.authoriseSigned": (authorisation, "BadAuthorisation"),
    "ParticipantRegistry.carrySuspension": (lambda case: [moved(case)], "MotionNotDue"),
    "ParticipantRegistry.dropSuspension": (lambda case: [moved(case), bytes(32)], "NotAllowed"),
    "ParticipantRegistry.moveSuspension": (lambda case: [party(case), *digests(1)], "NotActive"),
    "ParticipantRegistry.revokeCertificate": (certificate, "BadAuthoritySignature"),
    "ParticipantRegistry.enrol": (enrolment, "BadAuthoritySignature"),
    "ParticipantRegistry.reinstate": (lambda case: [party(case)], "NotAllowed"),
    "ParticipantRegistry.renounceOwnership": (lambda _: [], "OwnableUnauthorizedAccount"),
    "ParticipantRegistry.resign": (lambda case: [party(case)], "NotAnOperator"),
    "ParticipantRegistry.retireAuthority": (lambda _: [0], "NotAllowed"),
    "ParticipantRegistry.revoke": (lambda case: [party(case), *digests(1)], "NotAllowed"),
    "ParticipantRegistry.suspend": (lambda case: [party(case), *digests(1)], "NotAllowed"),
    "ParticipantRegistry.transferOwnership": (lambda case: [case.world.stranger.address], "OwnableUnauthorizedAccount"),
    "ProofRegistry.addVerifier": (lambda case: [case.world.deployment.contracts["SumVerifier"]], "OnlyGovernor"),
    "ProofRegistry.submit": (result, "BadSignature"),
    "QuorumVerifier.allow": (lambda _: digests(1), "OnlyGovernor"),
    "QuorumVerifier.disallow": (lambda _: digests(2), "OnlyGovernor"),
    "QuorumVerifier.dropVerifier": (lambda case: [party(case), bytes(32)], "OnlyGovernor"),
    "QuorumVerifier.nameVerifier": (lambda case: [case.world.stranger.address], "OnlyGovernor"),
    "QuorumVerifier.setThreshold": (lambda _: [2], "OnlyGovernor"),
    "Settlement.claim": (lambda case: [*opened(case).terms, case.world.stranger.address], "WrongStage"),
    "Settlement.measure": (contributions, "BadContribution"),
    "Settlement.open": (lambda case: [*Bargain.of(case).terms], "NotTheRequester"),
    "Settlement.post": (lambda case: [*opened(case).terms], "NotAParty"),
    "Settlement.settle": (lambda case: [*opened(case).terms], "TaskNotEnded"),
    "SimulationVerifier.allow": (lambda _: digests(1), "OnlyGovernor"),
    "SimulationVerifier.disallow": (lambda _: digests(2), "OnlyGovernor"),
    "SimulationVerifier.dropAuthority": (lambda _: digests(2), "OnlyGovernor"),
    "SimulationVerifier.nameAuthority": (lambda _: digests(2), "OnlyGovernor"),
    "SimulationVerifier.registerPlatform": (platform, "UnknownIssuer"),
    "SimulationVerifier.revokePlatform": (lambda _: digests(2), "OnlyGovernor"),
    "TaskLedger.accept": (acceptance, "BadAcceptance"),
    "TaskLedger.cancel": (proposal, "NotTheRequester"),
    "TaskLedger.expire": (proposal, "TooEarly"),
    "TaskLedger.fail": (lambda case: [*proposal(case), 1, party(case), 7, bytes(32)], "NotAParty"),
    "TaskLedger.propose": (proposal, "NotTheRequester"),
    "TaskLedger.prove": (lambda case: [case.proposal.id(), 1, case.proposal.proof_kind, *digests(1)], "OnlyProofRegistry"),
}
RUNNING = {
    "Disputes.tenderResult",
    "ProofRegistry.submit",
    "TaskLedger.fail",
    "TaskLedger.prove",
}  # what may be tried of a task that runs


def changing() -> set[str]:
    """Every function that may change the chain."""
    return {
        f"{name}.{entry['name']}"
        for name in artifacts.CONTRACTS
        for entry in artifacts.load(name).abi
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }


def test_a_stranger_has_tried_every_function() -> None:
    assert set(ATTEMPTS) == changing()


@pytest.mark.parametrize("function", sorted(ATTEMPTS))
def test_a_stranger_is_refused(case: Case, function: str) -> None:
    arguments, error = ATTEMPTS[function]
    if function in RUNNING:
        case.start()
    elif function != "TaskLedger.propose":
        case.propose()
    with refused(error):
        case.world.stranger.send(*function.split("."), *arguments(case))

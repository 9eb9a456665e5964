"""Grants are narrowed and revoked by their owner, by transaction or by signature, issued or not; nothing is ever raised."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from contracts.conftest import DAY, Actor, Case, World, refused
from tallystick.chain.connection import Receipt
from tallystick.protocol.grant import Grant
from tallystick.protocol.narrowing import Narrowing, narrowing_digest, revocation_digest
from tallystick.protocol.task import Party

LEDGER = "GrantLedger"


@pytest.fixture
def grant(world: World) -> Grant:
    made = world.grant(world.publish(world.parties[0]), uses=5, epsilon_micros=100)
    world.issue(world.parties[0], made)
    return made


def narrowing(grant: Grant, **changes: int) -> Narrowing:
    return replace(Narrowing(grant.id(), grant.uses, grant.epsilon_micros, grant.not_after), **changes)


def narrow(world: World, grant: Grant, to: Narrowing, *, by: Actor, signer: Actor | None = None) -> Receipt:
    signature = signer.signer.sign_digest(narrowing_digest(world.domain(LEDGER), to)) if signer else b""
    return by.send(LEDGER, "narrow", grant.as_tuple(), to.as_tuple(), signature)


def limits(world: World, grant: Grant) -> tuple[int, int, int]:
    found = world.call(LEDGER, "accountOf", grant.id())
    return found["uses"], found["epsilonMicros"], found["notAfter"]


def test_the_contract_and_the_sdk_compute_the_same_digests(world: World, grant: Grant) -> None:
    to, domain = narrowing(grant, uses=1), world.domain(LEDGER)
    assert world.call(LEDGER, "narrowingDigest", to.as_tuple()) == narrowing_digest(domain, to)
    assert world.call(LEDGER, "revocationDigest", grant.id()) == revocation_digest(domain, grant.id())


def test_an_owner_lowers_each_limit_and_raises_none(world: World, grant: Grant) -> None:
    owner = world.parties[0]
    event = narrow(world, grant, narrowing(grant, uses=4), by=owner).event("GrantNarrowed")
    assert (event["uses"], event["owner"]) == (4, owner.address)
    narrow(world, grant, narrowing(grant, uses=4, epsilon_micros=60), by=owner)
    narrow(world, grant, narrowing(grant, uses=4, epsilon_micros=60, not_after=grant.not_after - DAY), by=owner)
    assert limits(world, grant) == (4, 60, grant.not_after - DAY)
    lowest = {"uses": 4, "epsilon_micros": 60, "not_after": grant.not_after - DAY}
    for name in lowest:
        with refused("NotNarrower"):
            narrow(world, grant, narrowing(grant, **{**lowest, name: lowest[name] + 1}), by=owner)
    assert limits(world, grant) == (4, 60, grant.not_after - DAY)


def test_anyone_relays_a_narrowing_that_the_owner_signed_and_no_other(world: World, grant: Grant) -> None:
    owner, other = world.parties[:2]
    to = narrowing(grant, uses=2)
    for signer in (None, other, world.stranger):
        with refused("BadOwnerSignature"):
            narrow(world, grant, to, by=world.stranger, signer=signer)
    elsewhere = replace(world.domain(LEDGER), chain_id=1)
    with refused("BadOwnerSignature"):
        signature = owner.signer.sign_digest(narrowing_digest(elsewhere, to))
        world.stranger.send(LEDGER, "narrow", grant.as_tuple(), to.as_tuple(), signature)
    narrow(world, grant, to, by=world.stranger, signer=owner)
    narrow(world, grant, to, by=world.stranger, signer=owner)  # again: nothing changes
    assert limits(world, grant)[0] == 2
    narrow(world, grant, narrowing(grant, uses=1), by=owner)
    with refused("NotNarrower"):  # what the owner signed once cannot be used against what it signed later
        narrow(world, grant, to, by=world.stranger, signer=owner)


def test_a_narrowing_is_of_its_own_grant(world: World, grant: Grant) -> None:
    owner = world.parties[0]
    second = world.grant(grant.dataset, uses=5, epsilon_micros=100)
    with refused("UnknownGrant"):
        narrow(world, second, narrowing(second, uses=1), by=owner)
    world.issue(owner, second)
    with refused("UnknownGrant"):
        narrow(world, second, narrowing(grant, uses=1), by=owner)
    owner.send(LEDGER, "revoke", grant.as_tuple())
    with refused("GrantIsRevoked"):
        narrow(world, grant, narrowing(grant, uses=1), by=owner)


def test_what_was_used_stays_used_and_nothing_more_is(case: Case) -> None:
    world, owner = case.world, case.world.parties[0]
    grant = world.grant(case.grants[0].dataset, uses=5, epsilon_micros=100)
    world.issue(owner, grant)
    first, *rest = case.proposal.parties
    spending = Party(first.account, first.dataset, grant.id(), 40, 1)
    proposal = replace(case.proposal, parties=(spending, *rest))
    world.requester.send("TaskLedger", "propose", proposal.as_tuple())
    world.accept(proposal, [grant, *case.grants[1:]])
    narrow(world, grant, narrowing(grant, uses=0, epsilon_micros=0), by=owner)
    assert limits(world, grant)[:2] == (1, 40)
    again = replace(proposal, salt=secrets.token_bytes(32))
    world.requester.send("TaskLedger", "propose", again.as_tuple())
    with refused("GrantUsedUp"):
        world.accept(again, [grant, *case.grants[1:]])


def test_a_narrowed_end_is_an_end(case: Case) -> None:
    world, grant = case.world, case.grants[0]
    narrow(world, grant, narrowing(grant, not_after=world.chain.now() - 1), by=world.parties[0])
    case.propose()
    with refused("GrantOutsideValidity"):
        world.accept(case.proposal, case.grants)


def test_a_signature_that_went_out_is_taken_back(world: World, grant: Grant) -> None:
    owner = world.parties[0]
    waiting = world.grant(grant.dataset)
    with refused("NotTheDatasetOwner"):
        world.stranger.send(LEDGER, "revoke", waiting.as_tuple())
    owner.send(LEDGER, "revoke", waiting.as_tuple())
    with refused("GrantIsRevoked"):
        world.issue(owner, waiting)
    with refused("GrantIsRevoked"):
        owner.send(LEDGER, "revoke", waiting.as_tuple())
    with refused("UnknownGrant"):  # nobody could use it anyway
        owner.send(LEDGER, "revoke", replace(waiting, grantee="0x" + "00" * 20).as_tuple())


@pytest.mark.parametrize("issued", [True, False])
def test_anyone_relays_a_revocation_that_the_owner_signed(world: World, grant: Grant, issued: bool) -> None:
    owner = world.parties[0]
    wanted = grant if issued else world.grant(grant.dataset)
    digest = revocation_digest(world.domain(LEDGER), wanted.id())
    for signature in (world.parties[1].signer.sign_digest(digest), b"", owner.signer.sign_digest(wanted.id())):
        with refused("BadOwnerSignature"):
            world.stranger.send(LEDGER, "revokeSigned", wanted.as_tuple(), signature)
    revoked = world.stranger.send(LEDGER, "revokeSigned", wanted.as_tuple(), owner.signer.sign_digest(digest))
    assert revoked.event("GrantRevoked")["owner"] == owner.address
    assert world.call(LEDGER, "accountOf", wanted.id())["revoked"]
    if not issued:
        with refused("GrantIsRevoked"):
            world.issue(owner, wanted)


def test_a_suspended_owner_narrows_too(world: World, grant: Grant) -> None:
    owner = world.parties[0]
    world.governor.send("ParticipantRegistry", "suspend", owner.address, secrets.token_bytes(32))
    narrow(world, grant, narrowing(grant, uses=1), by=owner)
    assert limits(world, grant)[0] == 1

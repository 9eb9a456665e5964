"""Regulators move suspensions that take effect after a delay; authorities revoke their certificates by their own signature."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from contracts.conftest import ALL_ROLES, DAY, Actor, World, refused
from cryptography.hazmat.primitives.asymmetric import ec
from tallystick.chain.connection import Receipt
from tallystick.protocol.identity import ROLES, sign_p256
from tallystick.protocol.revocation import certificate_revocation_digest

REGISTRY = "ParticipantRegistry"
STATUS = ["None", "Active", "Suspended", "Revoked"]


def status(world: World, actor: Actor) -> str:
    return STATUS[world.call(REGISTRY, "participant", actor.address)["status"]]


def move(world: World, accused: Actor, *, by: Actor | None = None) -> Receipt:
    return (by or world.regulator).send(REGISTRY, "moveSuspension", accused.address, secrets.token_bytes(32))


def carry(world: World, accused: Actor) -> Receipt:
    return world.stranger.send(REGISTRY, "carrySuspension", accused.address)


def test_a_motion_takes_effect_after_its_delay_with_its_reason(world: World) -> None:
    accused = world.parties[0]
    moved = move(world, accused).event("SuspensionMoved")
    assert (moved["regulator"], moved["effectiveAt"]) == (world.regulator.address, world.chain.now() + 2 * DAY)
    assert world.call(REGISTRY, "motionAgainst", accused.address)["reason"] == moved["reason"]
    with refused("MotionNotDue"):
        carry(world, accused)
    with refused("MotionExists"):
        move(world, accused)
    assert status(world, accused) == "Active"
    world.travel(2 * DAY + 1)
    suspended = carry(world, accused).event("Suspended")
    assert (suspended["account"], suspended["reason"]) == (accused.address, moved["reason"])
    assert status(world, accused) == "Suspended"
    with refused("NoMotion"):
        carry(world, accused)
    with refused("WrongStatus"):
        move(world, accused)
    world.governor.send(REGISTRY, "reinstate", accused.address)  # the regulator moves, the consortium stays sovereign
    assert status(world, accused) == "Active"


def test_only_regulators_move_and_only_who_takes_part_is_suspended(world: World) -> None:
    world.enrol(world.newcomer, world.enrolment(world.newcomer, ALL_ROLES - ROLES["regulator"]))
    with refused("RoleMissing"):
        move(world, world.parties[0], by=world.newcomer)
    for stranger in (world.stranger, world.governor):
        with refused("NotActive"):
            move(world, world.parties[0], by=stranger)
    with refused("WrongStatus"):
        move(world, world.stranger)
    with refused("NoMotion"):
        carry(world, world.parties[0])


def test_the_motion_of_a_regulator_that_is_one_no_more_is_not_carried(world: World) -> None:
    accused = world.parties[0]
    move(world, accused)
    world.travel(2 * DAY + 1)
    world.governor.send(REGISTRY, "suspend", world.regulator.address, secrets.token_bytes(32))
    with refused("NotActive"):
        carry(world, accused)
    world.governor.send(REGISTRY, "reinstate", world.regulator.address)
    roles = ALL_ROLES - ROLES["regulator"]
    world.enrol(world.regulator, world.enrolment(world.regulator, roles, not_before=world.now - DAY + 1))
    with refused("RoleMissing"):
        carry(world, accused)
    assert status(world, accused) == "Active"


def test_the_governor_or_the_regulator_drops_a_motion(world: World) -> None:
    accused = world.parties[0]
    for dropper in (world.governor, world.regulator):
        move(world, accused)
        for other in (world.stranger, accused, world.parties[1]):
            with refused("NotAllowed"):
                other.send(REGISTRY, "dropSuspension", accused.address, bytes(32))
        dropped = dropper.send(REGISTRY, "dropSuspension", accused.address, secrets.token_bytes(32)).event("SuspensionDropped")
        assert dropped["by"] == dropper.address
        with refused("NoMotion"):
            dropper.send(REGISTRY, "dropSuspension", accused.address, bytes(32))
    world.travel(3 * DAY)
    with refused("NoMotion"):
        carry(world, accused)
    assert status(world, accused) == "Active"


def test_a_motion_lapses_and_can_be_moved_again(world: World) -> None:
    accused = world.parties[0]
    move(world, accused)
    world.travel(16 * DAY + 10)
    with refused("MotionNotDue"):
        carry(world, accused)
    move(world, accused)
    world.travel(2 * DAY + 1)
    carry(world, accused)


def test_a_motion_of_a_regulator_that_is_none_any_more_is_not_carried(world: World) -> None:
    accused = world.parties[0]
    move(world, accused)
    world.governor.send(REGISTRY, "suspend", world.regulator.address, bytes(32))
    world.travel(2 * DAY + 1)
    with refused("NotActive"):
        carry(world, accused)
    assert status(world, accused) == "Active"


# -- the authority's revocation list


def revoke_certificate(
    world: World, actor: Actor, *, key: ec.EllipticCurvePrivateKey | None = None, fingerprint: bytes | None = None,
    chain_id: int | None = None, authority: int = 0,
) -> Receipt:  # fmt: skip
    domain = world.domain(REGISTRY)
    domain = replace(domain, chain_id=chain_id or domain.chain_id)
    wanted, reason = fingerprint or actor.fingerprint, secrets.token_bytes(32)
    signature = sign_p256(key or world.authority_key, certificate_revocation_digest(domain, actor.address, wanted, reason))
    return world.stranger.send(REGISTRY, "revokeCertificate", authority, actor.address, wanted, reason, signature)


def test_the_contract_and_the_sdk_compute_the_same_digest(world: World) -> None:
    values = world.parties[0].address, secrets.token_bytes(32), secrets.token_bytes(32)
    found = world.call(REGISTRY, "certificateRevocationDigest", *values)
    assert found == certificate_revocation_digest(world.domain(REGISTRY), *values)


def test_an_authority_revokes_what_it_certified(world: World) -> None:
    actor = world.parties[0]
    receipt = revoke_certificate(world, actor)
    assert [event.name for event in receipt.events] == ["CertificateRevoked", "Revoked"]
    assert status(world, actor) == "Revoked"
    assert world.call(REGISTRY, "certificateRevoked", 0, actor.fingerprint)
    with refused("NotActive"):
        world.publish(actor)
    with refused("CertificateIsRevoked"):
        revoke_certificate(world, actor)


def test_a_certificate_on_the_list_never_enrols(world: World) -> None:
    receipt = revoke_certificate(world, world.newcomer)
    assert [event.name for event in receipt.events] == ["CertificateRevoked"]
    with refused("CertificateIsRevoked"):
        world.enrol(world.newcomer)
    world.newcomer.fingerprint = secrets.token_bytes(32)  # another certificate is another matter
    world.enrol(world.newcomer)
    assert status(world, world.newcomer) == "Active"


def test_an_old_certificate_on_the_list_leaves_its_successor_alone(world: World) -> None:
    actor = world.parties[0]
    old, actor.fingerprint = actor.fingerprint, secrets.token_bytes(32)
    world.enrol(actor, world.enrolment(actor, not_before=world.now - 60))
    revoke_certificate(world, actor, fingerprint=old)
    assert status(world, actor) == "Active"


def test_a_suspended_participants_certificate_is_revoked_too(world: World) -> None:
    actor = world.parties[0]
    world.governor.send(REGISTRY, "suspend", actor.address, bytes(32))
    revoke_certificate(world, actor)
    assert status(world, actor) == "Revoked"
    with refused("WrongStatus"):
        world.governor.send(REGISTRY, "reinstate", actor.address)


def test_only_the_authority_itself_revokes_and_for_this_chain(world: World) -> None:
    actor, other = world.parties[0], ec.generate_private_key(ec.SECP256R1())
    with refused("BadAuthoritySignature"):
        revoke_certificate(world, actor, key=other)
    with refused("BadAuthoritySignature"):
        revoke_certificate(world, actor, chain_id=1)
    with refused("UnknownAuthority"):
        revoke_certificate(world, actor, authority=7)
    number = world.add_authority(other)
    revoke_certificate(world, actor, key=other, authority=number)  # says nothing about what another authority certified
    assert status(world, actor) == "Active"
    world.governor.send(REGISTRY, "retireAuthority", 0)
    revoke_certificate(world, actor)  # retired, and still answerable for what it certified
    assert status(world, actor) == "Revoked"


@pytest.mark.parametrize("member", ["account", "fingerprint", "reason"])
def test_a_changed_member_breaks_the_signature(world: World, member: str) -> None:
    actor, reason = world.parties[0], secrets.token_bytes(32)
    digest = certificate_revocation_digest(world.domain(REGISTRY), actor.address, actor.fingerprint, reason)
    values = {"account": actor.address, "fingerprint": actor.fingerprint, "reason": reason}
    values[member] = world.parties[1].address if member == "account" else secrets.token_bytes(32)
    with refused("BadAuthoritySignature"):
        world.stranger.send(REGISTRY, "revokeCertificate", 0, *values.values(), sign_p256(world.authority_key, digest))

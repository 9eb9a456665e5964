from __future__ import annotations

import secrets
from dataclasses import replace

from contracts.conftest import ALL_ROLES, DAY, World, b32, refused
from cryptography.hazmat.primitives.asymmetric import ec
from tallystick.protocol import typed
from tallystick.protocol.identity import ROLES, sign_p256

REGISTRY = "ParticipantRegistry"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_the_contract_and_the_sdk_compute_the_same_digests(empty: World) -> None:
    enrolment = empty.enrolment(empty.newcomer)
    domain = empty.domain(REGISTRY)
    assert empty.call(REGISTRY, "enrolmentDigest", enrolment.as_tuple()) == typed.enrolment_digest(domain, enrolment)
    expected = typed.possession_digest(domain, enrolment.account, enrolment.fingerprint)
    assert empty.call(REGISTRY, "possessionDigest", enrolment.account, enrolment.fingerprint) == expected


def test_an_enrolled_participant_is_active_in_its_roles(world: World) -> None:
    world.enrol(world.newcomer, world.enrolment(world.newcomer, roles=ROLES["requester"]))
    who = world.call(REGISTRY, "participant", world.newcomer.address)
    assert who["fingerprint"] == world.newcomer.fingerprint
    assert who["status"] == 1
    world.call(REGISTRY, "requireActive", world.newcomer.address, ROLES["requester"])
    with refused("RoleMissing"):
        world.call(REGISTRY, "requireActive", world.newcomer.address, ROLES["data-provider"])
    world.call(REGISTRY, "requireActiveInAny", world.newcomer.address, ROLES["requester"] | ROLES["compute"])
    with refused("RoleMissing"):
        world.call(REGISTRY, "requireActiveInAny", world.newcomer.address, ROLES["data-provider"] | ROLES["compute"])


def test_a_stranger_is_not_active(world: World) -> None:
    with refused("NotActive"):
        world.call(REGISTRY, "requireActive", world.stranger.address, 0)
    with refused("NotActive"):
        world.call(REGISTRY, "requireActiveInAny", world.stranger.address, ALL_ROLES)


def test_only_the_governor_adds_and_retires_authorities(world: World) -> None:
    point = new_key().public_key().public_numbers()
    with refused("NotAllowed"):
        world.stranger.send(REGISTRY, "addAuthority", b32(point.x), b32(point.y), 0, world.now + DAY)
    with refused("NotAllowed"):
        world.stranger.send(REGISTRY, "retireAuthority", 0)


def test_an_authority_needs_a_point_of_the_curve_and_a_future(world: World) -> None:
    point = new_key().public_key().public_numbers()
    with refused("BadKey"):
        world.governor.send(REGISTRY, "addAuthority", b32(point.x), b32(point.y ^ 1), 0, world.now + DAY)
    with refused("BadValidity"):
        world.governor.send(REGISTRY, "addAuthority", b32(point.x), b32(point.y), 0, world.now - DAY)
    with refused("BadValidity"):  # it would end as it begins
        world.governor.send(REGISTRY, "addAuthority", b32(point.x), b32(point.y), world.now + DAY, world.now + DAY)
    with refused("UnknownAuthority"):
        world.governor.send(REGISTRY, "retireAuthority", 7)
    with refused("UnknownAuthority"):
        world.call(REGISTRY, "authorityAt", 7)


def test_an_authority_is_read_as_it_was_named_until_it_is_retired(world: World) -> None:
    point = world.authority_key.public_key().public_numbers()
    named = {"x": b32(point.x), "y": b32(point.y), "notBefore": world.now - DAY, "notAfter": world.now + 3650 * DAY}
    assert dict(world.call(REGISTRY, "authorityAt", 0)) == {**named, "retired": False}
    world.governor.send(REGISTRY, "retireAuthority", 0)
    assert dict(world.call(REGISTRY, "authorityAt", 0)) == {**named, "retired": True}


def test_retiring_an_authority_ends_everybody_it_certified(world: World) -> None:
    world.governor.send(REGISTRY, "retireAuthority", 0)
    with refused("AuthorityNotValid"):
        world.call(REGISTRY, "requireActive", world.requester.address, 0)
    with refused("AuthorityNotValid"):
        world.enrol(world.newcomer)
    with refused("AuthorityNotValid"):
        world.governor.send(REGISTRY, "retireAuthority", 0)


def test_participants_and_authorities_count_within_their_validity_alone(world: World) -> None:
    """Days from now: the authority's are 1 to 4, its participant's 2 to 9."""
    key, today = new_key(), world.chain.now()
    point = key.public_key().public_numbers()
    window = (today + DAY, today + 4 * DAY)
    added = world.governor.send(REGISTRY, "addAuthority", b32(point.x), b32(point.y), *window).event("AuthorityAdded")
    enrolment = world.enrolment(world.newcomer, not_before=today + 2 * DAY, not_after=today + 9 * DAY)

    def enrol() -> None:
        world.enrol(world.newcomer, enrolment, authority=added["authority"], authority_key=key)

    def active() -> None:
        world.call(REGISTRY, "requireActive", world.newcomer.address, 0)

    with refused("AuthorityNotValid"):
        enrol()
    world.travel(DAY + 1)
    enrol()
    with refused("OutsideValidity"):
        active()
    world.travel(DAY)
    active()
    world.travel(2 * DAY)
    with refused("AuthorityNotValid"):
        active()


def test_nobody_enrols_another_account(world: World) -> None:
    enrolment = world.enrolment(world.newcomer)
    digest = typed.enrolment_digest(world.domain(REGISTRY), enrolment)
    possession = typed.possession_digest(world.domain(REGISTRY), enrolment.account, enrolment.fingerprint)
    signatures = sign_p256(world.authority_key, digest), sign_p256(world.newcomer.key, possession)
    with refused("NotTheSubject"):
        world.stranger.send(REGISTRY, "enrol", 0, enrolment.as_tuple(), *signatures)


def test_enrolment_needs_the_authoritys_signature_over_every_member(world: World) -> None:
    with refused("BadAuthoritySignature"):
        world.enrol(world.newcomer, authority_key=new_key())
    signed = world.enrolment(world.newcomer, roles=ROLES["requester"])
    domain = world.domain(REGISTRY)
    by_authority = sign_p256(world.authority_key, typed.enrolment_digest(domain, signed))
    by_subject = sign_p256(world.newcomer.key, typed.possession_digest(domain, signed.account, signed.fingerprint))
    changed = [replace(signed, roles=ALL_ROLES), replace(signed, not_after=signed.not_after + 1)]
    for other in changed:
        with refused("BadAuthoritySignature"):
            world.newcomer.send(REGISTRY, "enrol", 0, other.as_tuple(), by_authority, by_subject)


def test_enrolment_needs_the_certificate_keys_agreement(world: World) -> None:
    with refused("BadPossessionSignature"):
        world.enrol(world.newcomer, subject_key=new_key())


def test_signatures_for_another_chain_or_contract_do_not_count(world: World) -> None:
    here = world.domain(REGISTRY)
    for domain in (replace(here, chain_id=here.chain_id + 1), replace(here, address=world.stranger.address)):
        with refused("BadAuthoritySignature"):
            world.enrol(world.newcomer, domain=domain)


def test_an_old_enrolment_cannot_be_replayed(world: World) -> None:
    world.enrol(world.newcomer)
    with refused("NotNewer"):
        world.enrol(world.newcomer)
    with refused("BadPossessionSignature"):  # somebody else's certificate, without its key
        stolen = world.enrolment(world.stranger, fingerprint=world.newcomer.fingerprint)
        key = world.newcomer.key.public_key().public_numbers()
        stolen = replace(stolen, subject_x=b32(key.x), subject_y=b32(key.y))
        world.enrol(world.stranger, stolen)


def test_a_participant_rotates_its_certificate(world: World) -> None:
    old = world.enrolment(world.requester)
    new = replace(old, fingerprint=secrets.token_bytes(32), not_before=old.not_before + 1)
    world.enrol(world.requester, new)
    assert world.call(REGISTRY, "participant", world.requester.address)["fingerprint"] == new.fingerprint
    with refused("NotNewer"):
        world.enrol(world.requester, old)


def test_enrolment_refuses_bad_roles_and_validity(world: World) -> None:
    for roles in (0, ALL_ROLES + 1):
        with refused("BadRoles"):
            world.enrol(world.newcomer, world.enrolment(world.newcomer, roles=roles))
    with refused("BadValidity"):
        world.enrol(world.newcomer, world.enrolment(world.newcomer, not_after=world.now - 1))
    for begin in (world.now + DAY, world.now + 2 * DAY):  # it would end as it begins, or before
        with refused("BadValidity"):
            world.enrol(world.newcomer, world.enrolment(world.newcomer, not_before=begin, not_after=world.now + DAY))
    with refused("UnknownAuthority"):
        world.enrol(world.newcomer, authority=3)


def test_validity_ends(world: World) -> None:
    world.travel(400 * DAY)
    with refused("OutsideValidity"):
        world.call(REGISTRY, "requireActive", world.requester.address, 0)


def test_suspension_is_the_governors_and_can_be_lifted(world: World) -> None:
    who = world.requester.address
    reason = secrets.token_bytes(32)
    with refused("NotAllowed"):
        world.stranger.send(REGISTRY, "suspend", who, reason)
    world.governor.send(REGISTRY, "suspend", who, reason)
    with refused("NotActive"):
        world.call(REGISTRY, "requireActive", who, 0)
    with refused("WrongStatus"):
        world.governor.send(REGISTRY, "suspend", who, reason)
    with refused("WrongStatus"):
        world.enrol(world.requester, world.enrolment(world.requester, fingerprint=secrets.token_bytes(32)))
    with refused("NotAllowed"):
        world.requester.send(REGISTRY, "reinstate", who)
    world.governor.send(REGISTRY, "reinstate", who)
    world.call(REGISTRY, "requireActive", who, 0)
    with refused("WrongStatus"):
        world.governor.send(REGISTRY, "reinstate", who)


def test_revocation_is_for_good(world: World) -> None:
    who = world.requester.address
    with refused("NotAllowed"):
        world.stranger.send(REGISTRY, "revoke", who, bytes(32))
    world.requester.send(REGISTRY, "revoke", who, bytes(32))
    with refused("NotActive"):
        world.call(REGISTRY, "requireActive", who, 0)
    with refused("WrongStatus"):
        world.governor.send(REGISTRY, "reinstate", who)
    with refused("WrongStatus"):
        world.governor.send(REGISTRY, "revoke", who, bytes(32))
    with refused("WrongStatus"):
        world.enrol(world.requester, world.enrolment(world.requester, fingerprint=secrets.token_bytes(32)))

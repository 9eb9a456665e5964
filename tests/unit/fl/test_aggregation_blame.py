"""Who is named when shares or keys are wrong: the member that made them so, and never the coordinator that forwarded them."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from tallystick_node.engines.channel import VOUCHER, ChannelError, Identity, ProtocolViolation, local_sessions
from tallystick_node.engines.credentials import Credential, Signers
from tallystick_node.engines.fl.aggregation.member import Member
from tallystick_node.engines.fl.aggregation.messages import MEMBER, pack, unpack
from tallystick_node.engines.fl.aggregation.observer import SEALED, SHARED
from tallystick_node.engines.fl.aggregation.secure import SecureSum
from tallystick_node.engines.fl.aggregation.sharing import SHARE
from unit.fl.secure_world import MIDDLE, World, changed, refused, said


def institutions(count: int):
    """Keys of so many institutions, and who checks their vouchers: a signature of 64 bytes and one more."""
    made = [Ed25519PrivateKey.generate() for _ in range(count)]

    def vouched(member: int, key: bytes, voucher: bytes) -> bool:
        try:
            made[member].public_key().verify(voucher[:64], b"session" + key)
        except Exception:
            return False
        return True

    return made, vouched


def credential(institution: Ed25519PrivateKey) -> Credential:
    key = Ed25519PrivateKey.generate()
    return Credential(key, institution.sign(b"session" + key.public_key().public_bytes_raw()) + b"\0")


# -- shares


def resigned(world: World, owner: int, holder: int, record: bytes) -> bytes:
    """A record as its owner would sign it."""
    whole = said(world, owner, b"share", holder.to_bytes(MEMBER, "little") + record[:-64])
    return record[:-64] + whole[-64:]


@pytest.mark.parametrize(("at", "rule"), [(5, "another key than"), (SEALED + 3, "other shares than it sealed")])
def test_a_member_that_seals_wrongly_is_named_by_whom_it_sealed_for(at: int, rule: str) -> None:
    """The coordinator forwards what the member signed: it is not at fault."""
    world = World()
    adverts = world.adverts()
    replies = {member: each.share(adverts) for member, each in world.party.items()}
    records = unpack(2, "", replies[2], SHARED, 6)
    records[4] = resigned(world, 2, 4, changed(records[4], at))
    shares = world.coordinator.share({**replies, 2: pack(records)})
    refused(2, rule, world.party[4].mask, shares[4], world.vectors[4])
    world.party[3].mask(shares[3], world.vectors[3])


def test_shares_that_a_member_did_not_sign_are_refused_at_the_coordinator() -> None:
    world = World()
    adverts = world.adverts()
    replies = {member: each.share(adverts) for member, each in world.party.items()}
    records = unpack(2, "", replies[2], SHARED, 6)
    refused(2, "did not sign for party 4", world.coordinator.share, {**replies, 2: pack({**records, 4: changed(records[4], 5)})})
    swapped = pack({**records, 4: records[3], 3: records[4]})
    refused(2, "did not sign for party 3", world.coordinator.share, {**replies, 2: swapped})


def test_a_holder_that_reveals_another_share_than_it_got_is_told_from_an_owner_that_shared_wrongly() -> None:
    """As many liars as the threshold leaves room for: error correction alone would accuse owners, or honest holders."""
    world = World()
    certificate = world.certificate()
    replies = {member: each.reveal(certificate) for member, each in world.alive().items()}
    for liar in (1, 2, 3):
        replies[liar] = b"".join(
            record[:MEMBER] + (record[MEMBER:] if record[0] == liar else changed(record[MEMBER:], 0))
            for record in (replies[liar][at : at + MEMBER + SHARE] for at in range(0, len(replies[liar]), MEMBER + SHARE))
        )
    secrets = world.coordinator.open(replies)
    assert world.coordinator.liars == {1, 2, 3}
    assert all(world.coordinator.opens(member, secret) for member, secret in secrets.items())


def test_an_owner_that_committed_to_shares_that_do_not_belong_together_is_named() -> None:
    world = World()
    adverts = world.adverts()
    replies = {member: each.share(adverts) for member, each in world.party.items()}
    owner = world.party[5]
    records = unpack(5, "", replies[5], SHARED, 6)
    for holder in (0, 1, 2, 3):
        cipher, wrong = owner._cipher(5, holder), np.random.default_rng(holder).integers(0, 2**60, 10).astype(np.uint64).tobytes()
        content = cipher.encrypt(bytes(12), wrong, None)
        content += owner.promise(5, holder, wrong[:SHARE]) + owner.promise(5, holder, wrong[SHARE:])
        records[holder] = resigned(world, 5, holder, content + bytes(64))
    shares = world.coordinator.share({**replies, 5: pack(records)})
    for member, each in world.party.items():
        world.coordinator.add(member, *each.mask(shares[member], world.vectors[member]))
    announcement = world.coordinator.announce()
    certificate = world.coordinator.certify({member: each.confirm(announcement) for member, each in world.party.items()})
    replies = {member: each.reveal(certificate) for member, each in world.party.items()}
    refused(5, "cannot recover|another secret", world.coordinator.open, replies)
    assert world.coordinator.liars == set()


# -- keys


def vouched_world() -> tuple[World, list[Ed25519PrivateKey], dict[int, Signers]]:
    """A world in which every party has its own view of the keys, and institutions vouch for them."""
    world = World()
    made, vouched = institutions(6)
    credentials = {member: credential(made[member]) for member in world.members}
    views = {party: Signers({}, vouched) for party in (*world.members, MIDDLE)}
    for view in views.values():
        for member, each in credentials.items():
            view.meet(member, each.announced)
    world.coordinator.signers = views[MIDDLE]
    world.party = {member: Member(world.round, MIDDLE, views[member], member, credentials[member]) for member in world.members}
    return world, made, views


def test_vouched_keys_carry_a_round() -> None:
    world, _, _ = vouched_world()
    adverts = world.coordinator.advertise({member: each.advertise() for member, each in world.party.items()})
    assert all(len(each.share(adverts)) == 5 * (MEMBER + SHARED) for each in world.party.values())


def test_a_member_that_gave_two_parties_different_keys_is_named_and_not_the_coordinator() -> None:
    world, made, views = vouched_world()
    views[3].meet(2, credential(made[2]).announced)  # party 3 was told another key
    adverts = world.coordinator.advertise({member: each.advertise() for member, each in world.party.items()})
    refused(2, "two keys for one session", world.party[3].share, adverts)
    world.party[4].share(adverts)


def test_a_coordinator_that_forwards_a_key_of_its_own_making_is_named() -> None:
    world, made, _ = vouched_world()
    adverts = {member: each.advertise() for member, each in world.party.items()}
    world.coordinator.advertise(adverts)
    forger = Ed25519PrivateKey.generate()
    for voucher in (made[4].sign(b"session" + forger.public_key().public_bytes_raw()) + b"\0", bytes(VOUCHER)):
        forged = adverts[2][:96] + Credential(forger, voucher).announced
        refused(
            MIDDLE,
            "not the one that it announced",
            world.party[3].share,
            pack({**adverts, 2: said(world, 2, b"advertise", forged, forger)}),
        )
        world.party[3]._done = "advertise"


def test_a_party_that_missed_a_member_s_key_takes_it_from_its_vouched_advert() -> None:
    world, _, views = vouched_world()
    views[3]._keys.pop(2)
    adverts = world.coordinator.advertise({member: each.advertise() for member, each in world.party.items()})
    world.party[3].share(adverts)
    unvouched = Signers({})
    with pytest.raises(ProtocolViolation, match="not the one") as caught:
        unvouched.check_announced(MIDDLE, 2, adverts[4 + 96 :][:97])
    assert caught.value.peer == MIDDLE


def test_parties_meet_with_keys_that_their_institutions_vouch_for() -> None:
    made, vouched = institutions(4)

    def identity(member: int, institution: int) -> Identity:
        key = Ed25519PrivateKey.generate()
        public: Ed25519PublicKey = key.public_key()
        return Identity(key.private_bytes_raw(), made[institution].sign(b"session" + public.public_bytes_raw()) + b"\0", vouched)

    vector = np.array([0.25, -0.5])
    sessions = [replace(session, identity=identity(session.index, session.index)) for session in local_sessions(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda session: SecureSum(dropped=0).total(session, vector, [0, 1, 2, 3], 0), sessions))
    assert all(np.abs(each - 4 * vector).max() < 1e-8 for each in found)

    sessions = [replace(session, identity=identity(session.index, session.index)) for session in local_sessions(3)]
    stranger = identity(2, 3)
    public = Ed25519PrivateKey.from_private_bytes(stranger.key).public_key().public_bytes_raw()
    nowhere = hashlib.sha256(b"").digest()
    sessions[2].broadcast(public + stranger.voucher + nowhere)
    sessions[1].channels[0].send(bytes(97) + nowhere)
    with pytest.raises(ProtocolViolation, match="does not vouch") as caught:
        SecureSum(dropped=0).total(sessions[0], vector, [0, 1, 2], 0)
    assert caught.value.peer == 1
    sessions[0].channels[1].send(Credential.of(sessions[0]).announced + nowhere)
    with pytest.raises(ProtocolViolation, match="does not vouch") as caught:
        SecureSum(dropped=0).total(sessions[1], vector, [0, 1, 2], 0)
    assert caught.value.peer == 2


def test_parties_that_read_of_different_blocks_do_not_begin() -> None:
    """Else each would wait for another coordinator. It is nobody's fault: a ChannelError, after which the task is tried again."""
    sessions = [replace(each, beacon=b"left" if each.index == 1 else b"block") for each in local_sessions(3)]

    def one(session):
        with pytest.raises(ChannelError, match="another block") as caught:
            SecureSum(dropped=0).total(session, np.zeros(2), [0, 1, 2], 0)
        return type(caught.value), caught.value.peer

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(one, session) for session in sessions[:2]]
        sessions[2].broadcast(Credential.of(sessions[2]).announced + hashlib.sha256(b"block").digest())
        assert [each.result() for each in others] == [(ChannelError, 1), (ChannelError, 0)]

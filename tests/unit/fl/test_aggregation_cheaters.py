"""Rounds of secure aggregation in which members drop out or someone cheats: who is caught, at what, and by whom."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tallystick_node.engines.credentials import Credential
from tallystick_node.engines.fl.aggregation import graph, masks, projection, quantisation, simulation
from tallystick_node.engines.fl.aggregation.coordinator import Coordinator
from tallystick_node.engines.fl.aggregation.member import Member
from tallystick_node.engines.fl.aggregation.messages import MEMBER, TooFewLeft, pack, unpack
from tallystick_node.engines.fl.aggregation.observer import ADVERT, PROJECTED, SHARED, Observer
from tallystick_node.engines.fl.aggregation.sharing import SHARE
from unit.fl.secure_world import LENGTH, MIDDLE, World, changed, opened, refused, said

# -- dropping out


@pytest.mark.parametrize("phase", simulation.PHASES)
def test_ten_of_thirty_members_drop_out_at_any_phase_and_the_round_closes(phase: str) -> None:
    rng = np.random.default_rng(3)
    vectors = {member: rng.uniform(-1, 1, 40) for member in range(30)}
    gone = {int(member): phase for member in rng.choice(30, 10, replace=False)}
    found = simulation.simulate(vectors, graph.plan(30, 9, 10), gone, verified=True)
    counted = set(range(30)) - (gone.keys() if phase in ("advertise", "share", "mask") else set())
    assert set(found.survivors) == counted
    assert np.abs(found.total - sum(vectors[member] for member in counted)).max() <= quantisation.error(30)


def test_members_drop_out_at_every_phase_of_one_round_that_does_not_verify() -> None:
    vectors = {member: np.full(5, member / 20) for member in range(20)}
    drops = {3: "advertise", 4: "share", 5: "mask", 6: "mask", 7: "confirm", 8: "reveal"}
    found = simulation.simulate(vectors, graph.plan(20, 5, 6), drops)
    assert found.total == pytest.approx(np.full(5, (190 - 3 - 4 - 5 - 6) / 20))


@pytest.mark.parametrize("phase", simulation.PHASES[:5])
def test_one_more_than_may_ends_the_round(phase: str) -> None:
    vectors = {member: np.zeros(4) for member in range(8)}
    with pytest.raises(TooFewLeft) as caught:
        simulation.simulate(vectors, graph.plan(8, 1, 2), dict.fromkeys((1, 4, 6), phase))
    assert caught.value.lost == (1, 4, 6)


def test_many_members_on_a_sparse_graph() -> None:
    plan = replace(graph.plan(40, 5, 6), degree=16, threshold=6)
    vectors = {member: np.full(7, (member - 20) / 40) for member in range(40)}
    found = simulation.simulate(vectors, plan, {4: "share", 9: "mask", 17: "mask", 30: "confirm"}, verified=True)
    assert max(map(len, found.coordinator.graph.values())) == 16
    assert found.total == pytest.approx(sum(vectors[member] for member in found.survivors), abs=quantisation.error(40))


# -- a coordinator that cheats


def test_keys_that_the_coordinator_changed_are_refused() -> None:
    world = World()
    adverts = unpack(MIDDLE, "", world.adverts(), ADVERT, 6)
    mine = masks.public_key(masks.private_key(bytes(range(32))))
    refused(MIDDLE, "party 2 that it did not sign", world.party[0].share, pack({**adverts, 2: mine + adverts[2][32:]}))
    refused(MIDDLE, "left this party out", world.party[2].share, pack({k: v for k, v in adverts.items() if k != 2}))
    refused(MIDDLE, "3 members where 4", world.party[1].share, pack({k: v for k, v in adverts.items() if k < 3}))
    refused(MIDDLE, "party 7", world.party[3].share, pack({7: adverts[2], **{k: v for k, v in adverts.items() if k < 5}}))
    refused(MIDDLE, "ascending", world.watcher.advertised, pack(adverts)[261:] + pack(adverts)[:261])
    twice = pack({k: v for k, v in adverts.items() if k < 5}) + pack({4: adverts[4]})
    refused(MIDDLE, "ascending", world.watcher.advertised, twice)
    refused(MIDDLE, "records of 261", world.party[4].share, pack(adverts) + b"x")


def test_keys_of_another_round_are_refused() -> None:
    world = World()
    old = unpack(MIDDLE, "", world.adverts(), ADVERT, 6)
    world.begin(1)
    fresh = {member: each.advertise() for member, each in world.party.items()}
    refused(2, "did not sign for this round", world.coordinator.advertise, {**fresh, 2: old[2]})
    refused(MIDDLE, "party 2 that it did not sign for this round", world.party[0].share, pack({**fresh, 2: old[2]}))


def test_a_replayed_update_is_refused() -> None:
    world = World()
    shares = world.shares()
    masked, committed = world.party[4].mask(shares[4], world.vectors[4])
    world.coordinator.add(4, masked, committed)
    refused(4, "not due", world.coordinator.add, 4, masked, committed)
    refused(3, "did not sign", world.coordinator.add, 3, masked, committed)
    world.begin(1)
    world.shares()
    refused(4, "did not sign for this round", world.coordinator.add, 4, masked, committed)


def test_shares_that_the_coordinator_changed_are_refused() -> None:
    world = World()
    shares = world.shares()
    refused(MIDDLE, "party 0 that it did not sign", world.party[3].mask, changed(shares[3], MEMBER), world.vectors[3])
    mine = unpack(MIDDLE, "", shares[4], SHARED, 6)
    refused(MIDDLE, "party 1 that it did not sign", world.party[4].mask, pack({**mine, 1: mine[2]}), world.vectors[4])
    refused(MIDDLE, "no neighbour", world.party[5].mask, pack({5: mine[1]}), world.vectors[5])


def test_nobody_reveals_when_the_coordinator_tells_two_stories_of_who_survived() -> None:
    """The attack for which survivors confirm: asking some for the shares of a survivor's own mask and others for its key."""
    world = World()
    true = world.announcement()
    size = MEMBER + 96
    records = true[4:]
    false = (5).to_bytes(4, "little") + records[size:] + records[:MEMBER]  # party 0 dropped out, it says
    one = {member: world.party[member].confirm(true) for member in (0, 1, 2)}
    two = {member: world.party[member].confirm(false) for member in (3, 4, 5)}
    refused(MIDDLE, "3 confirmations of the survivors where 4", world.party[1].reveal, pack(one))
    refused(MIDDLE, "3 confirmations of the survivors where 4", world.party[4].reveal, pack(two))
    refused(MIDDLE, "not of these survivors", world.party[0].reveal, pack({**one, **two}))


def test_a_member_that_announces_two_secrets_cannot_have_parties_take_off_different_masks() -> None:
    """Member 5, with the coordinator, signs two adverts and opens each party the secret that it was shown. Both would fit the
    committed sum, which is masked: the sums that parties read off it would differ."""
    world = World()
    one = unpack(MIDDLE, "", world.adverts(), ADVERT, 6)
    again = Member(world.round, MIDDLE, world.coordinator.signers, 5, Credential(world.signing[5]))
    two = pack({**one, 5: again.advertise()})
    shares = world.coordinator.share(
        {member: each.share(two if member == 4 else pack(one)) for member, each in world.party.items() if member != 5}
    )
    for member in (0, 1, 2, 3, 4):
        world.coordinator.add(member, *world.party[member].mask(shares[member], world.vectors[member]))
    announcement = world.coordinator.announce()
    signatures = {member: world.party[member].confirm(announcement) for member in (0, 1, 2, 3, 4)}
    refused(MIDDLE, "confirmation of party 0", world.party[4].reveal, pack(signatures))
    refused(MIDDLE, "confirmation of party 4", world.party[0].reveal, pack(signatures))


def test_a_member_reveals_and_confirms_once() -> None:
    world = World()
    announcement = world.announcement()
    signatures = {member: each.confirm(announcement) for member, each in world.party.items()}
    with pytest.raises(RuntimeError, match="follows"):
        world.party[0].confirm(announcement)
    world.party[0].reveal(pack(signatures))
    with pytest.raises(RuntimeError, match="follows"):
        world.party[0].reveal(pack(signatures))


def test_what_a_member_reveals_is_never_both_of_one_peer() -> None:
    world = World()
    certificate = world.certificate(silent=(2, 5))
    revealed = unpack(0, "", world.party[0].reveal(certificate), SHARE, 6)
    kept = world.party[0]._shares
    assert revealed.keys() == set(world.members)
    for peer, share in revealed.items():
        assert share == (kept[peer][:SHARE] if peer in (2, 5) else kept[peer][SHARE:])


def test_a_member_is_not_counted_as_gone_or_with_another_root() -> None:
    world = World()
    true = world.announcement()
    size = MEMBER + 96
    false = (5).to_bytes(4, "little") + true[4 + size :] + true[4 : 4 + MEMBER]
    refused(MIDDLE, "left out this party", world.party[0].confirm, false)
    forged = true[: 4 + MEMBER] + changed(true[4 + MEMBER :])
    refused(MIDDLE, "root of party 0 that it did not sign", world.party[1].confirm, forged)
    refused(MIDDLE, "shares it did not forward, or forgot", world.party[2].confirm, (5).to_bytes(4, "little") + true[4 + size :])
    refused(MIDDLE, "also dropped out", world.party[3].confirm, true + true[4 : 4 + MEMBER])


def test_survivors_among_whom_a_sparse_graph_is_cut_are_refused() -> None:
    world = World(verified=False, members=12)
    plan = replace(graph.plan(12, 1, 4), degree=2, threshold=1)
    world.round = replace(world.round, plan=plan, verified=False)
    coordinator = Coordinator(world.round, MIDDLE, world.coordinator.signers)
    watcher = Observer(world.round, MIDDLE, world.coordinator.signers)
    party = {
        member: Member(world.round, MIDDLE, coordinator.signers, member, Credential(world.signing[member]))
        for member in world.members
    }
    watcher.advertised(coordinator.advertise({member: each.advertise() for member, each in party.items()}))
    near = watcher.graph
    far = next(other for other in world.members if other not in near[0] | {0} and not near[other] & near[0])

    def announce(gone: set[int]) -> bytes:
        staying = [member for member in world.members if member not in gone]
        return len(staying).to_bytes(4, "little") + pack(dict.fromkeys(staying, b"")) + pack(dict.fromkeys(gone, b""))

    refused(MIDDLE, "the graph is cut", watcher.announced, announce({0, far}))
    watcher.announced(announce({0, *near[0]}))


@pytest.mark.parametrize(
    "forge",
    [
        lambda world, whole: whole + np.eye(1, LENGTH, 7, dtype=np.uint64)[0],  # changed
        lambda world, whole: whole - world.coordinator.vectors[3],  # dropped
        lambda world, whole: whole + world.coordinator.vectors[3],  # counted twice
        lambda world, whole: whole + (np.uint64(1) << np.uint64(32)),  # the same modulo 2^32
    ],
)
def test_a_forged_aggregate_is_refused_by_all(forge) -> None:
    world = World()
    opening = world.opening(silent=(2,))
    proof = world.proof(opening, forge(world, world.coordinator.whole))
    for each in (world.watcher, *world.alive().values()):
        refused(MIDDLE, "not the sum of what was committed", each.accept, pack(proof))


def test_an_aggregate_that_could_wrap_around_the_field_is_refused() -> None:
    world = World()
    opening = world.opening()
    whole = world.coordinator.whole.copy()
    whole[0] += np.uint64(projection.MODULUS)
    refused(MIDDLE, "not below", opened, world.watcher, opening, whole)


def test_secrets_that_take_off_other_masks_are_refused() -> None:
    world = World()
    opening = world.opening(silent=(2,))
    for member in (1, 2):
        at = member * (MEMBER + 32) + MEMBER + 5
        refused(MIDDLE, f"party {member} did not announce", opened, world.party[0], changed(opening, at), world.coordinator.whole)
    refused(MIDDLE, "secrets of others", opened, world.party[0], opening[: -MEMBER - 32], world.coordinator.whole)


def test_the_coordinator_vouches_for_nobody() -> None:
    world = World()
    proof = world.proof(world.opening())
    forged = Ed25519PrivateKey.generate()
    content = proof[3][MEMBER:-64]
    statement = world.watcher.challenge + struct.pack("<I", 3) + content
    record = struct.pack("<I", 3) + content + said(world, 3, b"projection", statement, forged)[-64:]
    refused(MIDDLE, "party 3 that nobody else vouches for", world.watcher.accept, pack({**proof, 3: record}))
    refused(MIDDLE, "nobody else", world.watcher.accept, pack({**proof, 3: proof[4]}))
    world.watcher.coordinator = 3  # were it the coordinator, its own word would not do
    refused(3, "party 3 that nobody else vouches for", world.watcher.accept, pack(proof))
    world.watcher.coordinator = MIDDLE
    refused(MIDDLE, "others than the survivors", world.watcher.accept, pack({k: v for k, v in proof.items() if k != 3}))
    world.watcher.accept(pack(proof))


def test_an_audit_shows_another_vector_than_was_committed() -> None:
    world = World()
    world.proof(world.opening())
    vector = world.coordinator.vectors[5].copy()
    vector[1] += 1
    refused(MIDDLE, "party 5 did not commit to", world.party[0].audit, 5, vector)
    assert len(world.party[0].audit(5, world.coordinator.vectors[5])) == PROJECTED
    refused(MIDDLE, "not due", world.party[0].audit, 17, vector)
    refused(MIDDLE, "not due", world.party[0].audit, 5, world.coordinator.vectors[5])  # again: no audits without end


def test_lists_of_more_than_all_members_are_refused_before_they_are_read() -> None:
    world = World()
    many = b"".join(struct.pack("<I", member) for member in range(1 << 20))
    refused(MIDDLE, "more records than the 6 members", unpack, MIDDLE, "", many, 0, 6)
    world.watcher.advertised(world.adverts())
    refused(MIDDLE, "more records than the 6 members", world.watcher.announced, bytes(4) + many)


# -- a member that cheats


def test_a_commitment_to_another_vector_names_the_member() -> None:
    world = World()
    shares = world.shares()
    masked, committed = world.party[1].mask(shares[1], world.vectors[1])
    masked = masked.copy()
    masked[0] += 1
    refused(1, "committed to another vector", world.coordinator.add, 1, masked, committed)
    refused(1, "another length", world.coordinator.add, 1, masked[:-1], committed)
    refused(1, "no root", world.coordinator.add, 1, masked, b"")


def test_a_false_projection_names_the_member() -> None:
    world = World()
    opening = world.opening()
    for each in (world.coordinator, *world.party.values()):
        opened(each, opening, world.coordinator.whole)
    world.party[2].masked = world.party[2].masked + np.uint32(1)
    refused(3, "nobody else vouches", world.coordinator.prove, {3: changed(world.party[3].vouch(), 9)})
    world.party[3]._done = "reveal"
    proof, _ = world.coordinator.prove({member: each.vouch() for member, each in world.party.items()})
    refused(2, "another projection than that of the vector of party 2", world.coordinator.accept, pack(proof))


def test_an_auditor_that_vouches_for_another_projection_is_named() -> None:
    world = World()
    proof = world.proof(world.opening())
    wrong = world.coordinator.vectors[5] + np.uint32(1)
    world.party[1].roots[5] = projection.root(world.round.digest + struct.pack("<I", 5), wrong)
    proof[5] = world.party[1].audit(5, wrong)
    world.coordinator.audited(1, 5, proof[5])
    refused(1, "another projection than that of the vector of party 5", world.coordinator.accept, pack(proof))


def test_a_member_that_reveals_a_wrong_share_is_found_and_left_out() -> None:
    world = World()
    certificate = world.certificate(silent=(5,))
    replies = {member: each.reveal(certificate) for member, each in world.alive().items()}
    replies[2] = replies[2][:MEMBER] + changed(replies[2][MEMBER:], 1)
    secrets = world.coordinator.open(replies)
    assert world.coordinator.liars == {2}
    assert all(world.coordinator.opens(member, secret) for member, secret in secrets.items())


def test_a_member_that_shares_another_secret_than_it_announced_is_named() -> None:
    world = World()
    world.party[3]._own = bytes(32)  # after its advert
    announced = {member: each.advertise() for member, each in world.party.items()}
    world.party[3]._own = b"\1" * 32
    adverts = world.coordinator.advertise(announced)
    shares = world.coordinator.share({member: each.share(adverts) for member, each in world.party.items()})
    for member, each in world.party.items():
        world.coordinator.add(member, *each.mask(shares[member], world.vectors[member]))
    announcement = world.coordinator.announce()
    certificate = world.coordinator.certify({member: each.confirm(announcement) for member, each in world.party.items()})
    refused(3, "another secret", world.coordinator.open, {member: each.reveal(certificate) for member, each in world.party.items()})


def test_a_key_of_small_order_names_the_member() -> None:
    world = World()
    forged = said(world, 1, b"advertise", bytes(32) + world.party[1].advertise()[32:-64])
    replies = {member: each.advertise() for member, each in world.party.items() if member != 1}
    refused(1, "every secret agrees", world.coordinator.advertise, {**replies, 1: forged})


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_a_huge_update_does_not_leave_its_member(bad: float) -> None:
    world = World()
    shares = world.shares()
    vector = world.vectors[0].copy()
    vector[9] = bad
    with pytest.raises(ValueError, match="not within"):
        world.party[0].mask(shares[0], vector)


def test_a_sum_that_honest_vectors_cannot_give_is_refused() -> None:
    world = World()
    world.announcement()
    words = np.zeros(LENGTH, np.uint32)
    words[3] = 2**31 - 100  # just below all that six could give; five cannot
    world.coordinator.survivors = (0, 1, 2, 3, 4)
    refused(MIDDLE, "more than 5 vectors", world.coordinator.decoded, words)


@pytest.mark.parametrize("step", ["advertise", "share", "confirm", "open", "prove"])
def test_messages_of_another_length_name_their_sender(step: str) -> None:
    world = World()
    if step == "advertise":
        act, count = world.coordinator.advertise, {member: each.advertise() for member, each in world.party.items()}
    elif step == "share":
        adverts = world.adverts()
        act, count = world.coordinator.share, {member: each.share(adverts) for member, each in world.party.items()}
    elif step == "confirm":
        announced = world.announcement()
        act, count = world.coordinator.certify, {member: each.confirm(announced) for member, each in world.party.items()}
    elif step == "open":
        certificate = world.certificate()
        act, count = world.coordinator.open, {member: each.reveal(certificate) for member, each in world.party.items()}
    else:
        opening = world.opening()
        for each in (world.coordinator, *world.party.values()):
            opened(each, opening, world.coordinator.whole)
        act, count = world.coordinator.prove, {member: each.vouch() for member, each in world.party.items()}
    for cut in (count[4][:-1], count[4] + b"\0", b""):
        refused(4, ".", act, {**count, 4: cut})

"""Gossip: every party ends within its stated error of the mean, in the steps that were counted, also when parties are lost."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions, send_array
from tallystick_node.engines.fl.aggregation import gossip
from unit.engines.conftest import leave

GONE = b"the link is closed"


class Mortal:
    """A channel that closes at both ends when this end has sent so many messages to all its peers together."""

    def __init__(self, inner, count, until, channels) -> None:
        self.inner, self.peer, self.count, self.until, self.channels = inner, inner.peer, count, until, channels

    def send(self, message) -> None:
        if self.count[0] >= self.until:
            for channel in self.channels.values():
                channel.inner.send(GONE)
            raise ChannelError(self.peer, "closed the link")
        self.count[0] += 1
        self.inner.send(message)

    def receive_into(self, view) -> int:
        message = self.inner.receive()
        if message == GONE:
            raise ChannelError(self.peer, "closed the link")
        view[:] = message
        return len(message)

    def mark(self, phase: str) -> None:
        self.inner.mark(phase)


def run(parties, vectors, members, seed=b"seed", error=1e-6, spare=0, ends=None) -> dict:
    """Each member's estimate; an error is returned in its place. ``ends``: after how many messages a party is gone."""
    sessions = local_sessions(parties)
    for session in sessions:
        count, until = [0], (ends or {}).get(session.index, 1 << 30)
        for peer, channel in list(session.channels.items()):
            session.channels[peer] = Mortal(channel, count, until, session.channels)

    def member(index):
        try:
            return gossip.mean(sessions[index], vectors[index], members, seed, error, spare)
        except Exception as failure:
            return failure

    with ThreadPoolExecutor(len(members)) as pool:
        return dict(zip(members, pool.map(member, members), strict=True))


def uniform(parties, length, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (parties, length))


@settings(max_examples=30, deadline=None)
@given(
    data=st.data(),
    parties=st.integers(1, 7),
    length=st.integers(0, 12),
    error=st.sampled_from([1e-1, 1e-4, 1e-9]),
    seed=st.binary(max_size=8),
)
def test_every_member_is_within_the_error_of_the_mean(data, parties, length, error, seed) -> None:
    members = sorted(data.draw(st.sets(st.integers(0, parties - 1), min_size=1)))
    vectors = uniform(parties, length, parties)
    for estimate in run(parties, vectors, members, seed, error).values():
        assert np.abs(estimate.mean - vectors[members].mean(axis=0)).max(initial=0) <= estimate.error <= error
        assert abs(sum(estimate.weights.values()) - 1) < 1e-12
        assert not estimate.lost


@pytest.mark.parametrize("count", [1, 2, 4, 8, 64])
def test_a_hypercube_is_exact_after_as_many_steps_as_it_has_dimensions(count: int) -> None:
    assert gossip.steps(range(count), b"any", 1e-12) == count.bit_length() - 1


@given(count=st.integers(1, 40), seed=st.binary(max_size=4))
def test_partners_are_matchings_of_all_but_at_most_one(count, seed) -> None:
    members = [3 * place + 1 for place in range(count)]
    for met in islice(gossip.partners(members, seed), 6):
        assert len(met) == count - count % 2
        assert all(met[other] == one != other for one, other in met.items())
        assert set(met) <= set(members)


@pytest.mark.parametrize("count", [6, 7])
def test_the_potential_shrinks_by_the_stated_share_in_expectation(count: int) -> None:
    """Over 400 seeds, the mean share of the potential that one random matching leaves, to five standard errors."""
    values, left = np.random.default_rng(1).normal(size=count), []
    before = ((values - values.mean()) ** 2).sum()
    for seed in range(400):
        met = next(gossip.partners(range(count), seed.to_bytes(2, "big")))
        after = np.array([(values[one] + values[met.get(one, one)]) / 2 for one in range(count)])
        left.append(((after - values.mean()) ** 2).sum() / before)
    stated = (count - 2) / (2 * count - 2) if count % 2 == 0 else 0.5
    assert abs(np.mean(left) - stated) < 5 * np.std(left) / 20


def test_the_steps_counted_stay_below_the_bound_for_nearly_all_seeds() -> None:
    count, error, failure = 10, 1e-5, 1e-2
    bound = np.ceil(np.log2(count * (count - 1) / (failure * error**2)))
    assert bound == 47
    counted = [gossip.steps(range(count), seed.to_bytes(2, "big"), error) for seed in range(100)]
    assert sum(each > bound for each in counted) <= 5


@settings(max_examples=25, deadline=None)
@given(parties=st.integers(3, 8), dead=st.integers(0, 7), until=st.integers(0, 6), seed=st.binary(max_size=4))
def test_the_others_go_on_without_a_lost_party_and_know_how_far_they_are_off(parties, dead, until, seed) -> None:
    dead %= parties
    vectors, members = uniform(parties, 9, 3), range(parties)
    found = run(parties, vectors, members, seed, 1e-6, 20, {dead: until})
    due = vectors.mean(axis=0)
    for member in set(members) - {dead}:
        estimate = found[member]
        weighted = sum(weight * vectors[each] for each, weight in estimate.weights.items())
        assert np.abs(estimate.mean - weighted).max() < 1e-12
        assert np.abs(estimate.mean - due).max() <= estimate.error <= 2
        assert set(estimate.lost) <= {dead}


@pytest.mark.parametrize("parties", [7, 8])
def test_the_others_agree_with_one_another_after_spare_steps(parties: int) -> None:
    """A party that is lost before it said anything does not count; the others hold one weighted mean of their own vectors."""
    vectors = uniform(parties, 9, 3)
    found = run(parties, vectors, range(parties), error=1e-3, spare=100, ends={2: 0})
    others = [found[member] for member in range(parties) if member != 2]
    assert all(np.abs(each.mean - others[0].mean).max() < 1e-6 for each in others)
    assert all(each.weights[2] == 0 for each in others)
    assert others[0].error > 1e-3


@pytest.mark.parametrize(
    "message",
    [
        [np.nan, 0.0, 0.5],
        [0.6, 0.0, 0.5],
        [0.1, 0.0, 0.6],
        [0.1, -0.1, 0.5],
        [0.0, 0.0, 0.0],
        [0.0, 0.0, np.inf],
    ],
)
def test_what_is_no_half_of_a_weighted_mean_names_its_sender(message) -> None:
    one, two = local_sessions(2)
    send_array(two, 0, np.array(message))
    with pytest.raises(ProtocolViolation, match="party 1: gossip: sent what is no half of a weighted mean"):
        gossip.mean(one, np.array([0.5]), [0, 1], b"", 1e-3)


def test_a_message_of_the_wrong_length_names_its_sender() -> None:
    one, two = local_sessions(2)
    send_array(two, 0, np.zeros(4))
    with pytest.raises(ProtocolViolation, match="party 1: gossip: sent 32 bytes where 24 were due"):
        gossip.mean(one, np.array([0.5]), [0, 1], b"", 1e-3)


def test_what_a_party_may_not_ask_for() -> None:
    session = local_sessions(3)[0]
    with pytest.raises(ValueError, match="members gossip, and"):
        gossip.mean(session, np.zeros(1), [1, 2], b"", 1e-3)
    with pytest.raises(ValueError, match="to an error from"):
        gossip.mean(session, np.zeros(1), [0, 1], b"", 1e-15)
    with pytest.raises(ValueError, match=r"within \[-1, 1\]"):
        gossip.mean(session, np.array([2.0]), [0, 1], b"", 1e-3)
    with pytest.raises(ValueError, match="not negative"):
        gossip.mean(session, np.zeros(1), [0, 1], b"", 1e-3, -1)


def summed(parties, members, vectors, error, part=None, rounds=1):
    """What each party's sums are, an error in its place; ``part(session)`` is what party 2 does instead."""

    def one(session):
        try:
            if part is not None and session.index == 2:
                return part(session)
            scheme = gossip.GossipSum(error)
            return [scheme.total(session, vectors[session.index], members, round_) for round_ in range(rounds)]
        except Exception as failure:
            return failure
        finally:
            leave(session)

    with ThreadPoolExecutor(parties) as pool:
        return list(pool.map(one, local_sessions(parties)))


@pytest.mark.parametrize("members", [[0, 1, 2], [0, 1, 2, 3], [1, 3]])
def test_a_gossiped_sum_is_the_same_to_the_bit_at_every_party(members) -> None:
    vectors = uniform(5, 20)
    found = summed(5, members, vectors, 1e-6, rounds=3)
    for round_ in range(3):
        assert all((each[round_] == found[0][round_]).all() for each in found)
        assert np.abs(found[0][round_] - vectors[members].sum(axis=0)).max() <= len(members) * 1e-6


@pytest.mark.parametrize(
    ("told", "rule"), [(0.5, "not within 2e-06 of the one that it gossiped"), (np.nan, "not finite"), (1.5, "not within")]
)
def test_who_settles_on_another_mean_is_named(told, rule) -> None:
    def part(session):
        """Party 2 settles round 2."""
        seed = [gossip.GossipSum(1e-6).total(session, np.zeros(3), [0, 1, 2], round_) for round_ in range(2)]
        assert len(seed) == 2
        key = hashlib.sha256(gossip._ROUND + hashlib.sha256(b"").digest() + (2).to_bytes(8, "little")).digest()
        gossip.mean(session, np.zeros(3), [0, 1, 2], key, 1e-6)
        for peer in (0, 1):
            send_array(session, peer, np.full(3, told))

    for fault in summed(3, [0, 1, 2], np.zeros((3, 3)), 1e-6, part, rounds=3)[:2]:
        assert isinstance(fault, ProtocolViolation) and fault.peer == 2 and rule in str(fault), fault


def test_a_lost_member_ends_the_round() -> None:
    found = summed(3, [0, 1, 2], np.zeros((3, 3)), 1e-6, lambda session: None)
    assert all(isinstance(each, ChannelError) and not isinstance(each, ProtocolViolation) for each in found[:2])
    for error in (0.0, 2.0, 1e-15):
        with pytest.raises(ValueError, match="an error from"):
            gossip.GossipSum(error)

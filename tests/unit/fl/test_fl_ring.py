"""The ring sum: the plain sum to the quantisation error, the same bits at every party, and nothing but masked words on the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.fl.aggregation import masks, quantisation, ring
from tallystick_node.engines.fl.aggregation.base import Disagreement
from tallystick_node.engines.fl.aggregation.plain import PlainSum
from tallystick_node.engines.fl.aggregation.ring import SHORT, RingSum
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Instructions
from tallystick_node.engines.fl.learners.linear import LogisticRegression
from tallystick_node.engines.fl.partition import iid
from tallystick_node.engines.fl.schedule import Schedule
from tallystick_node.engines.fl.strategies import FedAvg
from unit.engines.conftest import leave
from unit.fl.fl_world import across, clients, small

SIGMAS = 7  # standard deviations of a mean of fair bits: a true one is farther off with a probability of 3e-12


class Tapped:
    """A channel that keeps what this end receives, and can change what it sends."""

    def __init__(self, inner, change=None) -> None:
        self.inner, self.peer, self.change, self.heard, self.sent = inner, inner.peer, change, [], 0

    def send(self, message) -> None:
        message = bytes(message)
        self.inner.send(self.change(self.sent, message) if self.change else message)
        self.sent += 1

    def receive(self) -> bytes:
        self.heard.append(self.inner.receive())
        return self.heard[-1]

    def receive_into(self, view) -> int:
        size = self.inner.receive_into(view)
        self.heard.append(bytes(view))
        return size

    def mark(self, phase: str) -> None:
        self.inner.mark(phase)


def tap(sessions, change=None, by=None) -> None:
    for session in sessions:
        for peer, channel in session.channels.items():
            session.channels[peer] = Tapped(channel, change if session.index == by else None)


def run(sessions, vectors, members, rounds=(0,), sums=None) -> list:
    """What each party gets in the last round; an error is returned in its place."""
    sums = sums or [RingSum() for _ in sessions]

    def party(session):
        try:
            return [sums[session.index].total(session, vectors[session.index], members, number) for number in rounds][-1]
        except Exception as error:
            leave(session)
            return error

    with ThreadPoolExecutor(len(sessions)) as pool:
        return list(pool.map(party, sessions))


def uniform(parties, length, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (parties, length))


def short_for(length: int, direct: bool) -> int:
    """The bound under which a vector of this length takes one way or the other."""
    return length + 1 if direct else 0


@settings(max_examples=40, deadline=None)
@given(data=st.data(), parties=st.integers(2, 6), length=st.integers(0, 40), direct=st.booleans(), number=st.integers(0, 9))
def test_every_party_gets_the_plain_sum_to_the_quantisation_error(data, parties, length, direct, number) -> None:
    members = sorted(data.draw(st.sets(st.integers(0, parties - 1), min_size=2)))
    vectors = uniform(parties, length, number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring, "SHORT", short_for(length, direct))
        found = run(local_sessions(parties), vectors, members, [number])
    with ThreadPoolExecutor(parties) as pool:
        plain = list(pool.map(lambda s: PlainSum().total(s, vectors[s.index], members, 0), local_sessions(parties)))
    assert all(np.array_equal(each, found[0]) for each in found)
    assert found[0].shape == (length,)
    assert length == 0 or np.abs(found[0] - plain[0]).max() <= quantisation.error(len(members)) + 1e-15


def test_extremes_do_not_wrap_around() -> None:
    vectors = np.repeat([[1.0, -1.0]], 5, axis=0)
    assert np.allclose(run(local_sessions(5), vectors, range(5))[0], [5, -5], atol=1e-7)


@pytest.mark.parametrize("outsiders", [0, 2])
def test_a_member_sends_twice_the_vector_less_two_pieces(outsiders: int) -> None:
    members, length = 4, SHORT + 3  # with the check word a multiple of 4
    sessions = local_sessions(members + outsiders)
    run(sessions, uniform(members + outsiders, length), range(members))
    piece = 4 * (length + 1) // members
    for session in sessions:
        sent = session.meter.steps["ring sum/exchange"]
        assert sent.bytes == ((2 * (members - 1) + outsiders) * piece if session.index < members else 0)
        assert session.meter.steps["ring sum/keys"].bytes == 32 * (len(sessions) - 1)


@pytest.mark.parametrize("direct", [False, True])
def test_neighbours_see_uniform_words_that_change_from_round_to_round(direct: bool, monkeypatch) -> None:
    """The same vectors of zeros in two rounds: all bits that a neighbour sees are as good as coin flips, and the rounds' differ."""
    length = 3000
    monkeypatch.setattr(ring, "SHORT", short_for(length, direct))
    sessions = local_sessions(3)
    tap(sessions)
    run(sessions, np.zeros((3, length)), [0, 1, 2], [0, 1])
    heard = [message for message in sessions[1].channels[0].heard if len(message) > masks.KEY]
    first = heard[0]  # the vector, or a piece, of party 0 alone
    again = heard[len(heard) // 2]
    bits = np.unpackbits(np.frombuffer(first, np.uint8))
    assert abs(bits.mean() - 0.5) < SIGMAS / (2 * len(bits) ** 0.5)
    differing = np.unpackbits(np.frombuffer(first, np.uint8) ^ np.frombuffer(again, np.uint8))
    assert abs(differing.mean() - 0.5) < SIGMAS / (2 * len(differing) ** 0.5)


def test_all_but_two_members_together_cannot_take_the_masks_off_the_others(monkeypatch) -> None:
    """Both neighbours of member 0 and one more collude; member 0 has an honest fellow, member 2. They take off every mask that they
    know of what member 0 sent them, and hold uniform words; the masks of members 0 and 2 taken off as well, zeros."""
    length = 3000
    monkeypatch.setattr(ring, "SHORT", length + 1)
    sessions, sums, used = local_sessions(5), [RingSum() for _ in range(5)], {}
    derive = masks.pair_seed

    def watched(secret, public, digest, mine, other) -> bytes:
        used[mine, other] = derive(secret, public, digest, mine, other)
        return used[mine, other]

    monkeypatch.setattr(masks, "pair_seed", watched)
    tap(sessions)
    run(sessions, np.zeros((5, length)), range(5), sums=sums)
    sent = np.frombuffer(sessions[1].channels[0].heard[-1], np.uint32).copy()
    masks.add(sent, [(used[colluding, 0], True) for colluding in (1, 3, 4)])
    bits = np.unpackbits(sent.view(np.uint8))
    assert abs(bits.mean() - 0.5) < SIGMAS / (2 * len(bits) ** 0.5)
    masks.add(sent, [(used[2, 0], True)])
    assert not sent.any()


@pytest.mark.parametrize("direct", [False, True])
def test_a_message_of_the_wrong_length_names_its_sender(direct: bool, monkeypatch) -> None:
    monkeypatch.setattr(ring, "SHORT", short_for(50, direct))
    sessions = local_sessions(3)
    tap(sessions, lambda number, message: message[:-4] if number == 1 else message, by=1)
    found = run(sessions, uniform(3, 50), [0, 1, 2])
    assert isinstance(found[2], ProtocolViolation)
    assert found[2].peer == 1
    assert "bytes where" in found[2].rule


@pytest.mark.parametrize(
    ("key", "rule"), [(bytes(32), "a key of small order"), (bytes(31), "31 bytes where 32"), (b"", "0 bytes where 32")]
)
def test_a_key_that_is_none_names_its_sender(key, rule) -> None:
    sessions = local_sessions(2)
    tap(sessions, lambda number, message: key if number == 0 else message, by=1)
    found = run(sessions, uniform(2, 5), [0, 1])
    assert isinstance(found[0], ProtocolViolation)
    assert found[0].peer == 1
    assert rule in found[0].rule


def test_masks_that_do_not_cancel_are_no_sum() -> None:
    """One party believes that it is in another task; or changes the check word."""
    sessions = [replace(session, context=b"other" if session.index == 2 else b"") for session in local_sessions(3)]
    found = run(sessions, uniform(3, 10), [0, 1, 2])
    assert all(isinstance(each, Disagreement) and "masks" in str(each) for each in found)
    sessions = local_sessions(3)
    tap(sessions, lambda number, message: message[:-1] + bytes([message[-1] ^ 1]) if number == 1 else message, by=0)
    assert isinstance(run(sessions, uniform(3, 10), [0, 1, 2])[1], Disagreement)


def test_a_sum_that_no_members_can_give_is_refused() -> None:
    limit = np.array([((1 << 31) - 1) // 3 * 3 + 1, 0], np.uint32)
    with pytest.raises(Disagreement, match="more than 3 vectors"):
        ring._decoded(limit, 3)


def test_a_silent_member_ends_the_round() -> None:
    sessions = local_sessions(3)
    leave(sessions[2])
    found = run(sessions[:2], uniform(3, 10), [0, 1, 2])
    assert all(isinstance(each, ChannelError) and each.peer == 2 for each in found)


def test_what_a_party_may_not_do() -> None:
    session = local_sessions(2)[0]
    with pytest.raises(ValueError, match="two or more members"):
        RingSum().total(session, np.zeros(3), [0], 0)
    with pytest.raises(ValueError, match=r"within \[-1, 1\]"):
        RingSum().total(session, np.array([1.5]), [0, 1], 0)
    sessions, sums = local_sessions(2), [RingSum(), RingSum()]
    run(sessions, uniform(2, 5), [0, 1], [4], sums)
    with pytest.raises(ValueError, match="above those of the rounds before"):
        sums[0].total(sessions[0], np.zeros(5), [0, 1], 4)
    with pytest.raises(ValueError, match="stays with one session"):
        sums[0].total(local_sessions(2)[0], np.zeros(5), [0, 1], 5)


def test_a_federation_trains_around_a_ring_as_with_a_plain_sum() -> None:
    rows = small(90)
    federation = Federation(
        LogisticRegression(4, 3), FedAvg(), Schedule(4, 64, Instructions(epochs=1, batch=None, rate=0.5), cohort=2), public=rows
    )
    parts = iid(len(rows), 3, 0)
    masked, plain = across(federation, clients(rows, parts), RingSum), across(federation, clients(rows, parts))
    assert len({outcome.digest for outcome in masked}) == 1
    for name, array in plain[0].parameters.items():
        assert np.abs(array - masked[0].parameters[name]).max() < 1e-4

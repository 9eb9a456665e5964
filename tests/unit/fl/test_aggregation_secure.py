"""The secure sum over sessions: what parties get, when members drop out, and when what passes is changed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.fl.aggregation import quantisation
from tallystick_node.engines.fl.aggregation.messages import TooFewLeft
from tallystick_node.engines.fl.aggregation.secure import SecureSum
from unit.engines.conftest import leave

LENGTH = 33
COORDINATOR = 0


class Link:
    """A channel on which, from a message number on, the party at this end is gone; or one message that it sends is changed."""

    def __init__(self, inner, *, until: int = 1 << 30, change=None) -> None:
        self.inner, self.peer, self.until, self.change, self.sent = inner, inner.peer, until, change, 0

    def send(self, message) -> None:
        if self.sent >= self.until:
            self.inner.close()
            raise ChannelError(self.peer, "closed the link")
        message = bytes(message)
        self.inner.send(self.change(self.sent, message) if self.change else message)
        self.sent += 1

    def receive(self) -> bytes:
        return self.inner.receive()

    def receive_into(self, view) -> int:
        return self.inner.receive_into(view)

    def mark(self, phase: str) -> None:
        self.inner.mark(phase)


def vectors(parties: int) -> np.ndarray:
    return np.random.default_rng(8).uniform(-1, 1, (parties, LENGTH))


def run(parties: int, *, members=None, rounds: int = 1, links=None, verified: bool = True, dropped: float = 0.2):
    """What each party gets in the last round, or the exception that it ends with; and its secure sum."""
    sessions = local_sessions(parties)
    for index, peer, link in links or ():
        channels = sessions[index].channels
        channels[peer] = link(channels[peer])
    taking, given = members or list(range(parties)), vectors(parties)
    sums = [SecureSum(dropped=dropped, verified=verified) for _ in sessions]

    def one(session):
        try:
            for number in range(rounds):
                found = sums[session.index].total(session, given[session.index], taking, number)
            return found
        except Exception as error:
            return error
        finally:
            leave(session)

    with ThreadPoolExecutor(parties) as pool:
        return list(pool.map(one, sessions)), sums


@pytest.mark.parametrize("verified", [False, True])
def test_members_and_others_get_the_same_sum_whoever_coordinates(verified: bool) -> None:
    found, sums = run(5, members=[0, 2, 4], rounds=3, verified=verified)
    assert all(np.array_equal(each, found[0]) for each in found)
    assert np.abs(found[0] - vectors(5)[[0, 2, 4]].sum(axis=0)).max() <= quantisation.error(3)
    assert all(each.survivors == (0, 2, 4) for each in sums)


@pytest.mark.parametrize(("until", "counted"), [(1, False), (2, False), (3, False), (4, False), (5, True), (6, True), (7, True)])
def test_a_member_whose_link_breaks_drops_out(until: int, counted: bool) -> None:
    """``until`` messages of party 4 to the coordinator: key, advert, shares, root, vector, confirmation, reveal, projection."""
    found, sums = run(6, links=[(4, COORDINATOR, lambda inner: Link(inner, until=until))])
    staying = [0, 1, 2, 3, 5]
    due = vectors(6)[range(6) if counted else staying].sum(axis=0)
    assert isinstance(found[4], ChannelError)
    assert all(np.abs(found[party] - due).max() <= quantisation.error(6) for party in staying)
    assert all(np.array_equal(found[party], found[0]) for party in staying)
    assert sums[1].survivors == (tuple(range(6)) if counted else tuple(staying))


def test_more_than_may_drop_out_end_the_round_of_their_coordinator() -> None:
    links = [(party, COORDINATOR, lambda inner: Link(inner, until=3)) for party in (2, 3)]
    found, _ = run(6, links=links)
    assert isinstance(found[0], TooFewLeft)
    assert found[0].lost == (2, 3)


@pytest.mark.parametrize(("number", "rule"), [(4, "did not announce"), (5, "with this aggregate"), (6, "with this aggregate")])
def test_a_coordinator_that_changes_the_sum_for_one_party_is_named_by_it(number: int, rule: str) -> None:
    """Messages of the coordinator to a party that is no member: key, adverts, survivors, confirmations, secrets, sum, carries."""

    def change(sent: int, message: bytes) -> bytes:
        return message[:7] + bytes([message[7] ^ 1]) + message[8:] if sent == number else message

    found, _ = run(4, members=[0, 1, 2], links=[(COORDINATOR, 3, lambda inner: Link(inner, change=change))])
    assert isinstance(found[3], ProtocolViolation)
    assert found[3].peer == COORDINATOR
    assert rule in str(found[3])
    assert isinstance(found[1], np.ndarray)


def test_a_member_that_breaks_a_rule_is_named() -> None:
    def change(sent: int, message: bytes) -> bytes:
        return message[:-1] if sent == 1 else message

    found, _ = run(4, links=[(2, COORDINATOR, lambda inner: Link(inner, change=change))])
    assert isinstance(found[0], ProtocolViolation)
    assert found[0].peer == 2


def test_a_vector_that_breaks_the_rule_goes_nowhere() -> None:
    session = local_sessions(3)[0]
    for bad in (np.nan, 2.0):
        with pytest.raises(ValueError, match="within"):
            SecureSum().total(session, np.array([bad]), [0, 1, 2], 0)


def test_a_round_number_is_used_once() -> None:
    sessions, given, sums = local_sessions(2), vectors(2), [SecureSum(), SecureSum()]

    def one(session):
        sums[session.index].total(session, given[session.index], [0, 1], 3)
        with pytest.raises(ValueError, match="above"):
            sums[session.index].total(session, given[session.index], [0, 1], 3)
        with pytest.raises(ValueError, match="one session"):
            sums[session.index].total(local_sessions(2)[session.index], given[session.index], [0, 1], 4)
        return True

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, sessions)) == [True, True]


def test_shares_of_members_that_no_round_tolerates_are_refused() -> None:
    for wrong in ({"dropped": 0.5}, {"dropped": -0.1}, {"corrupted": 1.0}):
        with pytest.raises(ValueError):
            SecureSum(**wrong)
    with pytest.raises(ValueError, match="fewer than all"):
        SecureSum(dropped=0.4, corrupted=0.5).plan(10)
    for exposed in (SecureSum(dropped=0.4), SecureSum(dropped=0, corrupted=0.1)):  # the coordinator is a member itself
        with pytest.raises(ValueError, match="the coordinator alone"):
            exposed.plan(5)
    assert SecureSum(dropped=1 / 3).plan(30).corrupted == 9
    assert SecureSum(dropped=1 / 3).security(30).corruptions == 9


def test_where_nobody_may_drop_out_a_member_that_trains_longer_is_waited_for() -> None:
    """Party 2 says nothing until the others wait for it with patience, not until the deadline of a channel: both before the keys
    are told, and the coordinator before the second round."""
    sessions, given = local_sessions(3, seconds=60.0), vectors(3)
    turn, asked, ended = threading.Condition(), [0, 0, 0], [False]

    def one(session):
        def patience(peer: int) -> None:
            with turn:
                asked[session.index] += peer == 2
                turn.notify_all()
            for _ in range(10_000):
                if not session.channels[peer]._into.empty():
                    return
                time.sleep(0.01)
            raise ChannelError(peer, "never sent anything")

        aggregation, waiting = SecureSum(dropped=0), replace(session, patience=patience)
        try:
            for number in range(2):
                if session.index == 2:
                    with turn:
                        turn.wait_for(lambda: ended[0] or (asked[0] > 0 and asked[1] > number))  # noqa: B023 - called here
                found = aggregation.total(waiting, given[session.index], [0, 1, 2], number)
        finally:
            with turn:
                ended[0] = True
                turn.notify_all()
        assert asked[0] > 0 and asked[1] > 1
        return found

    with ThreadPoolExecutor(3) as pool:
        sums = list(pool.map(one, sessions))
    assert all(np.abs(each - given.sum(axis=0)).max() <= quantisation.error(3) for each in sums)

"""A coordinator that dies is replaced within the round, unless the round's sum could be known: then the round fails."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from tallystick_node.engines.channel import ChannelError, local_sessions
from tallystick_node.engines.fl.aggregation import quantisation
from tallystick_node.engines.fl.aggregation.base import coordinators
from tallystick_node.engines.fl.aggregation.secure import SecureSum
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Instructions
from tallystick_node.engines.fl.learners.linear import LogisticRegression
from tallystick_node.engines.fl.network import Network
from tallystick_node.engines.fl.partition import iid
from tallystick_node.engines.fl.schedule import Schedule
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.engines.fl.strategies import Scaffold
from unit.fl.fl_world import clients, small

PARTIES = 6
LENGTH = 17


class Killed(Exception):
    """This party died."""


class World:
    """Sessions whose links break at once when a party dies: after so many messages that it sent in a phase."""

    def __init__(self, victim: int, phase: str, messages: int, time: int = 1) -> None:
        self.victim, self.phase, self.messages, self.time = victim, phase, messages, time
        self.dead: set[int] = set()
        self.marked: list[str] = []
        self.lock = threading.Lock()
        self.sessions = local_sessions(PARTIES)
        for session in self.sessions:
            for peer, channel in session.channels.items():
                session.channels[peer] = Mortal(self, session.index, channel)

    def sends(self, party: int, phase: str) -> None:
        with self.lock:
            if party in self.dead:
                raise Killed
            if (
                party == self.victim
                and phase == f"secure sum/{self.phase}"
                and self.marked.count(phase) // (PARTIES - 1) == self.time
            ):
                if not self.messages:
                    self.dead.add(party)
                    raise Killed
                self.messages -= 1


class Mortal:
    """One end of a link of a party that may die."""

    def __init__(self, world: World, me: int, inner) -> None:
        self.world, self.me, self.inner, self.peer, self.phases = world, me, inner, inner.peer, []

    def send(self, message) -> None:
        self.world.sends(self.me, self.phases[-1] if self.phases else "")
        if self.peer in self.world.dead:
            raise ChannelError(self.peer, "closed the link")
        self.inner.send(message)

    def receive(self) -> bytes:
        while True:
            try:
                return self.inner._into.get(timeout=0.05)
            except queue.Empty:
                if self.me in self.world.dead:
                    raise Killed from None
                if self.peer in self.world.dead and self.inner._into.empty():
                    raise ChannelError(self.peer, "closed the link") from None

    def receive_into(self, view) -> int:
        message = self.receive()
        view[:] = message
        return len(message)

    def mark(self, phase: str) -> None:
        self.phases.append(phase)
        if self.me == self.world.victim:
            self.world.marked.append(phase)


VECTORS = np.random.default_rng(4).uniform(-1, 1, (PARTIES, LENGTH))


def rounds(world: World, count: int, verified: bool = True):
    """What each party gets in each round, or ends with; and who coordinated."""
    sums = [SecureSum(dropped=1 / 3, verified=verified) for _ in world.sessions]
    found: list[list] = [[] for _ in world.sessions]

    def one(session):
        try:
            for number in range(count):
                total = sums[session.index].total(session, VECTORS[session.index], range(PARTIES), number)
                found[session.index].append((total, sums[session.index].coordinator, sums[session.index].survivors))
        except Exception as error:
            if session.index != world.victim:  # who fails ends, and its links with it
                world.dead.add(session.index)
            found[session.index].append(error)

    with ThreadPoolExecutor(PARTIES) as pool:
        list(pool.map(one, world.sessions))
    return found


@pytest.mark.parametrize(
    ("phase", "messages"), [("advertise", 0), ("advertise", 3), ("share", 0), ("share", 3), ("confirm", 0)], ids=str
)
@pytest.mark.parametrize("verified", [True, False])
def test_another_takes_over_from_a_coordinator_that_dies(phase: str, messages: int, verified: bool) -> None:
    """In round 1, whose coordinator is party 1; the others get the sum of theirs, then and in the rounds after it."""
    found = rounds(World(1, phase, messages, time=2), 3, verified)
    staying = [0, 2, 3, 4, 5]
    assert isinstance(found[1][-1], Killed)
    for number, coordinator in ((0, 0), (1, 2), (2, 2)):
        due = VECTORS[staying if number else range(PARTIES)].sum(axis=0)
        for party in staying:
            total, by, survivors = found[party][number]
            assert by == coordinator
            assert survivors == (tuple(staying) if number else tuple(range(PARTIES)))
            assert np.abs(total - due).max() <= quantisation.error(PARTIES)
            assert np.array_equal(total, found[0][number][0])


def test_both_ends_of_every_link_mark_the_same_phases_however_far_they_came() -> None:
    world = World(1, "share", 3, time=2)
    rounds(world, 3)
    for one in (0, 2, 3, 4, 5):
        for two in (0, 2, 3, 4, 5):
            if one != two:
                assert world.sessions[one].channels[two].phases == world.sessions[two].channels[one].phases


def test_a_second_coordinator_may_die_too_but_no_more_than_may_drop_out() -> None:
    world = World(1, "share", 0, time=2)
    world.dead.add(2)  # it dies before it has begun
    world.sessions = [session for session in world.sessions if session.index != 2]
    found = rounds_without(world)
    assert {by for _, by, _ in found} == {3}
    assert all(np.abs(total - VECTORS[[0, 3, 4, 5]].sum(axis=0)).max() <= quantisation.error(PARTIES) for total, _, _ in found)


def rounds_without(world: World):
    """Round 1 among those who are left, of whom party 1 dies."""
    ended = []

    def one(session):
        aggregation = SecureSum(dropped=1 / 3)
        try:
            total = aggregation.total(session, VECTORS[session.index], range(PARTIES), 1)
            ended.append((total, aggregation.coordinator, aggregation.survivors))
        except Killed:
            pass

    world.time = 1
    with ThreadPoolExecutor(PARTIES) as pool:
        list(pool.map(one, world.sessions))
    return ended


@pytest.mark.parametrize(
    ("phase", "messages"), [("confirm", 3), ("confirm", 5), ("confirm", 7), ("unmask", 0), ("unmask", 4)], ids=str
)
def test_a_round_whose_sum_may_be_known_is_never_added_up_anew(phase: str, messages: int) -> None:
    """After members confirmed who survived, whoever seems dead may have the sum: a second one, over others, would show the
    difference, one member's vector. Nobody gets one."""
    found = rounds(World(0, phase, messages), 1)
    assert all(isinstance(found[party][0], ChannelError | Killed) for party in range(PARTIES))


def test_the_order_of_coordinators_follows_the_beacon_and_not_the_members() -> None:
    session = local_sessions(8)[3]
    members = [0, 2, 3, 5, 7]
    assert coordinators(session, members, 7) == [3, 5, 7, 0, 2]
    drawn = {tuple(coordinators(replace(session, beacon=bytes([each])), members, 0)) for each in range(1, 60)}
    assert len(drawn) > 30 and {order[0] for order in drawn} == set(members)
    at = replace(session, beacon=b"block", context=b"task")
    order = coordinators(at, members, 0)
    assert order == coordinators(replace(local_sessions(8)[6], beacon=b"block", context=b"task"), members, 0)
    assert coordinators(at, members, 2) == order[2:] + order[:2]
    assert order != coordinators(replace(at, context=b"another"), members, 0) or order != coordinators(
        replace(at, context=b"a third"), members, 0
    )


def test_a_training_whose_coordinator_is_killed_ends_with_the_model_of_one_that_it_left() -> None:
    """Party 2 dies as coordinator of round 2 of 5. The model is, to the bit, that of a simulation in which client 2 says nothing
    from round 2 on."""
    rows = small(90)
    schedule = Schedule(5, 64, Instructions(epochs=2, batch=8, rate=0.1), seed=7)
    federation = Federation(LogisticRegression(4, 3), Scaffold(), schedule)
    people = lambda: clients(rows, iid(90, PARTIES, 0))  # noqa: E731
    world = World(2, "share", 2, time=3)

    def party(session):
        try:
            carrier = Network(session, range(PARTIES), people()[session.index], SecureSum(dropped=1 / 3))
            return federation.run(carrier)
        except Killed:
            return None

    with ThreadPoolExecutor(PARTIES) as pool:
        ended = list(pool.map(party, world.sessions))

    class Left(Simulation):
        def total(self, say, length, members, round):  # noqa: A002
            words = np.zeros(length, np.uint32)
            for member in members:
                if member != 2 or round < 2:
                    quantisation.add(words, quantisation.encode(say(self._clients[member]), PARTIES), PARTIES)
            return quantisation.decode(words, PARTIES, PARTIES)

    due = federation.run(Left(people()))
    assert ended[2] is None
    assert {each.digest for each in ended if each} == {due.digest}
    assert all(each.silent == (2,) and each.history == due.history for each in ended if each)

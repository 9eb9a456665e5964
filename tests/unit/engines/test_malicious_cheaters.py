"""One party deviates, in every message of every method: nobody accepts a wrong result, and somebody says what was wrong.

Each case runs once and notes what passes on every link. Then each message is changed in turn: its sender is the one that deviates.
"""

from __future__ import annotations

import queue
from collections import defaultdict

import numpy as np
import pytest
from tallystick_node.engines.channel import ChannelError, Meter, ProtocolViolation, Session
from tallystick_node.engines.mpc.malicious import MaliciousReplicated, bits, products
from tallystick_node.engines.mpc.malicious.agreement import COIN, _hash
from tallystick_node.engines.mpc.protocol import Binary, Shares
from tallystick_node.engines.mpc.ring import MAGNITUDE
from unit.engines.conftest import run_parties

X = np.array([3, 2**64 - 5, MAGNITUDE - 1, 1 << 40], np.uint64)
Y = np.array([7, 11, 2**64 - 1, 5], np.uint64)
ANGLES = np.resize(np.array([-9 << 18, -1 << 17, 3 << 18], np.int64), 64).view(np.uint64)


class Link:
    """One end of a link that closes when the other party gives up; ``tamper(number, message)`` changes what passes."""

    def __init__(self, peer, out, into, log, tamper=lambda _number, message: message) -> None:
        self.peer, self._out, self._into, self.log, self.tamper, self.step = peer, out, into, log, tamper, ""

    def send(self, message) -> None:
        message = bytes(message)
        self.log.append((self.step, message))
        self._out.put(self.tamper(len(self.log) - 1, message))

    def receive(self) -> bytes:
        message = self._into.get(timeout=240)
        if message is None:
            raise ChannelError(self.peer, "closed")
        return message

    def receive_into(self, view) -> int:
        message = self.receive()
        if len(message) == len(view):
            view[:] = message
        return len(message)

    def mark(self, phase: str) -> None:
        self.step = phase

    def close(self) -> None:
        self._out.put(None)


def run(engine, sender=None, receiver=None, tamper=None):
    """Each party's answer or exception, and what passed on each link."""
    queues = {(i, j): queue.SimpleQueue() for i in range(3) for j in range(3) if i != j}
    logs = {link: [] for link in queues}
    sessions = []
    for i in range(3):
        links = {j: Link(j, queues[i, j], queues[j, i], logs[i, j]) for j in range(3) if j != i}
        if sender == i:
            links[receiver].tamper = tamper
        sessions.append(Session(i, links, meter=Meter()))

    def one(session):
        try:
            return engine(MaliciousReplicated(session))
        finally:
            for link in session.channels.values():
                link.close()

    return run_parties(sessions, one), logs


def mine(protocol, owner, values):
    return protocol.share(owner, values.shape, values if protocol.index == owner else None)


def shown(protocol, *secrets):
    return [(protocol.reveal if hasattr(each, "scaled") else protocol.reveal_binary)(each) for each in secrets]


def inputs(protocol):
    return shown(protocol, mine(protocol, 0, X), mine(protocol, 1, Y))


def outside(protocol):
    return [protocol.reveal(Shares(protocol.disclose(protocol.accept(SPLIT[protocol.index]))))]


def multiply(protocol):
    return shown(protocol, protocol.multiply(mine(protocol, 0, X), mine(protocol, 1, Y)))


def matmul(protocol):
    x, y = mine(protocol, 0, np.resize(X, (50, 2))), mine(protocol, 2, np.resize(Y, (2, 3)))
    turned = protocol.matmul(y.map(np.transpose), x.map(np.transpose))
    return shown(protocol, protocol.matmul(x, y), turned, protocol.matmul(x, y + y))  # x is projected once


def truncate(protocol):
    return [protocol.reveal(protocol.truncate(mine(protocol, 2, X), 18)).view(np.int64) - (X.view(np.int64) >> 18)]


def negative(protocol):
    return shown(protocol, protocol.negative(mine(protocol, 0, X)))


def interval(protocol):
    """What is new in a sigmoid: the rest is made of the other cases."""
    secret = mine(protocol, 1, ANGLES)
    protocol._seat.enter("interval")
    return shown(protocol, *(Binary(pair) for pair in protocol._conversions.interval(secret.parts, 21)))


def conjunction(protocol):
    words = protocol.public_binary(X, 64)
    return shown(protocol, protocol.and_(words, words), protocol.and_(words.bit(1), words.bit(0)))


def arithmetic(protocol):
    return shown(protocol, protocol.to_arithmetic(protocol.public_binary(X & np.uint64(1), 1)))


def decompose(protocol):
    return shown(protocol, protocol.decompose(mine(protocol, 0, X)))


def compose(protocol):
    return shown(protocol, protocol.compose(protocol.public_binary(X, 64)))


def shuffle(protocol):
    return [np.sort(protocol.reveal(protocol.shuffle([mine(protocol, 0, X)])[0]))]


def random(protocol):
    opened = protocol.reveal(protocol.random((3,)))
    return [opened[:0]]


SPLIT = MaliciousReplicated.split(X, 3)
WIDE = {"multiply", "verify matrices", "shuffle"}  # steps with messages modulo 2^112 and 2^128
CASES = [inputs, outside, multiply, matmul, truncate, negative, interval, conjunction, arithmetic, decompose, compose, shuffle]
CASES.append(random)


def right(case, party, answer) -> bool:
    """Whether a party that ended without an error has what an honest run gives."""
    if case is truncate:
        return set(answer[0].tolist()) <= {-1, 0, 1}
    return all((found == wanted).all() for found, wanted in zip(answer, HONEST[case][0][party], strict=True))


@pytest.fixture(scope="module", autouse=True)
def few_bits():
    """Batches of random bits short enough for thousands of runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bits, "LEAST", 8)
        for case in CASES:
            HONEST[case] = run(case)
            for answer in HONEST[case][0]:
                if isinstance(answer, Exception):
                    raise answer
        yield


HONEST: dict = {}


def judge(case, sender, receiver, tamper) -> list[ProtocolViolation]:
    """What the honest parties say; no result of theirs is wrong."""
    answers, _ = run(case, sender, receiver, tamper)
    said = []
    for party, answer in enumerate(answers):
        if party == sender:
            continue
        if isinstance(answer, ProtocolViolation):
            said.append(answer)
        elif not isinstance(answer, ChannelError):
            assert not isinstance(answer, Exception), answer
            assert right(case, party, answer)
    return said


def changed_at(number, change):
    return lambda count, message: change(message) if count == number else message


def flipped(message: bytes, place: int) -> bytes:
    return message[:place] + bytes([message[place] ^ 128]) + message[place + 1 :]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_changed_bit_in_any_message_is_found(case) -> None:
    for (sender, receiver), log in HONEST[case][1].items():
        for number, (step, message) in enumerate(log):
            for place in sorted({0, len(message) // 2, len(message) - 1}):
                said = judge(case, sender, receiver, changed_at(number, lambda m, place=place: flipped(m, place)))
                if place == len(message) - 1 and step in WIDE and len(message) > 16:
                    continue  # bits beyond the ring, where an even weight hides an error and the result is right: judge saw to that
                assert said, f"{case.__name__}: byte {place} of message {number} of {sender} to {receiver} in {step!r}"
                assert all(each.step for each in said)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_message_of_another_length_names_its_sender_and_step(case) -> None:
    for (sender, receiver), log in HONEST[case][1].items():
        kinds = {}
        for number, (step, message) in enumerate(log):
            kinds.setdefault((step, len(message)), number)
        for (step, _), number in kinds.items():
            for change in (lambda m: m[:-1], lambda m: m + b"\0", lambda _: b""):
                said = judge(case, sender, receiver, changed_at(number, change))
                assert (sender, step) in {(each.peer, each.step) for each in said}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_an_old_message_again_is_found(case) -> None:
    for (sender, receiver), log in HONEST[case][1].items():
        earlier = defaultdict(list)
        for number, (step, message) in enumerate(log):
            if earlier[len(message)] and step != "verified":
                passed: list[bytes] = []

                def again(count, current, number=number, passed=passed):
                    old = next((each for each in reversed(passed) if len(each) == len(current)), current)
                    passed.append(current)
                    return old if count == number else current

                assert judge(case, sender, receiver, again), (
                    f"{case.__name__}: message {number} of {sender} to {receiver} in {step!r}"
                )
            earlier[len(message)].append(number)


# -- deviations that one changed message is not


class Liar(MaliciousReplicated):
    """Sends other parts than it computed, and keeps them as its own: ``lie(step, array)`` before each resharing, and before each
    piece of one that flows."""

    def __init__(self, session, lie) -> None:
        super().__init__(session)
        seat, honest, sending = self._seat, self._seat.reshare, self._seat.send

        def reshare(part):
            lie(seat.step, part)
            return honest(part)

        def send(to, array):
            if seat.step == "matmul":
                assert to == seat.before
                lie(seat.step, array)
            sending(to, array)

        seat.reshare, seat.send = reshare, send


def betrayed(case, traitor, lie):
    """What the honest parties end with when ``traitor`` lies."""
    return against(case, traitor, lambda session: Liar(session, lie))[0]


def forge(protocol, traitor, tags) -> None:
    """The traitor's tags are those that the party before it expects: so only the party after it can see that something is wrong."""
    agreement, honest = protocol._agreement, protocol._agreement.confirm

    def expecting(key=None):
        tags.put(list(agreement._due))
        return honest(key)

    def forging(key=None):
        agreement._held = tags.get(timeout=240)
        try:
            return honest(key)
        except ProtocolViolation:
            return key

    if protocol.index == traitor:
        agreement.confirm = forging
    elif protocol.index == (traitor - 1) % 3:
        agreement.confirm = expecting


def against(case, traitor, liar, *, forging=False):
    """What the honest parties end with when ``traitor`` plays ``liar(session)``, and what passed on each link."""
    queues = {(i, j): queue.SimpleQueue() for i in range(3) for j in range(3) if i != j}
    logs = {link: [] for link in queues}
    sessions = [
        Session(i, {j: Link(j, queues[i, j], queues[j, i], logs[i, j]) for j in range(3) if j != i}, meter=Meter())
        for i in range(3)
    ]

    tags = queue.SimpleQueue()

    def one(session):
        try:
            protocol = (liar if session.index == traitor else MaliciousReplicated)(session)
            if forging:
                forge(protocol, traitor, tags)
            return case(protocol)
        finally:
            for link in session.channels.values():
                link.close()

    answers = run_parties(sessions, one)
    return [answer for party, answer in enumerate(answers) if party != traitor], logs


@pytest.mark.parametrize("traitor", [0, 1, 2])
@pytest.mark.parametrize("case", [multiply, matmul, negative, decompose], ids=lambda case: case.__name__)
def test_an_error_in_the_top_bit_of_one_part_is_found(case, traitor) -> None:
    def lie(step, part):
        if step == case.__name__ and not getattr(lie, "done", False):
            lie.done = True
            view = part.reshape(-1).view(np.uint8)
            view[7] ^= 128

    assert any(isinstance(answer, ProtocolViolation) for answer in betrayed(case, traitor, lie))


@pytest.mark.parametrize("traitor", [0, 1, 2])
def test_the_same_error_in_all_triples_and_all_conjunctions_is_found(traitor) -> None:
    """Then every bucket is consistent: opened triples show it."""

    def lie(step, part):
        if step in ("and", "verify conjunctions"):
            part ^= np.uint64(1)

    assert any(isinstance(answer, ProtocolViolation) for answer in betrayed(conjunction, traitor, lie))


@pytest.mark.parametrize("traitor", [0, 1, 2])
def test_an_error_in_products_and_in_what_they_are_checked_against_is_found(traitor) -> None:
    """Guessing the factor is all that is left: here the guess is one."""

    def lie(step, part):
        if step in ("multiply", "verify products"):
            part[7] ^= 128

    assert any(isinstance(answer, ProtocolViolation) for answer in betrayed(multiply, traitor, lie))


def test_an_owner_that_gives_two_parties_different_parts_is_found() -> None:
    parts = [tuple(part.copy() for part in pair) for pair in SPLIT]
    parts[1][1][2] += np.uint64(1)
    answers, _ = run(lambda protocol: protocol.reveal(protocol.accept(parts[protocol.index])))
    assert sum(isinstance(answer, ProtocolViolation) for answer in answers) == 1
    assert all(isinstance(answer, ChannelError) for answer in answers)


class Tosser(MaliciousReplicated):
    """Waits for what the others toss, and then gives both of them what makes every coin zero."""

    def __init__(self, session) -> None:
        super().__init__(session)
        self._agreement.coin = self._coin

    def _coin(self) -> bytes:
        seat = self._seat
        first, second = (stream.elements((2, COIN), np.uint8) for stream in (seat.prss.own, seat.prss.after))
        given, other = (seat.receive(peer, (COIN + 32,), np.uint8) for peer in (seat.before, seat.after))
        coin = first[0] ^ first[1] ^ second[0] ^ second[1] ^ given[:COIN] ^ other[:COIN]
        seat.send(seat.after, np.concatenate([first[0] ^ coin, _hash(b"coin", first[1] ^ coin)]))
        seat.send(seat.before, np.concatenate([second[1] ^ coin, _hash(b"coin", second[0] ^ coin)]))
        return bytes(COIN)


@pytest.mark.parametrize("traitor", [0, 1, 2])
def test_who_tosses_last_cannot_choose_the_coin(traitor) -> None:
    """Who knew the factor beforehand could make the errors of a product and of its check cancel."""
    answers, _ = against(multiply, traitor, Tosser)
    assert all(isinstance(answer, ProtocolViolation) and "tossed" in answer.rule for answer in answers)


def test_no_secret_meets_a_random_bit_that_one_party_found_wrong() -> None:
    """Party 0 deals a wrong bit, and party 1's tag then tells it b_2: party 2, who sees nothing wrong, must not use the bit."""

    lies: list[int] = []

    class Dealer(MaliciousReplicated):
        def __init__(self, session) -> None:
            super().__init__(session)
            honest = self._seat.send

            def send(to, array):
                if to == 1 and self._seat.step == "to_arithmetic" and array.dtype == np.uint64 and not lies:
                    lies.append(0)
                    array[:1] += np.uint64(1)
                honest(to, array)

            self._seat.send = send

    secret = np.arange(5) % 2

    def convert(protocol):
        return protocol.to_arithmetic(protocol.public_binary(secret, 1))

    found = [against(convert, 0, MaliciousReplicated), against(convert, 0, Dealer, forging=True)]
    opened = [[step for step, message in logs[2, 0] if len(message) == 1] for _, logs in found]
    assert opened == [["to_arithmetic"], []]
    assert not any(isinstance(answer, Exception) for answer in found[0][0])
    assert all(isinstance(answer, ChannelError) for answer in found[1][0])


@pytest.mark.parametrize(
    ("case", "step"), [(arithmetic, "to_arithmetic"), (compose, "compose"), (inputs, "share"), (outside, "accept")]
)
def test_a_copy_that_shares_are_computed_with_is_known_to_be_right_at_once(case, step) -> None:
    """Computed with before it is found wrong, it would make tags depend on secrets."""
    sizes = {"to_arithmetic": 1, "compose": 32, "share": 32, "accept": 32}
    for (sender, receiver), log in HONEST[case][1].items():
        for number in [number for number, (name, m) in enumerate(log) if name == step and len(m) == sizes[step]][-1:]:
            said = judge(case, sender, receiver, changed_at(number, lambda message: flipped(message, 0)))
            assert {each.step for each in said} == {step}


def test_nothing_is_shown_before_all_found_a_check_right(monkeypatch) -> None:
    """A check in between empties what waits; of two honest parties one alone sees that it failed."""
    monkeypatch.setattr(products, "LIMIT", 1)

    def lie(step, part):
        if step == "multiply":
            part[0] ^= 1

    for traitor in range(3):
        answers, logs = against(multiply, traitor, lambda session: Liar(session, lie), forging=True)
        assert not any(step == "reveal" for (sender, _), log in logs.items() if sender != traitor for step, _ in log)
        assert all(isinstance(answer, ChannelError) for answer in answers)

"""Shamir sharing among parties of a session: results against integers, parties that are gone or lie, shares that move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, Session, local_sessions
from tallystick_node.engines.mpc.shamir import code, field
from tallystick_node.engines.mpc.shamir.field import ORDER
from tallystick_node.engines.mpc.shamir.moving import move, recover
from tallystick_node.engines.mpc.shamir.scheme import Committee, Secret, Shamir
from unit.engines.conftest import CorruptingChannel, leave, run_parties

VALUES = field.encode(np.array([[5, -7, 0], [1 << 59, -(1 << 59), 1]]))
elements = st.lists(st.integers(0, ORDER - 1), min_size=1, max_size=10)


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    """Compile before any test counts seconds of silence."""
    together(5, everything)


def together(number: int, engine) -> list:
    answers = run_parties(local_sessions(number), engine)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def shared(protocol: Shamir, values=VALUES, owner: int = 0) -> Secret:
    return protocol.share(owner, values.shape, values if protocol.session.index == owner else None)


def reconstructed(parts, committee: Committee) -> np.ndarray:
    """The values of what all parties hold; their shares fit the degree."""
    shares = {member + 1: parts[member] for member in committee.members}
    found = code.reconstruct(shares, committee.threshold)
    assert found.wrong == ()
    for party, part in enumerate(parts):
        assert party in committee.members or not part.any()
    return found.values


@pytest.mark.parametrize(
    ("number", "members", "threshold"), [(3, (0, 1, 2), 1), (5, (0, 1, 2, 3, 4), 2), (5, (1, 2, 4), 1), (2, (0, 1), 1)]
)
def test_any_party_shares_and_any_party_gets_results(number, members, threshold) -> None:
    committee = Committee(members, threshold)

    def engine(session: Session):
        protocol = Shamir(session, committee)
        first, last = shared(protocol), shared(protocol, owner=number - 1)
        doubled = first + last + protocol.public(VALUES)
        return protocol.reveal(doubled), protocol.reveal(first, to=[0])

    for party, (found, one) in enumerate(together(number, engine)):
        assert (found == field.multiply(VALUES, np.uint64(3))).all()
        assert (one is None) == (party != 0)


@given(values=st.lists(st.tuples(*[st.integers(0, ORDER - 1)] * 2), min_size=1, max_size=10), factor=st.integers(0, ORDER - 1))
@settings(max_examples=10)
def test_operations_are_those_of_the_field(values, factor) -> None:
    x, y = (np.array(side, np.uint64) for side in zip(*values, strict=True))
    public = np.uint64(factor)

    def engine(session: Session):
        protocol = Shamir(session, Committee((0, 1, 2), 1))
        a, b = shared(protocol, x, 0), shared(protocol, y, 1)
        product = protocol.multiply(a, b)
        results = [a + b, a - b, -a, a.scaled(public), product, protocol.multiply(product, a), a.sum(), a[:1], a.reshape(-1, 1)]
        return [protocol.reveal(result) for result in results]

    p, q = ([int(value) for value in side] for side in (x, y))
    wanted = [
        [(i + j) % ORDER for i, j in zip(p, q, strict=True)],
        [(i - j) % ORDER for i, j in zip(p, q, strict=True)],
        [-i % ORDER for i in p],
        [i * factor % ORDER for i in p],
        [i * j % ORDER for i, j in zip(p, q, strict=True)],
        [i * i * j % ORDER for i, j in zip(p, q, strict=True)],
        sum(p) % ORDER,
        p[:1],
        [[i] for i in p],
    ]
    for answer in together(3, engine):
        assert [found.tolist() for found in answer] == wanted


@pytest.mark.parametrize(("members", "threshold"), [((0, 1, 2, 3, 4), 2), ((0, 1, 3, 4), 1)])
def test_products_have_the_degree_again(members, threshold) -> None:
    committee = Committee(members, threshold)

    def engine(session: Session):
        protocol = Shamir(session, committee)
        value = shared(protocol)
        return protocol.multiply(protocol.multiply(value, value), value).part

    cube = field.multiply(field.multiply(VALUES, VALUES), VALUES)
    assert (reconstructed(together(5, engine), committee) == cube).all()


def test_random_elements_are_shared_uniform_and_fresh() -> None:
    committee = Committee((0, 1, 2, 3), 1)

    def engine(session: Session):
        protocol = Shamir(session, committee)
        return [protocol.random((500, 3)).part for _ in range(2)]

    parts = together(4, engine)
    drawn = np.stack([reconstructed([part[i] for part in parts], committee) for i in range(2)])
    assert drawn.shape == (2, 500, 3)
    assert len(np.unique(drawn)) == drawn.size
    assert abs(drawn.astype(float).mean() / ORDER - 0.5) < 0.045  # 8 standard deviations


@pytest.mark.parametrize(
    ("members", "threshold"), [((), 1), ((1, 0), 1), ((0, 0, 1), 1), ((-1, 0), 1), ((0, 1, 2), 0), ((0, 1, 2), 3)]
)
def test_what_is_no_committee_is_refused(members, threshold) -> None:
    with pytest.raises(ValueError):
        Committee(members, threshold)


def test_local_misuse_is_refused() -> None:
    def engine(session: Session):
        with pytest.raises(ValueError):
            Shamir(session, Committee((0, 3), 1))
        protocol = Shamir(session, Committee((0, 1), 1))
        for wrong in (VALUES[:1], VALUES.astype(np.int64), np.full(VALUES.shape, ORDER, np.uint64), None):
            with pytest.raises(ValueError):
                protocol.share(session.index, VALUES.shape, wrong)
        zeros = protocol.public(VALUES)
        with pytest.raises(ValueError, match="twice the threshold"):
            protocol.multiply(zeros, zeros)
        with pytest.raises(ValueError, match="shapes"):
            protocol.multiply(zeros, zeros[:1])
        for lost, helpers in ((2, None), (0, [0, 1]), (0, None), (0, [1, 2])):
            with pytest.raises(ValueError):
                recover(protocol, zeros, lost, helpers)
        for dealers in ([0], [0, 1, 2]):
            with pytest.raises(ValueError):
                move(protocol, zeros, Committee((1, 2), 1), dealers)
        return True

    assert all(together(3, engine))


def test_it_says_what_it_promises() -> None:
    statement = Shamir.security(Committee((0, 1, 2, 3, 4), 2))
    assert (statement.adversary, statement.corruptions, statement.parties) == ("semi-honest", 2, 5)


# -- parties that are gone, and parties that lie


@pytest.mark.parametrize("gone", [{4}, {0, 2}, {1, 2, 3}])
def test_results_open_while_enough_members_are_there(gone) -> None:
    committee = Committee((0, 1, 2, 3, 4), 1)

    def engine(session: Session):
        protocol = Shamir(session, committee)
        value = shared(protocol)
        return leave(session) if session.index in gone else protocol.open(value)

    for party, answer in enumerate(together(5, engine)):
        if party not in gone:
            assert (answer.values == VALUES).all()
            assert (answer.wrong, answer.lost) == ((), tuple(sorted(gone)))


def test_results_do_not_open_with_too_few_members_and_reveal_wants_all() -> None:
    def engine(session: Session):
        protocol = Shamir(session, Committee((0, 1, 2), 1))
        value = shared(protocol)
        if session.index:
            leave(session)
            return True
        with pytest.raises(code.Inconsistent, match="too few"):
            protocol.open(value)
        with pytest.raises(ChannelError):
            protocol.reveal(value)
        return True

    assert all(together(3, engine))


def lying(session: Session, liars, committee: Committee, method: str):
    protocol = Shamir(session, committee)
    value = shared(protocol)
    if session.index in liars:
        value = value + Secret(np.ones(VALUES.shape, np.uint64) * np.uint64(session.index + 1))
    return getattr(protocol, method)(value)


def test_wrong_shares_are_left_out_and_named() -> None:
    committee = Committee(tuple(range(7)), 2)
    for party, answer in enumerate(together(7, lambda session: lying(session, {1, 5}, committee, "open"))):
        if party not in (1, 5):
            assert (answer.values == VALUES).all()
            assert answer.wrong == (1, 5)


def test_revealing_raises_for_the_first_wrong_share() -> None:
    answers = run_parties(local_sessions(4), lambda session: lying(session, {3}, Committee((0, 1, 2, 3), 1), "reveal"))
    for answer in answers[:3]:
        assert isinstance(answer, ProtocolViolation)
        assert (answer.peer, answer.step) == (3, "reveal")


@pytest.mark.parametrize("method", ["open", "reveal"])
def test_wrong_shares_that_cannot_be_told_are_noticed(method) -> None:
    answers = run_parties(local_sessions(3), lambda session: lying(session, {2}, Committee((0, 1, 2), 1), method))
    assert all(isinstance(answer, code.Inconsistent) for answer in answers[:2])


# -- shares that move


@pytest.mark.parametrize(
    ("old", "new", "dealers"),
    [
        (Committee((0, 1, 2), 1), Committee((2, 3, 4, 5, 6), 2), None),
        (Committee((0, 1, 2, 3, 4), 2), Committee((0, 6), 1), None),
        (Committee((0, 1, 2, 3, 4), 2), Committee((4, 5, 6), 2), [1, 3, 4]),
        (Committee((0, 1, 2), 1), Committee((0, 1, 2), 1), None),
    ],
)
def test_secrets_move_to_another_committee(old, new, dealers) -> None:
    def engine(session: Session):
        protocol = Shamir(session, old)
        value = shared(protocol)
        if dealers is not None and session.index in set(old.members) - set(dealers):
            return protocol.session, value.part, np.zeros_like(VALUES)  # it is gone
        moved, secret = move(protocol, value, new, dealers)
        assert moved.committee == new
        return value.part, secret.part

    answers = [answer[-2:] for answer in together(7, engine)]
    assert (reconstructed([part for _, part in answers], new) == VALUES).all()
    for before, after in answers:
        assert not before.any() or not (before == after).any()


def test_moved_secrets_are_computed_on() -> None:
    def engine(session: Session):
        protocol = Shamir(session, Committee((0, 1), 1))
        moved, secret = move(protocol, shared(protocol), Committee((1, 2, 3), 1))
        return moved.reveal(moved.multiply(secret, secret), to=[0])

    assert (together(4, engine)[0] == field.multiply(VALUES, VALUES)).all()


@pytest.mark.parametrize("dealer", [0, 1, 2, 3])
def test_a_false_dealing_ends_at_the_new_members(dealer) -> None:
    """A dealer that deals another value than its share, by a polynomial of the right degree."""

    def engine(session: Session):
        protocol = Shamir(session, Committee((0, 1, 2, 3), 1))
        value = shared(protocol)
        if session.index == dealer:
            value.part[0, 0] ^= np.uint64(1)
        return move(protocol, value, Committee((4, 5, 6), 1))

    for answer in run_parties(local_sessions(7), engine)[4:]:
        assert isinstance(answer, code.Inconsistent)
        assert answer.points == (1, 2, 3, 4)


def test_an_inconsistent_dealing_is_noticed(parties) -> None:
    """One new member gets another share than the polynomial's: the check does not fit, at every honest new member."""

    def engine(session: Session):
        protocol = Shamir(session, Committee((0, 1, 2), 1))
        return move(protocol, shared(protocol, owner=1), Committee((3, 4, 5), 1))

    change = lambda m: bytes([m[0] ^ 1]) + m[1:]  # noqa: E731
    for answer in parties(6, engine, corrupt=(0, 3, 0, change))[3:]:
        assert isinstance(answer, code.Inconsistent)


@pytest.mark.parametrize("helpers", [None, [1, 2, 4]])
@pytest.mark.parametrize("lost", [0, 3])
def test_a_lost_share_comes_back(lost, helpers) -> None:
    if helpers and lost == 0:
        helpers = [1, 2, 3]
    committee = Committee((0, 1, 2, 3, 4), 2)

    def engine(session: Session):
        protocol = Shamir(session, committee)
        value = shared(protocol, owner=5)
        gone = Secret(np.zeros_like(VALUES)) if session.index == lost else value
        return value.part, recover(protocol, gone, lost, helpers).part, session.meter.steps

    for party, (before, after, steps) in enumerate(together(6, engine)):
        assert (before == after).all()
        sent = steps["recover"].messages
        assert sent == (party in (helpers or set(committee.members) - {lost}))


def test_what_the_helpers_send_says_nothing_of_their_shares() -> None:
    """The masked shares that the lost member gets are uniform and fresh, though the shares are the same each time."""
    seen = []

    class Listening:
        def __init__(self, inner) -> None:
            self.inner, self.peer, self.mark = inner, inner.peer, inner.mark

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def send(self, message) -> None:
            seen.append(bytes(message))
            self.inner.send(message)

    def engine(session: Session):
        if session.index == 1:
            session.channels[0] = Listening(session.channels[0])
        protocol = Shamir(session, Committee((0, 1, 2), 1))
        zeros = protocol.public(np.zeros(2000, np.uint64))
        for _ in range(2):
            recover(protocol, zeros, 0)
        return True

    assert all(together(3, engine))
    first, second = (np.frombuffer(message, np.uint64) for message in seen)
    assert len(np.unique(np.concatenate([first, second]))) == 4000
    assert abs(first.astype(float).mean() / ORDER - 0.5) < 0.05  # nearly 8 standard deviations


def test_a_wrong_share_in_a_recovery_is_named() -> None:
    def engine(session: Session):
        protocol = Shamir(session, Committee((0, 1, 2, 3, 4), 1))
        value = shared(protocol, owner=1)
        if session.index == 3:
            value.part[0, 0] ^= np.uint64(1)
        return recover(protocol, value, 0)

    answer = run_parties(local_sessions(5), engine)[0]
    assert isinstance(answer, ProtocolViolation)
    assert (answer.peer, answer.step) == (3, "recover")


# -- the messages, by sender, receiver, number and step


def everything(session: Session):
    protocol = Shamir(session, Committee((0, 1, 2), 1))
    value = shared(protocol, VALUES.reshape(-1))
    value = protocol.multiply(value, value) + protocol.random(value.shape).scaled(np.uint64(0))
    value = recover(protocol, value, 0)
    moved, value = move(protocol, value, Committee((3, 4), 1))
    return moved.reveal(value, to=[0])


def test_everything_in_a_row() -> None:
    assert (together(5, everything)[0] == field.multiply(VALUES, VALUES).reshape(-1)).all()


SEEDS = (3, 4, 0, "move check")
MESSAGES = [
    (0, 2, 0, "share"),
    (1, 2, 0, "multiply"),
    (1, 2, 1, "random"),
    (1, 2, 2, "recover masks"),
    (1, 0, 2, "recover"),
    (1, 3, 0, "move"),
    (3, 4, 1, "move check"),
    (4, 0, 0, "reveal"),
]


def shorter(message: bytes) -> bytes:
    return message[:-1]


def longer(message: bytes) -> bytes:
    return message + b"\0"


def no_elements(message: bytes) -> bytes:
    return b"\xff" * len(message)


@pytest.mark.parametrize(
    ("sender", "receiver", "number", "step", "change"),
    [(*SEEDS, shorter), (*SEEDS, longer), *((*each, change) for each in MESSAGES for change in (shorter, longer, no_elements))],
)
def test_a_message_that_is_none_names_its_sender_and_step(sender, receiver, number, step, change) -> None:
    sessions = local_sessions(5)
    sessions[sender].channels[receiver] = CorruptingChannel(sessions[sender].channels[receiver], number, change)
    error = run_parties(sessions, everything)[receiver]
    assert isinstance(error, ProtocolViolation), error
    assert (error.peer, error.step) == (sender, step)

"""Replicated sharing against NumPy: every operation, at the limits of its range, and every message of the wrong length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, Session, local_sessions
from tallystick_node.engines.mpc.protocol import Shares
from tallystick_node.engines.mpc.prss import Prss
from tallystick_node.engines.mpc.replicated import Replicated
from tallystick_node.engines.mpc.ring import MAGNITUDE, FixedPoint, OutOfRange, decode_integers, encode_integers
from unit.engines.conftest import run_parties

FIXED = FixedPoint(18)
EDGES = np.array([0, 1, -1, 2, -2, MAGNITUDE - 1, 1 - MAGNITUDE, 1 << 61, -(1 << 61), (1 << 40) + 1], np.int64)


def together(step, *inputs):
    """Run ``step(protocol, *shares)`` at three parties; input k belongs to party k mod 3. Each party's answer."""

    def engine(session: Session):
        protocol = Replicated(session)
        shares = []
        for number, values in enumerate(inputs):
            owner = number % 3
            shares.append(protocol.share(owner, values.shape, values if session.index == owner else None))
        return step(protocol, *shares)

    answers = run_parties(local_sessions(3), engine)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def revealed(step, *inputs):
    answers = together(lambda protocol, *shares: protocol.reveal(step(protocol, *shares)), *inputs)
    assert all((answer == answers[0]).all() for answer in answers)
    return answers[0]


ring = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40).map(lambda many: np.array(many, np.uint64))


@given(ring)
@settings(max_examples=20)
def test_what_is_shared_is_revealed(values) -> None:
    assert (revealed(lambda _, x: x, values) == values).all()


@given(values=st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 2), min_size=1, max_size=40), factor=st.integers(0, 2**64 - 1))
@settings(max_examples=20)
def test_ring_operations(values, factor) -> None:
    x, y = (np.array(side, np.uint64) for side in zip(*values, strict=True))
    public = np.uint64(factor)

    def step(protocol: Replicated, a: Shares, b: Shares):
        results = [a + b, a - b, -a, a.scaled(public), protocol.multiply(a, b), a + protocol.public(y), a.sum(), a[:1]]
        return [protocol.reveal(each) for each in results]

    with np.errstate(over="ignore"):
        expected = [x + y, x - y, -x, x * public, x * y, x + y, x.sum(), x[:1]]
    for answer in together(step, x, y):
        for found, wanted in zip(answer, expected, strict=True):
            assert (found == wanted).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (4, 200, 300), (1, 97, 257)])
def test_matrix_products(shape) -> None:
    rows, inner, columns = shape
    order = np.random.default_rng(7)
    x = order.integers(0, 2**64, (rows, inner), np.uint64)
    y = order.integers(0, 2**64, (inner, columns), np.uint64)
    assert (revealed(lambda protocol, a, b: protocol.matmul(a, b), x, y) == x @ y).all()


@pytest.mark.parametrize("bits", [1, 7, 18, 31])
def test_truncation_errs_by_at_most_one_and_never_wraps(bits) -> None:
    order = np.random.default_rng(bits)
    values = np.concatenate([EDGES, order.integers(-MAGNITUDE + 1, MAGNITUDE, 20_000)])
    found = revealed(lambda protocol, x: protocol.truncate(x, bits), values.view(np.uint64)).view(np.int64)
    error = found - (values >> bits)
    assert set(np.unique(error)) <= {-1, 0}


def test_fixed_point_products() -> None:
    order = np.random.default_rng(3)
    x, y = order.uniform(-1000, 1000, (2, 5000))
    found = revealed(lambda protocol, a, b: protocol.multiply_fixed(a, b, 18), FIXED.encode(x), FIXED.encode(y))
    exact = np.rint(x * 2**18) / 2**18 * (np.rint(y * 2**18) / 2**18)
    assert np.abs(FIXED.decode(found) - exact).max() <= 2 * 2.0**-18
    left, right = order.uniform(-10, 10, (20, 30)), order.uniform(-10, 10, (30, 10))
    product = revealed(lambda protocol, a, b: protocol.matmul_fixed(a, b, 18), FIXED.encode(left), FIXED.encode(right))
    assert np.abs(FIXED.decode(product) - left @ right).max() < 2 * 30 * 10 * 2.0**-18


def test_only_the_named_parties_learn_a_value() -> None:
    answers = together(lambda protocol, x: protocol.reveal(x, to=[1]), np.arange(4, dtype=np.uint64))
    assert answers[0] is None and answers[2] is None
    assert answers[1].tolist() == [0, 1, 2, 3]


def test_two_parts_of_one_party_say_nothing() -> None:
    """The shares of equal and of different secrets look alike: uniform, and fresh each time."""
    zeros = np.zeros(4096, np.uint64)
    first, second, *_ = (together(lambda _, x: x.parts, zeros)[0] for _ in range(2))
    for part, again in zip(first, second, strict=True):
        assert len(np.unique(part)) > 4000
        assert not (part == again).any()
        assert abs(np.unpackbits(part.view(np.uint8)).mean() - 0.5) < 0.01


def test_three_parties_share_zero() -> None:
    parts = run_parties(local_sessions(3), lambda session: Prss(session).zero((1000,)))
    assert not sum(parts).any()
    assert all(part.any() for part in parts)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_another_number_of_parties_is_refused(number) -> None:
    (answer, *_) = run_parties(local_sessions(number), Replicated)
    assert isinstance(answer, ValueError)


# -- the messages, by sender, receiver and number

MESSAGES = [
    (0, 2, 0, "prss"),
    (0, 1, 0, "share"),
    (1, 0, 1, "multiply"),
    (0, 2, 2, "truncate"),
    (1, 2, 0, "truncate"),
    (2, 1, 2, "truncate"),
    (2, 0, 0, "reveal"),
]


@pytest.mark.parametrize(("sender", "receiver", "number", "step"), MESSAGES)
@pytest.mark.parametrize("change", [lambda m: m[:-1], lambda m: m + b"\0", lambda _: b""], ids=["shorter", "longer", "empty"])
def test_a_message_of_another_length_names_its_sender_and_step(parties, sender, receiver, number, step, change) -> None:
    def engine(session: Session):
        protocol = Replicated(session)
        x = protocol.share(0, (3,), np.arange(3, dtype=np.uint64) if session.index == 0 else None)
        return protocol.reveal(protocol.truncate(protocol.multiply(x, x), 4))

    error = parties(3, engine, corrupt=(sender, receiver, number, change))[receiver]
    assert isinstance(error, ProtocolViolation), error
    assert (error.peer, error.step) == (sender, step)


# -- numbers


@given(st.lists(st.floats(-(2.0**43), 2.0**43), min_size=1, max_size=50))
def test_fixed_point_is_nearest(values) -> None:
    found = FIXED.decode(FIXED.encode(values))
    assert np.abs(found - np.array(values)).max() <= 2.0**-19 + 2.0**-9  # float64 itself has 2^-9 at 2^43


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0**44, -(2.0**44)])
def test_what_does_not_fit_raises_on_the_way_in(value) -> None:
    with pytest.raises(OutOfRange, match="1 of 3 numbers do not fit; the first is number 1"):
        FIXED.encode([0.5, value, 1.0])


@pytest.mark.parametrize("value", [MAGNITUDE, -MAGNITUDE, 2**63 - 1, -(2**63)])
def test_what_cannot_be_a_result_raises_on_the_way_out(value) -> None:
    with pytest.raises(OutOfRange):
        decode_integers(np.array([value], np.int64).view(np.uint64))


def test_integers() -> None:
    assert (decode_integers(encode_integers(EDGES)) == EDGES).all()
    for bad in ([MAGNITUDE], [-MAGNITUDE], np.array([2**63], np.uint64)):
        with pytest.raises(OutOfRange):
            encode_integers(bad)
    with pytest.raises(TypeError):
        encode_integers([0.5])

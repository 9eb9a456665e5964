"""Replicated sharing against NumPy: what goes in and out, products and truncation, at the limits of their range."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, Session, local_sessions
from tallystick_node.engines.mpc.protocol import Shares
from tallystick_node.engines.mpc.prss import Prss, Stream
from tallystick_node.engines.mpc.replicated import Replicated
from tallystick_node.engines.mpc.ring import MAGNITUDE, FixedPoint, OutOfRange, decode_integers, encode_integers
from unit.engines.conftest import run_parties
from unit.engines.three_parties import answers, revealed, together
from unit.engines.three_parties import ring as ring_elements

FIXED = FixedPoint(18)
EDGES = np.array([0, 1, -1, 2, -2, MAGNITUDE - 1, 1 - MAGNITUDE, 1 << 61, -(1 << 61), (1 << 40) + 1], np.int64)


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_stream_is_that_of_the_counter_mode(epoch) -> None:
    seed = bytes(range(16))
    stream = Stream(seed)
    if epoch:
        stream._left = 0  # 64 GiB later
        stream._head = b""
    expected = Cipher(algorithms.AES128(seed), modes.CTR((epoch << 32).to_bytes(16, "big"))).encryptor()
    for size in (1, 3, 40, 5, 0, 200_001, 7, 131_072):
        assert stream.elements((size,), np.uint8).tobytes() == expected.update(bytes(size))


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


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 5, 2), (4, 200, 600), (1, 97, 257), (7, 3, 9), (5, 1, 40), (0, 3, 12), (3, 0, 12)]
)
def test_matrix_products(shape) -> None:
    rows, inner, columns = shape
    order = np.random.default_rng(7)
    x = order.integers(0, 2**64, (rows, inner), np.uint64)
    y = order.integers(0, 2**64, (inner, columns), np.uint64)
    assert (revealed(lambda protocol, a, b: protocol.matmul(a, b), x, y) == x @ y).all()


@pytest.mark.parametrize("columns", [1, 3, 20])
def test_products_of_transposed_matrices(columns) -> None:
    x, y = ring_elements(1, 9, 600), ring_elements(2, 9, columns)

    def step(protocol: Replicated, a: Shares, b: Shares) -> Shares:
        return protocol.matmul(a.map(np.transpose), b)

    assert (revealed(step, x, y) == x.T @ y).all()


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


def test_three_parties_share_zero() -> None:
    parts = run_parties(local_sessions(3), lambda session: Prss(session).zero((1000,)))
    assert not sum(parts).any()
    assert all(part.any() for part in parts)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_another_number_of_parties_is_refused(number) -> None:
    (answer, *_) = run_parties(local_sessions(number), Replicated)
    assert isinstance(answer, ValueError)


# -- parties that only bring secrets or only take results


def test_what_an_outsider_brings_an_outsider_takes() -> None:
    values = EDGES.view(np.uint64).reshape(2, 5)
    parts = Replicated.split(values, 3)
    disclosed = answers(lambda protocol: protocol.disclose(protocol.accept(parts[protocol.index]).scaled(np.uint64(3))))
    assert (Replicated.combine(disclosed) == values * np.uint64(3)).all()


def test_an_outside_receiver_learns_no_more_than_the_sums() -> None:
    """x, y and z come from parties 0, 1 and 2, and each has a part that is zero: no part of x + z and part of y + z add up to z."""
    sums = np.array([3, 5, 8], np.uint64)

    def step(protocol, x, y, z):
        return protocol.disclose(x + z), protocol.disclose(y + z)

    found = together(step, sums, sums, sums)
    one, other = ([found[party][number][0] for party in range(3)] for number in (0, 1))
    assert (sum(one) == 2 * sums).all() and (sum(other) == 2 * sums).all()
    for a in (*one, *other):
        assert a.all()
    for a in one:
        assert not any((a + b == sums).any() for b in other)


def test_parts_for_a_party_say_nothing() -> None:
    for pair in Replicated.split(np.zeros(4096, np.uint64), 3):
        assert all(abs(np.unpackbits(part.view(np.uint8)).mean() - 0.5) < 0.01 for part in pair)


@pytest.mark.parametrize("party", [0, 1, 2])
def test_an_owner_who_sends_different_copies_is_noticed(party) -> None:
    parts = Replicated.split(np.arange(5, dtype=np.uint64), 3)
    parts[party] = (parts[party][0] + np.uint64(1), parts[party][1])
    found = run_parties(local_sessions(3), lambda session: Replicated(session).accept(parts[session.index]))
    assert isinstance(found[party], ProtocolViolation)
    assert (found[party].peer, found[party].step) == ((party - 1) % 3, "accept")


@pytest.mark.parametrize(
    "parts", [(), (np.zeros(2, np.uint64),), (np.zeros(2, np.uint64), np.zeros(3, np.uint64)), (np.zeros(2),) * 2]
)
def test_what_are_not_two_parts_is_refused(parts) -> None:
    found = run_parties(local_sessions(3), lambda session: Replicated(session).accept(parts))
    assert all(isinstance(answer, ValueError) for answer in found)


@pytest.mark.parametrize("party", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 1])
def test_a_party_that_discloses_another_part_is_noticed(party, place) -> None:
    parts = [list(pair) for pair in Replicated.split(np.arange(5, dtype=np.uint64), 3)]
    parts[party][place] = parts[party][place] + np.uint64(1)
    with pytest.raises(ProtocolViolation, match="different copies") as caught:
        Replicated.combine([tuple(pair) for pair in parts])
    assert caught.value.peer == (party + place) % 3


@pytest.mark.parametrize("change", [lambda p: p[:1], lambda p: (p[0][:2], p[1]), lambda p: (p[0], p[1].astype(np.int64))])
def test_parts_of_another_shape_are_the_sender_s_fault(change) -> None:
    parts = Replicated.split(np.arange(5, dtype=np.uint64), 3)
    parts[1] = change(parts[1])
    with pytest.raises(ProtocolViolation, match="party 1: combine"):
        Replicated.combine(parts)
    with pytest.raises(ValueError, match="three parties"):
        Replicated.combine(parts[:2])


# -- misuse that every party notices by itself


def test_shapes_that_do_not_match_are_refused() -> None:
    def step(protocol: Replicated, x: Shares, y: Shares):
        for wrong in (
            lambda: protocol.multiply(x, y[:2]),
            lambda: protocol.multiply_fixed(x, y[:2], 18),
            lambda: protocol.matmul(x, y),
            lambda: protocol.matmul_fixed(x.reshape(1, 3), y.reshape(1, 3), 18),
            lambda: protocol.truncate(x, 0),
            lambda: protocol.truncate(x, 32),
            lambda: protocol.shuffle([x, y[:2]]),
            lambda: protocol.to_arithmetic(protocol.public_binary(np.zeros(3, np.uint8), 2)),
            lambda: protocol.and_(protocol.public_binary(np.zeros(3), 2), protocol.public_binary(np.zeros(3), 3)),
            lambda: protocol.sigmoid_fixed(x, 0),
            lambda: protocol.sigmoid_fixed(x, 25),
            lambda: protocol.security(2),
        ):
            with pytest.raises(ValueError, match="."):
                wrong()

    together(step, np.zeros(3, np.uint64), np.zeros(3, np.uint64))


@pytest.mark.parametrize(("giver", "values"), [(0, None), (1, np.zeros(3, np.uint64)), (0, np.zeros(4, np.uint64))])
def test_only_the_owner_gives_values(giver, values) -> None:
    def engine(session: Session):
        return Replicated(session).share(0, (3,), values if session.index == giver else None)

    assert isinstance(run_parties(local_sessions(3), engine)[giver], ValueError)


def test_results_do_not_change_when_more_is_computed() -> None:
    """Buffers are reused inside, never in results."""

    def step(protocol: Replicated, x: Shares):
        first = [
            protocol.multiply(x, x),
            protocol.truncate(x, 4),
            protocol.to_arithmetic(protocol.negative(x)),
            protocol.random((9,)),
        ]
        copies = [[part.copy() for part in each.parts] for each in first]
        for _ in range(2):
            protocol.multiply(x, x), protocol.truncate(x, 4), protocol.to_arithmetic(protocol.negative(x)), protocol.random((9,))
        for each, copy in zip(first, copies, strict=True):
            assert all((part == before).all() for part, before in zip(each.parts, copy, strict=True))

    together(step, np.arange(9, dtype=np.uint64))


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

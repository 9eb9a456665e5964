"""Replicated sharing with checks against NumPy: every method, at the limits of its range, and what an honest run costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.mpc.malicious import MaliciousReplicated, buckets, circuits, conjunctions, matrices, products
from tallystick_node.engines.mpc.ring import MAGNITUDE
from unit.engines.conftest import run_parties

EDGES = np.array([0, 1, -1, 2, -2, MAGNITUDE - 1, 1 - MAGNITUDE, 1 << 61, -(1 << 61), (1 << 40) + 1], np.int64).view(np.uint64)
ELEMENTS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=70).map(lambda each: np.array(each, np.uint64))
TOP = np.uint64(63)


def together(engine):
    answers = run_parties(local_sessions(3), lambda session: engine(MaliciousReplicated(session)))
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def given_by(protocol, owner, values):
    return protocol.share(owner, values.shape, values if protocol.index == owner else None)


def revealed(step, *inputs):
    """What all parties reveal of ``step(protocol, *shares)``; input k belongs to party k mod 3."""

    def engine(protocol):
        result = step(protocol, *(given_by(protocol, k % 3, values) for k, values in enumerate(inputs)))
        return protocol.reveal(result) if hasattr(result, "scaled") else protocol.reveal_binary(result)

    first, *others = together(engine)
    assert all((other == first).all() for other in others)
    return first


def elements(seed, *shape):
    return np.random.default_rng(seed).integers(0, 2**64, shape, np.uint64)


@given(ELEMENTS, st.randoms(use_true_random=False))
def test_ring_operations(x, order) -> None:
    y = np.array([order.getrandbits(64) for _ in x], np.uint64)

    def step(protocol, a, b):
        return protocol.multiply(a + b, a - b) + protocol.public(y) + a.scaled(y)

    assert (revealed(step, x, y) == (x + y) * (x - y) + y + x * y).all()


@given(ELEMENTS)
def test_signs_bits_and_back(x) -> None:
    x[: len(EDGES)] = EDGES[: len(x)]

    def engine(protocol):
        secret = given_by(protocol, 1, x)
        sign, bits = protocol.negative(secret), protocol.decompose(secret)
        outputs = [
            protocol.to_arithmetic(sign),
            protocol.compose(bits),
            protocol.compose(bits.map(lambda part: part & np.uint64(31), 5)),
        ]
        words = [sign, bits, protocol.and_(bits, protocol.not_(bits)), protocol.and_(bits, bits), protocol.and_(sign, sign)]
        return [protocol.reveal(each) for each in outputs], [protocol.reveal_binary(each) for each in words]

    sign = (x >> TOP).astype(np.uint8)
    for numbers, words in together(engine):
        for found, wanted in zip(numbers, [sign.astype(np.uint64), x, x & np.uint64(31)], strict=True):
            assert (found == wanted).all()
        for found, wanted in zip(words, [sign, x, np.zeros_like(x), x, sign], strict=True):
            assert (found == wanted).all()


@pytest.mark.parametrize("width", [3, 8, 16, 20, 32])
def test_conjunctions_of_narrow_words(width) -> None:
    x, y = (elements(seed, 11, 3) >> np.uint64(64 - width) for seed in (1, 2))

    def step(protocol, a, b):
        pair = [protocol.public_binary(each, width) for each in (x, y)]
        return protocol.and_(*pair)

    found = revealed(step, x, y)
    assert (found == x & y).all() and found.dtype.itemsize * 8 >= width


@pytest.mark.parametrize("bits", [1, 2, 18, 31])
def test_truncation_errs_by_at_most_one_and_never_wraps(bits) -> None:
    values = np.concatenate([EDGES.view(np.int64), np.random.default_rng(bits).integers(-MAGNITUDE + 1, MAGNITUDE, 5000)])
    found = revealed(lambda protocol, x: protocol.truncate(x, bits), values.view(np.uint64)).view(np.int64)
    assert set(np.unique(found - (values >> bits))) <= {-1, 0, 1}
    with pytest.raises(ValueError, match="1 to 31"):
        revealed(lambda protocol, x: protocol.truncate(x, 32), EDGES)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (60, 7, 55), (100, 3, 1), (2, 200, 70), (50, 1, 50)])
def test_matrix_products(shape) -> None:
    rows, inner, columns = shape
    x, y = elements(7, rows, inner), elements(8, inner, columns)
    assert (revealed(lambda protocol, a, b: protocol.matmul(a, b), x, y) == x @ y).all()


def test_fixed_point_products() -> None:
    x, y = np.random.default_rng(3).integers(-(2**28), 2**28, (2, 50))
    found = revealed(lambda protocol, a, b: protocol.multiply_fixed(a, b, 18), x.view(np.uint64), y.view(np.uint64)).view(np.int64)
    assert np.abs(found - (x * y >> 18)).max() <= 1
    left, right = x.reshape(5, 10), y.reshape(10, 5)
    found = revealed(lambda protocol, a, b: protocol.matmul_fixed(a, b, 18), left.view(np.uint64), right.view(np.uint64)).view(
        np.int64
    )
    assert np.abs(found - (left @ right >> 18)).max() <= 1


def test_a_shuffle_moves_whole_rows_and_differs_each_time() -> None:
    x = np.arange(40, dtype=np.uint64)
    wide = np.stack([x * x, ~x], axis=1)

    def engine(protocol):
        a, b = given_by(protocol, 0, x), given_by(protocol, 1, wide)
        return [[protocol.reveal(each) for each in protocol.shuffle([a, b])] for _ in range(2)]

    (first, again), *others = together(engine)
    assert all((other[0][0] == first[0]).all() and (other[1][1] == again[1]).all() for other in others)
    for keys, rows in (first, again):
        assert sorted(keys.tolist()) == x.tolist()
        assert (rows == np.stack([keys * keys, ~keys], axis=1)).all()
    assert (first[0] != again[0]).any() and (first[0] != x).any()


def test_shuffles_reach_every_order_about_equally_often() -> None:
    def engine(protocol):
        row = given_by(protocol, 0, np.arange(3, dtype=np.uint64))
        return [tuple(protocol.reveal(protocol.shuffle([row])[0]).tolist()) for _ in range(150)]

    seen = together(engine)[0]
    assert len(set(seen)) == 6
    assert (
        max(seen.count(order) for order in set(seen)) < 65
    )  # 25 are expected; 65 come by chance, or an order is missing, once in 10^11


def test_outside_parties() -> None:
    x = EDGES
    parts = MaliciousReplicated.split(x, 3)
    out = together(lambda protocol: protocol.disclose(protocol.multiply(*[protocol.accept(parts[protocol.index])] * 2)))
    assert (MaliciousReplicated.combine(out) == x * x).all()
    wrong = [list(pair) for pair in out]
    wrong[1][0] = wrong[1][0] + np.uint64(1 << 63)
    with pytest.raises(ProtocolViolation, match="different copies"):
        MaliciousReplicated.combine([tuple(pair) for pair in wrong])


def test_only_the_named_parties_learn_a_value() -> None:
    for to in ([1], [0, 2], []):
        answers = together(lambda protocol, to=to: protocol.reveal(given_by(protocol, 0, EDGES), to=to))
        for party, answer in enumerate(answers):
            assert (answer is None) == (party not in to)
            assert answer is None or (answer == EDGES).all()


def test_random_elements_are_shared_by_all() -> None:
    first, *others = together(lambda protocol: protocol.reveal(protocol.random((200,))))
    assert all((other == first).all() for other in others) and len(np.unique(first)) == 200


def test_nothing_of_no_elements() -> None:
    nothing = np.zeros(0, np.uint64)

    def engine(protocol):
        x = given_by(protocol, 0, nothing)
        bits = protocol.negative(x)
        numbers = [
            protocol.multiply(x, x),
            protocol.truncate(x, 3),
            protocol.to_arithmetic(bits),
            protocol.compose(protocol.decompose(x)),
        ]
        numbers += protocol.shuffle([x])
        return [protocol.reveal(each).size for each in numbers]

    assert together(engine) == [[0] * 5] * 3


def test_full_batches_are_checked_before_anything_is_shown(monkeypatch) -> None:
    monkeypatch.setattr(conjunctions, "BATCH", 100)
    monkeypatch.setattr(products, "LIMIT", 50)
    x = elements(5, 60, 20)

    def engine(protocol):
        secret = given_by(protocol, 0, x)
        bits = protocol.decompose(secret)
        assert protocol._gates.waiting < 200
        square = protocol.multiply(secret, secret)
        assert protocol._products.waiting == 0
        return protocol.reveal_binary(bits), protocol.reveal(square)

    for bits, square in together(engine):
        assert (bits == x).all() and (square == x * x).all()


# -- what an honest run costs


def test_bytes_and_rounds(monkeypatch) -> None:
    count = 6400
    x = elements(2, count)

    def engine(protocol):
        secret = given_by(protocol, 0, x)
        protocol.reveal(secret)
        protocol.multiply(secret, secret)
        protocol.verify()
        protocol.negative(secret)
        protocol.verify()
        return {name: (step.bytes, step.rounds) for name, step in protocol.cost().items()}

    for party, steps in enumerate(together(engine)):
        assert steps["share"][0] == (16 * count, 0, 32)[party]
        assert steps["multiply"] == (14 * count, 1)
        assert 0 < steps["verify products"][0] - 14 * count < 300
        words = 181 * count // 64
        assert steps["negative"] == (8 * words, 7)
        depth = buckets.claims_depth(words)
        assert steps["verify conjunctions"][0] == pytest.approx(24 * depth * words, rel=0.01)


def test_the_statement() -> None:
    statement = MaliciousReplicated.security(3)
    assert (statement.adversary, statement.corruptions, statement.statistical_bits) == ("malicious-with-abort", 1, 40)
    with pytest.raises(ValueError, match="three parties"):
        MaliciousReplicated.security(4)


# -- parameters


@pytest.mark.parametrize(("count", "depth"), [(1, 22), (10, 9), (100, 6), (1000, 4), (10_000, 3), (741_455, 2), (1 << 20, 2)])
def test_buckets_are_deep_enough(count, depth) -> None:
    assert buckets.claims_depth(count) == depth
    assert buckets.claims_error(count, depth, depth) <= -40
    assert depth == 2 or buckets.claims_error(count, depth - 1, depth - 1) > -40


def test_a_batch_takes_two_triples_for_a_claim_and_so_does_the_last() -> None:
    assert buckets.claims_depth(conjunctions.BATCH) == buckets.claims_depth(2 * conjunctions.BATCH - 1) == 2


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_the_bound_covers_every_number_of_wrong_objects(count, depth) -> None:
    made = (count + 1) * depth
    exact = max(-buckets._log2_binomial(made, depth * k) for k in range(1, count + 1))
    assert buckets.claims_error(count, depth, depth) >= exact - 1e-9
    exact = max(buckets._log2_binomial(count, k) - buckets._log2_binomial(made, depth * k) for k in range(1, count + 1))
    assert buckets.random_error(count, depth, depth) >= exact - 1e-9


def test_a_bucket_of_few_objects_fails_as_often_as_the_bound_says() -> None:
    """Two claims, depth 2, two opened: one wrong claim passes when the two wrong objects fall beside it: 1 in 15."""
    passed = 0
    for seed in range(3000):
        order = buckets.permutation(seed.to_bytes(16, "little"), 6)
        passed += {*order[[2, 4]].tolist()} == {0, 1}
    assert 3000 / 15 * 0.7 < passed < 3000 / 15 * 1.35


def test_products_pass_wrongly_below_the_bound() -> None:
    assert products.error() == -49
    assert matrices.error() < -43
    assert matrices.error(32) < -27.9


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
def test_planes_and_back(count) -> None:
    x = elements(count, count)
    planes = circuits.planes(x)
    assert (circuits.words(planes, count) == x).all()
    for place in (0, 1, 37, 63):
        bits = np.unpackbits(planes[place].view(np.uint8), bitorder="little")
        assert (bits[:count] == ((x >> np.uint64(place)) & np.uint64(1))).all() and not bits[count:].any()

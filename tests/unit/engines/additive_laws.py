"""What an additive protocol must do, whatever its correlated randomness comes from: each law takes ``run(step)``, which runs
``step(protocol)`` at every computing party and gives their answers in order."""

from __future__ import annotations

import numpy as np
import pytest
from tallystick_node.engines.mpc.beaver.additive import Additive
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares, word_type
from tallystick_node.engines.mpc.ring import MAGNITUDE, FixedPoint

FIXED = FixedPoint(18)
TOP = 1 << 63
EDGES = np.array(
    [0, 1, 2**64 - 1, 2, 2**64 - 2, TOP, TOP - 1, TOP + 1, MAGNITUDE, MAGNITUDE - 1, 2**64 - MAGNITUDE, 1 << 32, (1 << 32) - 1],
    np.uint64,
)
ORDER = np.random.default_rng(5)


def agreed(run, step) -> list[np.ndarray]:
    """What all parties answer, who must answer the same."""
    answers = run(step)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    for answer in answers[1:]:
        for mine, first in zip(answer, answers[0], strict=True):
            assert (mine == first).all()
    return answers[0]


def words(*shape: int) -> np.ndarray:
    return ORDER.integers(0, 2**64, shape, np.uint64)


def owned(protocol: Protocol, owner: int, values: np.ndarray) -> Shares:
    return protocol.share(owner, values.shape, values if protocol.index == owner else None)


def split_words(protocol: Protocol, values: np.ndarray, width: int) -> Binary:
    """Words shared by XOR: every party but the first takes what a common seed says."""
    kind = word_type(width)
    seeded = np.random.default_rng(9).integers(0, 1 << width, (protocol.parties, *values.shape), np.uint64, endpoint=False)
    parts = [part.astype(kind) for part in seeded]
    parts[0] = values.astype(kind)
    for part in parts[1:]:
        parts[0] = parts[0] ^ part
    return Binary((parts[protocol.index],), width)


def sharing_and_linear_operations(run) -> None:
    x, y = words(3, 7), words(3, 7)

    def step(p: Protocol):
        a, b = owned(p, 0, x), owned(p, p.parties - 1, y)
        results = [a, a + b, a - b, -a, a.scaled(np.uint64(12345)), a + p.public(y), a.sum(), a[1], a.reshape(21), p.public(x)]
        return [p.reveal(each) for each in results]

    expected = [x, x + y, x - y, np.uint64(0) - x, x * np.uint64(12345), x + y, x.sum(), x[1], x.reshape(21), x]
    for found, wanted in zip(agreed(run, step), expected, strict=True):
        assert (found == wanted).all()


def products(run) -> None:
    x, y = np.concatenate([EDGES, words(300)]), np.concatenate([EDGES[::-1], words(300)])
    (found, empty) = agreed(
        run,
        lambda p: [
            p.reveal(p.multiply(owned(p, 0, x), owned(p, 1, y))),
            p.reveal(p.multiply(owned(p, 0, x[:0]), owned(p, 1, y[:0]))),
        ],
    )
    assert (found == x * y).all()
    assert empty.shape == (0,)


def matrix_products(run) -> None:
    shapes = [(1, 1, 1), (3, 5, 2), (17, 40, 11), (2, 100, 1)]
    pairs = [(words(m, k), words(k, n)) for m, k, n in shapes]
    found = agreed(run, lambda p: [p.reveal(p.matmul(owned(p, 0, x), owned(p, 1, y))) for x, y in pairs])
    for answer, (x, y) in zip(found, pairs, strict=True):
        assert (answer == x @ y).all()


def truncation(run) -> None:
    edges = np.array([0, 1, -1, MAGNITUDE - 1, 1 - MAGNITUDE, 1 << 61, -(1 << 61), (1 << 40) + 1], np.int64)
    values = np.concatenate([edges, ORDER.integers(1 - MAGNITUDE, MAGNITUDE, 3000)])
    places = [1, 7, 18, 31]
    found = agreed(run, lambda p: [p.reveal(p.truncate(owned(p, 1, values.view(np.uint64)), bits)) for bits in places])
    for answer, bits in zip(found, places, strict=True):
        assert set(np.unique(answer.view(np.int64) - (values >> bits))) <= {-1, 0, 1}


def fixed_point_products(run) -> None:
    x, y = ORDER.uniform(-1000, 1000, (2, 500))
    left, right = ORDER.uniform(-10, 10, (5, 30)), ORDER.uniform(-10, 10, (30, 4))

    def step(p: Protocol):
        flat = p.multiply_fixed(owned(p, 0, FIXED.encode(x)), owned(p, 1, FIXED.encode(y)), 18)
        matrix = p.matmul_fixed(owned(p, 0, FIXED.encode(left)), owned(p, 1, FIXED.encode(right)), 18)
        return [p.reveal(flat), p.reveal(matrix)]

    flat, matrix = agreed(run, step)
    exact = np.rint(x * 2**18) / 2**18 * (np.rint(y * 2**18) / 2**18)
    assert np.abs(FIXED.decode(flat) - exact).max() <= 2 * 2.0**-18
    assert np.abs(FIXED.decode(matrix) - left @ right).max() < 2 * 30 * 10 * 2.0**-18


def signs(run) -> None:
    values = np.concatenate([EDGES, words(500), words(3) >> np.uint64(3)])
    found = agreed(
        run, lambda p: [p.reveal_binary(p.negative(owned(p, 1, values))), p.reveal_binary(p.negative(owned(p, 0, values[:1])))]
    )
    assert (found[0] == (values >> np.uint64(63))).all()
    assert found[0].dtype == np.uint8


def bits_of_numbers(run) -> None:
    values = np.concatenate([EDGES, words(100)]).reshape(1, -1)
    (found,) = agreed(run, lambda p: [p.reveal_binary(p.decompose(owned(p, 1, values)))])
    assert (found == values).all()


def conjunctions(run) -> None:
    for width in (1, 3, 8, 17, 64):
        x, y = (words(5, 13) >> np.uint64(64 - width) for _ in range(2))

        def step(p: Protocol, x=x, y=y, width=width):
            a, b = split_words(p, x, width), split_words(p, y, width)
            both = p.and_(a, b)
            assert (both.parts[0] >> np.uint8(width - 1) >> np.uint8(1) == 0).all()
            return [p.reveal_binary(each) for each in (both, p.not_(a), a ^ p.public_binary(y, width))]

        found = agreed(run, step)
        assert (found[0] == x & y).all()
        assert (found[1] == (~x & np.uint64((1 << width) - 1))).all()
        assert (found[2] == x ^ y).all()


def conversions(run) -> None:
    flags = (words(150) & np.uint64(1)).reshape(10, 15)
    narrow, wide = words(20) >> np.uint64(59), words(9)

    def step(p: Protocol):
        return [
            p.reveal(p.to_arithmetic(split_words(p, flags, 1))),
            p.reveal(p.compose(split_words(p, narrow, 5))),
            p.reveal(p.compose(split_words(p, wide, 64))),
            p.reveal(p.compose(p.decompose(owned(p, 0, wide)))),
        ]

    found = agreed(run, step)
    for answer, wanted in zip(found, (flags, narrow, wide, wide), strict=True):
        assert (answer == wanted).all()


def permutations(run) -> None:
    keys, rows = words(37), words(37, 2)

    def step(p: Protocol):
        moved = p.shuffle([owned(p, 0, keys), owned(p, 1, rows)])
        one = p.shuffle([owned(p, 0, keys[:1])])
        return [p.reveal(each) for each in (*moved, *one)]

    moved, with_it, one = agreed(run, step)
    order = [int(np.flatnonzero(keys == key)[0]) for key in moved]
    assert sorted(order) == list(range(37))
    assert order != list(range(37))
    assert (with_it == rows[order]).all()
    assert (one == keys[:1]).all()


def outside_parties(run) -> None:
    x = words(4, 3)

    def step(p: Protocol):
        parts = [(np.random.default_rng(party).integers(0, 2**64, x.shape, np.uint64),) for party in range(p.parties)]
        parts[0] = (x - sum(part for (part,) in parts[1:]),)
        return p.disclose(p.accept(parts[p.index]))

    disclosed = run(step)
    protocol = Additive
    assert (protocol.combine(disclosed) == x).all()
    split = protocol.split(x, len(disclosed))
    assert (protocol.combine(split) == x).all()
    assert not (disclosed[1][0] == np.random.default_rng(1).integers(0, 2**64, x.shape, np.uint64)).any()  # made fresh


def who_learns(run) -> None:
    x = words(6)
    answers = run(lambda p: (p.reveal(owned(p, 0, x), to=[1]), p.reveal_binary(split_words(p, x, 64), to=[1])))
    for party, (value, binary) in enumerate(answers):
        if party == 1:
            assert (value == x).all()
            assert (binary == x).all()
        else:
            assert value is None
            assert binary is None


def uniform_parts(run) -> None:
    """Parts of the results for equal inputs are uniform at every party, and fresh each time."""
    zeros = np.zeros(1024, np.uint64)

    def step(p: Protocol):
        a, b = owned(p, 0, zeros), owned(p, 1, zeros)
        results = [a, p.multiply(a, b), p.multiply(a, b), p.random((1024,)), p.matmul(a.reshape(32, 32), b.reshape(32, 32))]
        results.append(p.to_arithmetic(p.negative(a)))
        results.extend(p.shuffle([a]))
        return [each.parts[0].reshape(-1) for each in results] + [p.decompose(a).parts[0], p.negative(a).parts[0]]

    for answer in run(step):
        *uniform, decomposed, negative = answer
        for part in [*uniform, decomposed]:
            assert len(np.unique(part)) == 1024
            assert abs(np.unpackbits(part.view(np.uint8)).mean() - 0.5) < 0.015  # 7.7 standard deviations
        assert abs(negative.mean() - 0.5) < 0.11  # 7
        assert not (uniform[1] == uniform[2]).any()


def misuse(run) -> None:
    def step(p: Protocol):
        x = p.public(words(2, 3))
        for wrong in (
            lambda: p.multiply(x, x[0]),
            lambda: p.matmul(x, x),
            lambda: p.truncate(x, 0),
            lambda: p.truncate(x, 32),
            lambda: p.share(p.index, (2,), None),
            lambda: p.to_arithmetic(Binary((x.parts[0],), 64)),
            lambda: p.and_(p.public_binary(x.parts[0], 8), p.public_binary(x.parts[0], 9)),
            lambda: p.shuffle([x, x.reshape(3, 2)]),
        ):
            with pytest.raises(ValueError):
                wrong()
        return []

    agreed(run, step)


LAWS = [
    sharing_and_linear_operations,
    products,
    matrix_products,
    truncation,
    fixed_point_products,
    signs,
    bits_of_numbers,
    conjunctions,
    conversions,
    permutations,
    outside_parties,
    who_learns,
    uniform_parts,
    misuse,
]

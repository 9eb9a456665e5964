"""Sorting, order statistics and grouping of secrets against NumPy; and that what they open does not depend on the secrets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc.clear import Clear
from tallystick_node.engines.mpc.functions import group, order, ranking, sort
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.ring import MAGNITUDE, OutOfRange
from unit.engines.conftest import run_parties
from unit.engines.ideal import clear, evaluated, ring

TOP = MAGNITUDE - 1
vectors = st.one_of(
    st.lists(st.integers(-3, 3), max_size=40),
    st.lists(st.integers(-TOP, TOP), max_size=40),
    st.integers(0, 60).map(lambda count: [5] * count),
    st.integers(0, 60).map(lambda count: list(range(count))),
    st.integers(0, 60).map(lambda count: list(range(count, 0, -1))),
).map(lambda many: np.array(many, np.int64))


def stable(values: np.ndarray, descending: bool = False) -> np.ndarray:
    return np.argsort(-values if descending else values, kind="stable")


# -- ranks from comparisons


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 511, 512, 513, 700, 3000, 20000])
@pytest.mark.parametrize("batch", [1, 1 << 17])
def test_rows_are_ranked_as_far_as_wanted(count, batch, monkeypatch) -> None:
    monkeypatch.setattr(ranking, "_BATCH", batch)
    draw = np.random.default_rng(count)
    values = draw.permutation(count)
    calls = []

    def less(left, right):
        assert len(left) == len(right) > 0
        calls.append(len(left))
        return values[left] < values[right]

    for wanted in (
        np.ones(count, bool),
        np.arange(count) < 1,
        np.arange(count) >= count - 10,
        draw.random(count) < 3 / (count + 1),
    ):
        calls.clear()
        result = ranking.ranked(less, np.array([0]), np.array([count]), wanted)
        assert (np.sort(result) == np.arange(count)).all() and (values[result] == np.arange(count))[wanted].all()
        assert sum(calls) <= max(1 << 18, 1.5 * count * np.log2(count + 1)) and len(calls) <= 40
        if count == 20000 and wanted.sum() < 20:
            assert sum(calls) < 8 * count  # a search that drops what nobody wants
    left, right = draw.permutation(50), draw.permutation(50)
    values = np.concatenate([left, right])
    both = ranking.ranked(less, np.array([0, 50]), np.array([50, 50]), np.ones(100, bool))
    assert (values[both] == np.tile(np.arange(50), 2)).all() and (both[:50] < 50).all()


# -- sorting


@given(vectors, st.booleans())
@settings(max_examples=60)
def test_sorting_is_exact_and_stable(keys, descending) -> None:
    bits = 62 if len(keys) and np.abs(keys).max() >= 1 << 44 else 44
    places = stable(keys, descending)
    assert (evaluated(sort.sort, keys, bits=bits, descending=descending) == keys[places]).all()
    assert (evaluated(sort.argsort, keys, bits=bits, descending=descending) == places).all()
    payload = np.arange(3 * len(keys)).reshape(-1, 3)
    moved = evaluated(lambda p, a, b, c: sort.sort_by(p, a, b, c, bits=bits, descending=descending), keys, payload, -keys)
    assert all((got == given_[places]).all() for got, given_ in zip(moved, (keys, payload, -keys), strict=True))
    if not descending:
        assert (evaluated(order.rank, keys, bits=bits) == np.argsort(places)).all()


@pytest.mark.parametrize("bits", [20, 62])
def test_many_rows_are_sorted(bits) -> None:
    for keys in (np.random.default_rng(1).integers(-(2**19), 2**19, 3000), np.random.default_rng(1).integers(-9, 9, 3000)):
        assert (evaluated(sort.argsort, keys, bits=bits) == stable(keys)).all()


def test_the_declared_size_decides_about_one_comparison_or_three() -> None:
    counts = Counter()

    class Counting(Clear):
        def negative(self, secret):
            counts["comparisons"] += secret.size
            return super().negative(secret)

    for bits, factor in ((55, 1), (56, 3)):  # 100 places have 7 bits
        counts.clear()
        protocol = Counting(clear().session)
        assert protocol.reveal(sort.sort(protocol, protocol.public(ring(range(100, 0, -1))), bits=bits))[0] == 1
        assert counts["comparisons"] == factor * 4950 + 2 * 100  # and each key twice, against the domain


def test_what_cannot_be_sorted_is_refused() -> None:
    for wrong in (
        lambda: evaluated(sort.sort, np.zeros((2, 2), np.int64)),
        lambda: evaluated(sort.sort_by, np.zeros(3, np.int64), np.zeros(2, np.int64)),
        lambda: evaluated(sort.sort, np.zeros(3, np.int64), bits=63),
        lambda: evaluated(order.top_k, np.zeros(3, np.int64), k=4),
        lambda: evaluated(order.quantile, np.zeros(0, np.int64), q=0.5),
        lambda: evaluated(order.quantile, np.zeros(3, np.int64), q=1.5),
        lambda: evaluated(order.quantile, np.zeros(3, np.int64), q=[float("nan")]),
        lambda: evaluated(sort.arrange, np.array([0, 0, 1]), np.zeros(3, np.int64)),
        lambda: evaluated(sort.arrange, np.array([1, 2, 3]), np.zeros(3, np.int64)),
        lambda: evaluated(group.group_sums, np.zeros(3, np.int64), limit=0),
        lambda: evaluated(group.group_sums, np.zeros(3, np.int64), np.zeros(2, np.int64)),
    ):
        with pytest.raises(ValueError):
            wrong()


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_rows_are_arranged(count) -> None:
    destinations = np.random.default_rng(count).permutation(count)
    rows = np.arange(2 * count).reshape(count, 2)
    moved, same = evaluated(sort.arrange, destinations, rows, destinations)
    assert (moved[destinations] == rows).all() and (same == np.arange(count)).all()


def test_a_shuffle_keeps_rows_together() -> None:
    first, second = evaluated(sort.shuffle, np.arange(50), -np.arange(50))
    assert (first == -second).all() and (np.sort(first) == np.arange(50)).all() and (first != np.arange(50)).any()


def opened_bits(keys: np.ndarray, bits: int, times: int) -> Counter:
    """How often each sequence of opened bits occurs."""
    seen: Counter = Counter()

    class Watching(Clear):
        def reveal_binary(self, secret, to=None):
            words = super().reveal_binary(secret, to)
            self.opened += bytes(words)
            return words

    for _ in range(times):
        protocol = Watching(clear().session)
        protocol.opened = b""
        sort.sort(protocol, protocol.public(ring(keys)), bits=bits)
        seen[protocol.opened] += 1
    return seen


@pytest.mark.parametrize("bits", [44, 62])
@pytest.mark.parametrize("keys", [[0, 0, 0], [1, 2, 3], [3, 2, 1], [1, 1, 2], [2, 1, 1]])
def test_opened_bits_are_those_of_a_uniform_order_whatever_the_keys(keys, bits) -> None:
    """Ties broken by a public place would open one sequence only for equal keys."""
    times = 600
    seen = opened_bits(np.array(keys), bits, times)
    assert len(seen) == 6  # one for each order of three rows, and never the two that contradict themselves
    assert (
        sum((count - times / 6) ** 2 / (times / 6) for count in seen.values()) < 65
    )  # chi-square, 5 degrees of freedom: by chance once in 10^12


# -- order statistics


@given(vectors, st.integers(0, 10), st.booleans())
@settings(max_examples=40)
def test_the_first_few(keys, k, largest) -> None:
    k = min(k, len(keys))
    places = stable(keys, largest)[:k]
    assert (evaluated(order.argtop_k, keys, k=k, bits=62, largest=largest) == places).all()
    best, also = evaluated(lambda p, a, b: order.top_k(p, a, b, k=k, bits=62, largest=largest), keys, -keys)
    assert (best == keys[places]).all() and (also == -best).all()


@pytest.mark.parametrize("count", [1, 2, 3, 10, 11, 2000])
@pytest.mark.parametrize("rounding", ["exact", "up", "down"])
def test_quantiles(count, rounding) -> None:
    draw = np.random.default_rng(count)
    columns = np.stack([draw.integers(-(2**40), 2**40, count), draw.integers(-2, 3, count), np.arange(count)], axis=1)
    for q in (0.5, 0.0, 1.0, 0.9, [0.25, 0.5, 0.75], [0.1], []):
        result = evaluated(order.quantile, columns, q=q, rounding=rounding)
        expected = np.quantile(columns, q, axis=0)
        assert result.shape == expected.shape and np.abs(result - expected).max(initial=0) <= 1.7
        vector = evaluated(order.quantile, columns[:, 0], q=q, rounding=rounding)
        assert vector.shape == np.shape(q) and np.abs(vector - expected[..., 0]).max(initial=0) <= 1.7
    assert np.abs(evaluated(order.median, columns, rounding=rounding) - np.median(columns, axis=0)).max() <= 1.7
    assert evaluated(order.median, columns[:, 2], rounding=rounding).shape == ()
    exact = evaluated(order.quantile, columns, q=[0.0, 1.0], rounding=rounding)
    assert (exact == [columns.min(axis=0), columns.max(axis=0)]).all()


def test_quantiles_of_no_columns() -> None:
    assert evaluated(order.quantile, np.zeros((3, 0), np.int64), q=[0.5, 0.2]).shape == (2, 0)


# -- groups


@given(vectors.map(lambda many: many % 1000), st.integers(0, 2**32), st.none() | st.integers(1, 8))
@settings(max_examples=40)
def test_groups_of_secret_keys(keys, seed, limit) -> None:
    first, second = np.random.default_rng(seed).integers(-(2**40), 2**40, (2, len(keys)))
    names, counts = np.unique(keys, return_counts=True)
    rows = len(keys) if limit is None else min(limit, len(keys))
    shown = min(len(names), rows)

    def padded(numbers):
        return np.concatenate([np.array(numbers[:shown], np.int64), np.zeros(rows - shown, np.int64)])

    number, *groups = evaluated(group.group_sums, keys, first, second, limit=limit)
    sums = [[values[keys == name].sum() for name in names] for values in (first, second)]
    assert number == len(names) and number.shape == ()
    assert all((got == padded(wanted)).all() for got, wanted in zip(groups, (names, counts, *sums), strict=True))
    number, *groups = evaluated(group.group_extremes, keys, first, limit=limit)
    extremes = [[edge(first[keys == name]) for name in names] for edge in (np.min, np.max)]
    assert number == len(names)
    assert all((got == padded(wanted)).all() for got, wanted in zip(groups, (names, *extremes), strict=True))
    number, *groups = evaluated(group.unique, keys, limit=limit)
    assert all((got == padded(wanted)).all() for got, wanted in zip(groups, (names, counts), strict=True))


@pytest.mark.parametrize("fraction", [0, 18])
def test_groups_of_a_public_domain(fraction) -> None:
    keys = np.array([0, 3, 1, 1, 4, -1, 3, 3])
    values = np.arange(16).reshape(2, 8) - 5

    def grouped(protocol, names, *others):
        return group.group_public(protocol, names, *others, size=4, fraction=fraction)

    counts, *sums = evaluated(grouped, keys << fraction, *values)
    assert (counts == [1, 2, 0, 3]).all()
    assert all((got == [each[keys == name].sum() for name in range(4)]).all() for got, each in zip(sums, values, strict=True))
    assert (evaluated(grouped, keys << fraction)[0] == counts).all()


def test_grouping_opens_nothing_but_orders() -> None:
    """The number and the sizes of groups stay hidden: of the arrangement a permutation is opened, and no more."""
    opened = []

    class Watching(Clear):
        def reveal(self, secret, to=None):
            values = super().reveal(secret, to)
            opened.append(sorted(values))
            return values

    for keys in ([1, 1, 1, 1], [4, 3, 2, 1]):
        protocol = Watching(clear().session)
        group.group_sums(protocol, protocol.public(ring(keys)))
    assert opened == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("bits", [8, 44, 62])
@pytest.mark.parametrize("protocol", ["clear", "replicated", "replicated-malicious", "two-party"])
def test_keys_outside_their_domain_are_found_before_anything_is_compared(protocol, bits) -> None:
    """Comparisons of such keys would not be an order, and their outcomes would tell of the others."""
    offer = OFFERS[protocol]

    def sorted_with(key: int):
        keys = np.array([3, -1, key, 2, 0], np.int64).view(np.uint64)

        def engine(session):
            one = offer.open(session)
            return sort.sort(one, one.share(0, keys.shape, keys if session.index == 0 else None), bits=bits)

        return run_parties(local_sessions(offer.fewest), engine)

    for fits in ((1 << bits) - 1, 1 - (1 << bits)):
        assert not any(isinstance(each, Exception) for each in sorted_with(fits))
    for beyond in {1 << bits, -(1 << bits), (1 << 63) - 1, -(1 << 63), -(1 << 62)} - {-(1 << bits) + 1}:
        assert all(isinstance(each, OutOfRange) for each in sorted_with(beyond))

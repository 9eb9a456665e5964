"""Partitions: every row exactly once, the same for the same seed, and as skewed as asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick_node.engines.fl.partition import dirichlet, iid, quantities, shards

seeds = st.integers(0, 2**32)
counts = st.integers(1, 12)
labels = st.lists(st.integers(0, 4), min_size=24, max_size=80).map(np.array)
concentrations = st.sampled_from([1e-3, 0.1, 1.0, 100.0])


def exactly_once(parts, rows, clients) -> None:
    assert len(parts) == clients
    assert all((np.diff(part) > 0).all() and part.dtype == np.int64 for part in parts)
    assert (np.sort(np.concatenate(parts)) == np.arange(rows)).all()


@given(st.integers(0, 100), counts, seeds)
def test_iid(rows, clients, seed) -> None:
    parts = iid(rows, clients, seed)
    exactly_once(parts, rows, clients)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(labels, counts, concentrations, seeds)
def test_dirichlet(targets, clients, concentration, seed) -> None:
    exactly_once(dirichlet(targets, clients, concentration, seed), len(targets), clients)


@given(labels, counts, st.integers(1, 2), seeds)
def test_shards(targets, clients, each, seed) -> None:
    parts = shards(targets, clients, each, seed)
    exactly_once(parts, len(targets), clients)
    assert max(map(len, parts)) - min(map(len, parts)) <= each


@given(st.integers(24, 100), counts, concentrations, st.integers(0, 2), seeds)
def test_quantities(rows, clients, concentration, minimum, seed) -> None:
    parts = quantities(rows, clients, concentration, seed, minimum)
    exactly_once(parts, rows, clients)
    assert min(map(len, parts)) >= minimum


def test_the_seed_decides() -> None:
    targets = np.arange(100) % 5
    for deal in (
        lambda seed: iid(100, 4, seed),
        lambda seed: dirichlet(targets, 4, 0.5, seed),
        lambda seed: shards(targets, 4, 2, seed),
        lambda seed: quantities(100, 4, 0.5, seed),
    ):
        same = [np.array_equal(one, two) for one, two in zip(deal(1), deal(1), strict=True)]
        other = [np.array_equal(one, two) for one, two in zip(deal(1), deal(2), strict=True)]
        assert all(same) and not all(other)


def skew(parts, targets) -> float:
    """The mean share of a client's most frequent label."""
    return float(np.mean([np.bincount(targets[part]).max() / len(part) for part in parts if len(part)]))


def test_skew_grows_as_concentration_falls() -> None:
    targets = np.arange(2000) % 10
    shares = [skew(dirichlet(targets, 10, concentration, 0), targets) for concentration in (100.0, 1.0, 0.05)]
    assert shares[0] < 0.2 < shares[1] < 0.6 < shares[2]
    sizes = [max(map(len, quantities(2000, 10, concentration, 0))) for concentration in (100.0, 1.0, 0.05)]
    assert sizes[0] < 300 < sizes[1] < 1000 < sizes[2]


def test_a_client_of_two_shards_sees_at_most_a_few_labels() -> None:
    targets = np.arange(2000) % 10
    assert all(len(np.unique(targets[part])) <= 2 for part in shards(targets, 10, 2, 0))  # shards of 100 of 200 a label


def test_a_minimum_is_kept_or_refused() -> None:
    targets = np.arange(200) % 2
    assert min(map(len, dirichlet(targets, 8, 0.5, 0, minimum=8))) >= 8
    with pytest.raises(ValueError, match="no draw gives each of 8 clients 25 rows"):
        dirichlet(targets, 8, 0.01, 0, minimum=25)
    for refused in (
        lambda: iid(5, 0, 0),
        lambda: quantities(5, 3, 1.0, 0, minimum=2),
        lambda: shards(targets, 200, 2, 0),
        lambda: dirichlet(targets, 300, 1.0, 0, minimum=1),
    ):
        with pytest.raises(ValueError, match="cannot be dealt"):
            refused()
    for concentration in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="above 0"):
            dirichlet(targets, 2, concentration, 0)
    with pytest.raises(ValueError, match="at least one shard"):
        shards(targets, 2, 0, 0)

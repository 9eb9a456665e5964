"""The pieces of secure aggregation: numbers as words, shared secrets, masks, and the graph."""

from __future__ import annotations

import secrets
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.fl.aggregation import graph, masks, quantisation, sharing


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32), st.data())
def test_the_sum_of_encoded_vectors_is_off_by_no_more_than_stated(summands: int, seed: int, data: st.DataObject) -> None:
    added = data.draw(st.integers(1, summands))
    vectors = np.random.default_rng(seed).uniform(-1, 1, (added, 20))
    vectors[:, 0], vectors[:, 1], vectors[:, 2] = 1.0, -1.0, 0.0
    total = np.zeros(20, np.uint32)
    for vector in vectors:
        total += quantisation.encode(vector, summands)
    found = quantisation.decode(total, summands, added)
    assert np.abs(found - vectors.sum(axis=0)).max() <= quantisation.error(summands) + 1e-15 * summands
    assert found[2] == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.0000001, -1e300])
def test_what_is_no_number_within_the_bound_is_refused(bad: float) -> None:
    vector = np.zeros(5)
    vector[3] = bad
    with pytest.raises(quantisation.OutOfRange, match="not within"):
        quantisation.encode(vector, 3)


def test_a_sum_that_its_summands_cannot_give_is_refused() -> None:
    most = quantisation.levels(10) * 4
    assert quantisation.decode(np.array([most], np.uint32), 10, 4)[0] == pytest.approx(4)
    with pytest.raises(quantisation.OutOfRange, match="4 vectors"):
        quantisation.decode(np.array([most + 1], np.uint32), 10, 4)
    with pytest.raises(quantisation.OutOfRange, match="4 vectors"):
        quantisation.decode(np.array([2**32 - most - 1], np.uint32), 10, 4)


@pytest.mark.parametrize("summands", [0, quantisation.MAX_SUMMANDS + 1])
def test_no_more_vectors_are_added_than_fit(summands: int) -> None:
    with pytest.raises(ValueError, match="can be added"):
        quantisation.levels(summands)


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.data())
def test_any_threshold_of_shares_has_the_secret(secret: bytes, data: st.DataObject) -> None:
    holders = sorted(data.draw(st.sets(st.integers(0, 1000), min_size=1, max_size=9)))
    threshold = data.draw(st.integers(1, len(holders)))
    shares = dict(zip(holders, sharing.split(secret, threshold, holders), strict=True))
    kept = data.draw(st.permutations(holders))[:threshold]
    assert sharing.join({holder: shares[holder] for holder in kept}, threshold) == (secret, ())


def test_wrong_shares_are_found_while_they_are_half_of_the_surplus() -> None:
    secret, holders = secrets.token_bytes(32), list(range(7))
    shares = dict(zip(holders, sharing.split(secret, 3, holders), strict=True))
    for liar in (2, 5):
        shares[liar] = sharing.split(bytes(32), 3, holders)[liar]
    assert sharing.join(shares, 3) == (secret, (2, 5))
    shares[0] = shares[1]
    with pytest.raises(sharing.Unrecoverable, match="do not belong together"):
        sharing.join(shares, 3)
    with pytest.raises(sharing.Unrecoverable, match="elements"):
        sharing.join({0: b"\xff" * sharing.SHARE}, 1)


def test_fewer_shares_than_the_threshold_say_nothing() -> None:
    shares = [sharing.split(bytes(32), 3, [4, 5, 6])[0] for _ in range(2000)]
    words = np.frombuffer(b"".join(shares), np.uint64) >> np.uint64(57)  # the leading four bits of elements of 61
    counts = np.bincount(words.astype(np.int64), minlength=16)
    assert ((counts - 625.0) ** 2 / 625).sum() < 85  # chi squared with 15 degrees of freedom: 9e-12


def test_two_members_agree_on_a_mask_that_cancels() -> None:
    one, two = (masks.private_key(secrets.token_bytes(32)) for _ in range(2))
    digest = bytes(32)
    seed = masks.pair_seed(one, masks.public_key(two), digest, 3, 8)
    assert seed == masks.pair_seed(two, masks.public_key(one), digest, 8, 3)
    assert seed != masks.pair_seed(one, masks.public_key(two), b"\1" * 32, 3, 8)
    assert seed != masks.pair_seed(one, masks.public_key(two), digest, 3, 9)
    words = np.arange(100_000, dtype=np.uint32)
    masks.add(words, [(seed, False)])
    assert (words == np.arange(100_000)).mean() < 0.001
    masks.add(words, [(seed, True)])
    assert np.array_equal(words, np.arange(100_000))


def test_keys_of_small_order_are_told() -> None:
    assert masks.is_usable(masks.public_key(masks.private_key(secrets.token_bytes(32))))
    assert not masks.is_usable(bytes(32))
    assert not masks.is_usable((1).to_bytes(32, "little"))


def test_a_plan_is_complete_for_few_members_and_sparse_for_many() -> None:
    small = graph.plan(30, 9, 10)
    assert small.complete
    assert (small.threshold, small.least, small.quorum) == (10, 20, 20)
    large = graph.plan(1000, 50, 50)
    assert not large.complete
    assert large.degree < 100
    for members in range(2, 40):
        for dropped in range(members):
            for corrupted in range(members - 2 * dropped):
                made = graph.plan(members, corrupted, dropped)
                assert made.threshold > corrupted or not made.complete
                assert 2 * made.quorum - members > corrupted  # two quorums have an honest member in common
                assert made.quorum <= made.least


@pytest.mark.parametrize(("members", "corrupted", "dropped"), [(1000, 50, 50), (1000, 100, 200), (5000, 500, 500), (400, 0, 40)])
def test_the_sparse_plan_meets_its_bounds(members: int, corrupted: int, dropped: int) -> None:
    made = graph.plan(members, corrupted, dropped)
    assert not made.complete
    k, t, others = made.degree, made.threshold, members - 1 - dropped
    colluding = sum(comb(corrupted, i) * comb(others - corrupted, k - i) for i in range(t, k + 1))
    assert members * colluding * 2**graph.SECURITY <= comb(others, k)
    staying = sum(comb(members - 1 - dropped, i) * comb(dropped, k - i) for i in range(t))
    assert members * staying * 2**graph.CORRECTNESS <= comb(members - 1, k)
    assert members * ((corrupted + dropped) / members) ** (k / 2) <= 2.0**-graph.SECURITY


@pytest.mark.parametrize("numbers", [(1, 0, 0), (10, 4, 3), (2, 0, 1), (5, -1, 0), (5, 0, -1)])
def test_numbers_that_are_not_safe_are_no_plan(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        graph.plan(*numbers)


def test_the_graph_is_regular_symmetric_and_set_by_its_seed() -> None:
    members = list(range(0, 400, 2))
    drawn = graph.draw(members, 20, b"seed")
    assert all(len(near) == 20 and member not in near for member, near in drawn.items())
    assert all(member in drawn[other] for member, near in drawn.items() for other in near)
    assert drawn == graph.draw(members, 20, b"seed")
    assert drawn != graph.draw(members, 20, b"another")
    assert graph.holds(drawn, members, 20)
    assert not graph.holds(drawn, members[:100], 20)


def test_a_cut_graph_is_seen() -> None:
    ring = graph.draw(range(12), 2, b"")
    one = next(iter(ring))
    assert graph.holds(ring, range(12), 2)
    assert graph.holds(ring, set(range(12)) - {one}, 1)
    far = next(other for other in range(12) if other not in ring[one] | {one} and not ring[other] & ring[one])
    assert not graph.holds(ring, set(range(12)) - {one, far}, 1)

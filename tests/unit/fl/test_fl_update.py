"""What leaves a client: packing without loss, within known bounds, and sums that nobody can make mean what they cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tallystick_node.engines.fl.learner import Measure
from tallystick_node.engines.fl.update import TAIL, Clip, Contribution, Packing

MEASURES = (Measure("examples"), Measure("loss", bound=64.0), Measure("correct"), Measure("scores", 3, 2.0))
SIZE = 5
changes = arrays(np.float64, SIZE, elements=st.floats(-1e9, 1e9, width=32, allow_subnormal=False))
said = st.builds(
    lambda change, control, rows, held, share: Contribution(
        change, control, float(rows), np.array([held, held * 64 * share, held * share, held, -held * share, 0]), rows * share, rows
    ),
    changes, changes, st.integers(0, 100), st.integers(0, 100), st.integers(0, 64).map(lambda part: part / 64),
)  # fmt: skip


WIDE, NARROW = Clip(1e12, 2.0**40), Clip(4.0, 1.0)


def packing(controls=True, clip=NARROW) -> Packing:
    return Packing(SIZE, controls, MEASURES, 100, 100.0, clip, WIDE)


@given(st.lists(said, min_size=1, max_size=5), st.booleans())
def test_the_sum_of_packed_vectors_says_the_sum_of_the_contributions(contributions, controls) -> None:
    bounds = packing(controls, WIDE)
    packed = [bounds.pack(one) for one in contributions]
    assert all(vector.shape == (bounds.length,) and (np.abs(vector) <= 1).all() for vector in packed)
    total = bounds.unpack(np.sum(packed, axis=0), len(packed))
    expected = np.sum([one.change * one.weight for one in contributions], axis=0)
    np.testing.assert_allclose(total.change, expected, rtol=1e-12, atol=1e-3)
    np.testing.assert_allclose(total.measures, np.sum([one.measures for one in contributions], axis=0), rtol=1e-12, atol=1e-9)
    assert total.contributors == len(contributions) and total.cut == 0
    assert total.weight == total.rows == sum(one.rows for one in contributions)
    if controls:
        assert total.control is not None
        np.testing.assert_allclose(total.control, np.sum([one.control for one in contributions], axis=0), rtol=1e-12, atol=1e-3)
    else:
        assert total.control is None


@given(said)
def test_one_contribution_comes_back_to_the_bit(one) -> None:
    bounds = packing(clip=WIDE)
    total = bounds.unpack(bounds.pack(one), 1)
    assert (total.change == one.change * one.weight).all() and (total.measures == one.measures).all()
    assert (bounds.control(bounds.pack(one)) == one.control).all() and total.loss == one.loss


@given(changes, st.floats(0.01, 100), st.integers(-5, 5))
def test_a_cut_change_keeps_its_direction_and_both_bounds(change, norm, power) -> None:
    clip = Clip(norm, 2.0**power)
    cut = clip(change)
    assert np.linalg.norm(cut) <= norm * (1 + 1e-12) and np.abs(cut).max() <= clip.entry
    if np.linalg.norm(change) <= norm and np.abs(change).max() <= clip.entry:
        assert cut is change
    else:
        assert np.linalg.norm(cut) >= min(norm, clip.entry) * (1 - 1e-9)  # no smaller than it must be
        np.testing.assert_allclose(cut * np.linalg.norm(change), change * np.linalg.norm(cut), rtol=1e-6, atol=1e-3)


def test_cut_changes_are_counted() -> None:
    large = Contribution(np.full(SIZE, 10.0), np.zeros(SIZE), 1.0, np.zeros(6), 0.0, 1)
    fits = Contribution(np.zeros(SIZE), np.zeros(SIZE), 1.0, np.zeros(6), 0.0, 1)
    bounds = packing()
    assert bounds.unpack(bounds.pack(large) + bounds.pack(fits), 2).cut == 1


def test_more_rows_or_a_larger_measure_than_agreed_is_refused() -> None:
    def one(rows=1, measures=(0,) * 6):
        return Contribution(np.zeros(SIZE), np.zeros(SIZE), 1.0, np.asarray(measures, np.float64), 0.0, rows)

    for refused in (one(rows=101), one(measures=[101, 0, 0, 0, 0, 0])):
        with pytest.raises(ValueError, match="more than the 100 rows that the parties agreed on"):
            packing().pack(refused)
    with pytest.raises(ValueError, match="exceeds its stated bound"):
        packing().pack(one(measures=[1, 0, 0, 0, 0, 1e4]))
    packing().pack(one(rows=100, measures=[100, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.1, -2.1])
def test_a_sum_that_cannot_be_one_is_refused(bad) -> None:
    bounds = packing()
    good = np.zeros(bounds.length)
    good[-2] = 2  # contributors
    bounds.unpack(good, 2)
    for place in (0, SIZE, -TAIL - 1, -1):
        hostile = good.copy()
        hostile[place] = bad
        with pytest.raises(ValueError, match="not finite or that 2 clients cannot add up to"):
            bounds.unpack(hostile, 2)


def test_a_sum_of_another_length_or_of_nobody_is_refused() -> None:
    bounds = packing()
    for shape in (bounds.length - 1, bounds.length + 1, (1, bounds.length)):
        with pytest.raises(ValueError, match=r"a sum of shape .* is due"):
            bounds.unpack(np.zeros(shape), 2)
    with pytest.raises(ValueError, match="no client contributed"):
        bounds.unpack(np.zeros(bounds.length), 2)


@pytest.mark.parametrize("bound", [0.0, -2.0, 3.0, np.inf, np.nan])
def test_bounds_are_powers_of_two(bound) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Measure("m", 1, bound)
    with pytest.raises(ValueError, match="power of two"):
        Clip(1.0, bound)

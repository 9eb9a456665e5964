"""Moments are exact, and the statistics are the nearest floats: against Python integers, pandas and NumPy."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from tallystick_node.engines.moments import (
    RANGE,
    SingularMoments,
    correlation,
    covariance,
    deviation,
    group_histogram,
    group_moments,
    least_squares,
    mean,
    moments_of_vector,
)

RNG = np.random.default_rng(20261123)


def exact(columns):
    rows = [[int(v) for v in column] for column in columns]
    products = tuple(
        sum(a * b for a, b in zip(rows[i], rows[j], strict=True)) for i in range(len(rows)) for j in range(i, len(rows))
    )
    return len(rows[0]), tuple(map(sum, rows)), products


@pytest.mark.parametrize("bits", [5, 20, 21, 40, 62])
def test_moments_are_exact_over_several_chunks(bits):
    columns = [RNG.integers(-(2**bits) + 1, 2**bits, 20_000) for _ in range(3)]
    columns[1][:] = 2**bits - 1
    columns[2][:] = -(2**bits) + 1
    (got,) = group_moments(columns, None, 1)
    assert (got.count, got.sums, got.products) == exact(columns)
    assert moments_of_vector(got.vector(), 3) == got


def test_groups_and_left_out_rows():
    columns = [RNG.integers(-1000, 1000, 500) for _ in range(2)]
    groups = RNG.integers(-1, 3, 500)
    for number, got in enumerate(group_moments(columns, groups, 4)):
        picked = [column[groups == number] for column in columns]
        assert (got.count, got.sums, got.products) == exact(picked)


def test_parties_moments_add_up_to_the_pooled_moments():
    columns = [RNG.integers(-(2**50), 2**50, 999) for _ in range(3)]
    parts = [group_moments([column[at::3] for column in columns], None, 1)[0] for at in range(3)]
    assert parts[0] + parts[1] + parts[2] == group_moments(columns, None, 1)[0]


def test_histogram_equals_numpy():
    column, edges = RNG.integers(-50, 60, 1000), [-40, -3, 0, 17, 50]
    groups = RNG.integers(-1, 2, 1000)
    for number, got in enumerate(group_histogram(column, edges, groups, 2)):
        assert got == np.histogram(column[groups == number], edges)[0].tolist()


def test_statistics_equal_pandas():
    frame = pd.DataFrame({"a": RNG.integers(0, 10**6, 300), "b": RNG.integers(-(10**4), 10**4, 300)})
    (pooled,) = group_moments([frame["a"].to_numpy(), frame["b"].to_numpy()], None, 1)
    real = frame / [10**3, 10**2]
    assert mean(pooled, 0, 3) == pytest.approx(real["a"].mean(), rel=1e-14)
    assert covariance(pooled, 0, 1, 3, 2) == pytest.approx(real.cov().loc["a", "b"], rel=1e-11)
    assert covariance(pooled, 0, 0, 3, 3, ddof=0) == pytest.approx(real["a"].var(ddof=0), rel=1e-13)
    assert deviation(pooled, 1, 2) == pytest.approx(real["b"].std(), rel=1e-13)
    assert correlation(pooled, 0, 1) == pytest.approx(real.corr().loc["a", "b"], rel=1e-11)


def test_deviation_is_the_nearest_float():
    for _ in range(50):
        column = RNG.integers(-(10**12), 10**12, 7)
        (got,) = group_moments([column], None, 1)
        values = [Fraction(int(v), 1000) for v in column]
        middle = sum(values) / 7
        variance = sum((v - middle) ** 2 for v in values) / 6
        with localcontext() as context:
            context.prec = 80
            root = (Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt()
        assert deviation(got, 0, 3) == float(root)
        assert covariance(got, 0, 0, 3, 3) == float(variance)


def test_large_offsets_lose_nothing():
    column = np.array([10**18 + 1, 10**18 + 2, 10**18 + 3])
    (got,) = group_moments([column], None, 1)
    assert covariance(got, 0, 0, 0, 0) == 1.0


def test_least_squares_equals_numpy():
    x = RNG.integers(-500, 500, (200, 2))
    y = 3 * x[:, 0] - 7 * x[:, 1] + 11 + RNG.integers(-20, 20, 200)
    (pooled,) = group_moments([y, x[:, 0].copy(), x[:, 1].copy()], None, 1)
    fit = least_squares(pooled, 0, [1, 2], [0, 2, 1])
    design = np.column_stack([np.ones(200), x[:, 0] / 100, x[:, 1] / 10])
    expected, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    assert [fit.intercept, *fit.coefficients] == pytest.approx(expected.tolist(), rel=1e-11)
    assert fit.residual_deviation == pytest.approx(float(residual[0] / 197) ** 0.5, rel=1e-11)
    assert fit.r_squared == pytest.approx(1 - float(residual[0]) / float(((y - y.mean()) ** 2).sum()), rel=1e-11)


def test_what_does_not_exist_raises():
    flat = np.array([5, 5, 5])
    (got,) = group_moments([flat, np.array([1, 2, 3]), np.array([2, 4, 6])], None, 1)
    with pytest.raises(SingularMoments, match="vary"):
        correlation(got, 0, 1)
    with pytest.raises(SingularMoments, match="depend"):
        least_squares(got, 0, [1, 2], [0, 0, 0])
    (empty,) = group_moments([np.array([], np.int64)], None, 1)
    with pytest.raises(SingularMoments, match="rows"):
        mean(empty, 0, 0)
    impossible = moments_of_vector([10, 10, 9], 1)  # squares that add up to less than ten values of mean 1 must
    with pytest.raises(SingularMoments, match="no rows have these totals"):
        deviation(impossible, 0, 0)


@pytest.mark.parametrize("value", [RANGE, -RANGE, -(2**63)])
def test_values_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match="2\\^62"):
        group_moments([np.array([value])], None, 1)


def test_misuse_is_refused():
    column = np.arange(3)
    for call in (
        lambda: group_moments([column.astype(float)], None, 1),
        lambda: group_moments([column, column[:2]], None, 1),
        lambda: group_moments([column], np.array([0, 1, 2]), 2),
        lambda: group_histogram(column, [3], None, 1),
        lambda: group_histogram(column, [3, 3], None, 1),
        lambda: moments_of_vector([1, 2], 1),
    ):
        with pytest.raises(ValueError):
            call()

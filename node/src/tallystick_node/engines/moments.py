"""Exact moments of fixed-point columns, and the statistics that follow from pooled moments.

A column is int64 with a decimal scale: it stands for value / 10^scale. Everything a party computes is an integer and
exact, so sums over parties are the moments of the pooled rows, bit for bit. Cross products run on float64 BLAS all
the same: columns are split into signed limbs of 20 bits and rows into chunks of 2^13, so that each entry of a
chunk's product stays below 2^53.

Statistics are computed as exact rationals (``Fraction``) and rounded once: each float64 that leaves this module is
the one nearest to the exact value, also for square roots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import isqrt

import numpy as np
from numpy.typing import NDArray

RANGE = 1 << 62  # magnitudes below this are accepted
_LIMB = 20  # bits
_CHUNK = 1 << 13  # rows: 2^13 products of two limbs stay below 2^53
_FLUSH = 1 << 9  # chunks: 2^9 sums below 2^53 stay below 2^62

Integers = NDArray[np.int64]


class SingularMoments(ValueError):  # noqa: N818 - a property of the data
    """The statistic does not exist for these data: no rows, no variance, or columns that depend on one another."""


@dataclass(frozen=True)
class Moments:
    """Count, sums and cross products of one group's rows. Adding two gives the moments of the rows together."""

    count: int
    sums: tuple[int, ...]  # one for each column
    products: tuple[int, ...]  # the upper triangle, row by row: (0,0), (0,1), .., (1,1), ..

    def __add__(self, other: Moments) -> Moments:
        return moments_of_vector([a + b for a, b in zip(self.vector(), other.vector(), strict=True)], len(self.sums))

    def vector(self) -> list[int]:
        """The integers in the order count, sums, products: what a secure sum adds."""
        return [self.count, *self.sums, *self.products]

    def product(self, i: int, j: int) -> int:
        """The sum over rows of column i times column j."""
        i, j = min(i, j), max(i, j)
        return self.products[i * len(self.sums) - i * (i - 1) // 2 + j - i]

    def scatter(self, i: int, j: int) -> int:
        """count * product(i, j) - sum(i) * sum(j): count^2 times the population covariance, exactly."""
        return self.count * self.product(i, j) - self.sums[i] * self.sums[j]


def vector_length(columns: int) -> int:
    """How many integers :meth:`Moments.vector` has."""
    return 1 + columns + columns * (columns + 1) // 2


def moments_of_vector(vector: Sequence[int], columns: int) -> Moments:
    """The inverse of :meth:`Moments.vector`. Raises ``ValueError`` for another length."""
    if len(vector) != vector_length(columns):
        raise ValueError(f"moments of {columns} columns are {vector_length(columns)} integers")
    return Moments(vector[0], tuple(vector[1 : 1 + columns]), tuple(vector[1 + columns :]))


def group_moments(columns: Sequence[Integers], groups: Integers | None, number: int) -> list[Moments]:
    """The moments of the rows of each of ``number`` groups.

    ``groups`` holds each row's group index, or -1 for a row left out; None puts all rows into group 0. Raises
    ``ValueError`` for lengths or types that differ, group indices out of range, and magnitudes of 2^62 or more.
    """
    columns = [_checked(column) for column in columns]
    rows = len(columns[0]) if columns else (0 if groups is None else len(groups))
    if any(len(column) != rows for column in columns):
        raise ValueError("columns have the same number of rows")
    limbs = [_limbs_needed(column) for column in columns]
    return [_moments(columns, limbs, index) for index in _rows_by_group(groups, rows, number)]


def bin_index(values: Integers, edges: Sequence[int]) -> Integers:
    """Between which of the edges, which increase, each value lies, from 0 on; -1 outside. The last bin has both edges."""
    bins = np.searchsorted(np.asarray(edges, np.int64), values, side="right") - 1
    bins[values == edges[-1]] = len(edges) - 2
    bins[bins > len(edges) - 2] = -1
    return bins


def group_histogram(column: Integers, edges: Sequence[int], groups: Integers | None, number: int) -> list[list[int]]:
    """Counts by group between consecutive fixed-point edges, as ``numpy.histogram``: [e0, e1), .., [e_k-1, e_k].

    Values outside are not counted. Raises ``ValueError`` for fewer than two edges, or edges that do not increase.
    """
    column = _checked(column)
    if len(edges) < 2 or any(a >= b for a, b in pairwise(edges)):
        raise ValueError("a histogram needs two or more strictly increasing edges")
    if not all(-RANGE < edge < RANGE for edge in edges):
        raise ValueError("the edges' magnitudes are below 2^62")
    counts = []
    for index in _rows_by_group(groups, len(column), number):
        bins = bin_index(column[index], edges)
        counts.append([int(each) for each in np.bincount(bins + 1, minlength=len(edges))[1:]])
    return counts


def mean(moments: Moments, i: int, scale: int) -> float:
    """The mean of column i. Raises :class:`SingularMoments` without rows."""
    _need(moments, 1)
    return float(Fraction(moments.sums[i], moments.count * 10**scale))


def covariance(moments: Moments, i: int, j: int, scale_i: int, scale_j: int, ddof: int = 1) -> float:
    """The covariance (the variance for i = j) with divisor count - ddof. Raises :class:`SingularMoments` for few rows."""
    return float(_covariance(moments, i, j, scale_i + scale_j, ddof))


def deviation(moments: Moments, i: int, scale: int, ddof: int = 1) -> float:
    """The standard deviation with divisor count - ddof. Raises :class:`SingularMoments` for few rows."""
    return _root(_covariance(moments, i, i, 2 * scale, ddof))


def correlation(moments: Moments, i: int, j: int) -> float:
    """Pearson's correlation. Raises :class:`SingularMoments` when a column does not vary."""
    _need(moments, 2)
    spread = moments.scatter(i, i) * moments.scatter(j, j)
    if spread == 0:
        raise SingularMoments("a correlation needs columns that vary")
    shared = moments.scatter(i, j)
    root = _root(Fraction(shared * shared, spread))
    return -root if shared < 0 else root


@dataclass(frozen=True)
class Regression:
    """An ordinary least-squares fit with intercept, in the columns' own units."""

    intercept: float
    coefficients: tuple[float, ...]
    r_squared: float | None  # None when the target does not vary
    residual_deviation: float | None  # with divisor count - regressors - 1; None when that is 0


def least_squares(moments: Moments, target: int, regressors: Sequence[int], scales: Sequence[int]) -> Regression:
    """Solve the normal equations exactly; ``scales`` are those of all columns.

    Raises :class:`SingularMoments` when the regressors depend linearly on one another or rows are too few.
    """
    _need(moments, len(regressors) + 1)
    matrix = [[Fraction(moments.scatter(i, j)) for j in regressors] for i in regressors]
    right = [Fraction(moments.scatter(i, target)) for i in regressors]
    slopes = _solve(matrix, right)
    explained = sum((slope * moments.scatter(i, target) for slope, i in zip(slopes, regressors, strict=True)), Fraction(0))
    total = moments.scatter(target, target)
    free = moments.count - len(regressors) - 1
    residual = (total - explained) / (moments.count * 100 ** scales[target])  # the residual sum of squares
    intercept = moments.sums[target] - sum(
        (slope * moments.sums[i] for slope, i in zip(slopes, regressors, strict=True)), Fraction(0)
    )
    return Regression(
        float(Fraction(intercept) / (moments.count * 10 ** scales[target])),
        tuple(float(slope * Fraction(10) ** (scales[i] - scales[target])) for slope, i in zip(slopes, regressors, strict=True)),
        float(explained / total) if total else None,
        _root(residual / free) if free else None,
    )


def _checked(column: Integers) -> Integers:
    if column.ndim != 1 or column.dtype != np.int64:
        raise ValueError("a column is a one-dimensional int64 array")
    if len(column) and (int(column.max()) >= RANGE or int(column.min()) <= -RANGE):
        raise ValueError("a value's magnitude is 2^62 or more: use a smaller scale")
    return column


def _limbs_needed(column: Integers) -> int:
    largest = max(int(column.max()), -int(column.min())) if len(column) else 0
    return max(1, -(-largest.bit_length() // _LIMB))


def _rows_by_group(groups: Integers | None, rows: int, number: int) -> Iterator[slice | NDArray[np.intp]]:
    """The row indices of each group."""
    if number < 1:
        raise ValueError("there is at least one group")
    if groups is None:
        yield slice(0, rows)
        yield from [slice(0, 0)] * (number - 1)
        return
    if len(groups) != rows or (rows and not (int(groups.min()) >= -1 and int(groups.max()) < number)):
        raise ValueError(f"each row has a group index of -1 to {number - 1}")
    order = np.argsort(groups, kind="stable")
    bounds = np.searchsorted(groups[order], np.arange(number + 1))
    for low, high in pairwise(bounds):
        yield order[low:high]


def _moments(columns: Sequence[Integers], limbs: Sequence[int], index: slice | NDArray[np.intp]) -> Moments:
    rows = index.stop if isinstance(index, slice) else len(index)
    width = 1 + sum(limbs)  # a column of ones in front gives the sums along with the products
    total = np.zeros((width, width), dtype=object)
    pending = np.zeros((width, width), dtype=np.int64)
    block = np.ones((width, min(_CHUNK, max(rows, 1))))
    for step, start in enumerate(range(0, rows, _CHUNK)):
        part: slice | NDArray[np.intp]
        part = slice(start, min(start + _CHUNK, rows)) if isinstance(index, slice) else index[start : start + _CHUNK]
        size = min(_CHUNK, rows - start)
        at = 1
        for column, number in zip(columns, limbs, strict=True):
            _split(column[part], block[at : at + number, :size])
            at += number
        piece = block[:, :size]
        pending += (piece @ piece.T).astype(np.int64)
        if step % _FLUSH == _FLUSH - 1:
            total += pending.astype(object)
            pending[:] = 0
    total += pending.astype(object)
    starts = [1 + sum(limbs[:i]) for i in range(len(limbs))]

    def entry(i: int, j: int) -> int:
        return sum(int(total[starts[i] + a, starts[j] + b]) << (_LIMB * (a + b)) for a in range(limbs[i]) for b in range(limbs[j]))

    sums = tuple(
        sum(int(total[0, start + a]) << (_LIMB * a) for a in range(number)) for start, number in zip(starts, limbs, strict=True)
    )
    return Moments(rows, sums, tuple(entry(i, j) for i in range(len(columns)) for j in range(i, len(columns))))


def _split(values: Integers, rows: NDArray[np.float64]) -> None:
    """Write the limbs of ``values``, each with the value's sign, into ``rows``."""
    if len(rows) == 1:
        rows[0] = values
        return
    sign = np.sign(values)
    rest = np.abs(values)
    for row in rows:
        np.multiply(rest & ((1 << _LIMB) - 1), sign, out=row)
        rest >>= _LIMB


def _need(moments: Moments, rows: int) -> None:
    if moments.count < rows:
        raise SingularMoments(f"the statistic needs {rows} or more rows; there are {moments.count}")


def _covariance(moments: Moments, i: int, j: int, scale: int, ddof: int) -> Fraction:
    _need(moments, max(ddof, 0) + 1)
    return Fraction(moments.scatter(i, j), moments.count * (moments.count - ddof) * 10**scale)


def _root(square: Fraction) -> float:
    """The float64 nearest to the square root: 70 bits and a sticky one are enough to round as the exact root would.

    Raises :class:`SingularMoments` for a negative square: some owner put in totals that no rows have.
    """
    if square < 0:
        raise SingularMoments("no rows have these totals")
    if square == 0:
        return 0.0
    shift = max(0, 70 - (square.numerator.bit_length() - square.denominator.bit_length()) // 2)
    scaled, rest = divmod(square.numerator << (2 * shift), square.denominator)
    root = isqrt(scaled)
    sticky = 1 if rest or root * root != scaled else 0
    return float(Fraction(2 * root + sticky, 2 << shift))


def _solve(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Gauss-Jordan elimination in exact rationals."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for k in range(size):
        pivot = next((r for r in range(k, size) if rows[r][k]), None)
        if pivot is None:
            raise SingularMoments("the regressors depend linearly on one another")
        rows[k], rows[pivot] = rows[pivot], rows[k]
        inverse = 1 / rows[k][k]
        rows[k] = [each * inverse for each in rows[k]]
        for r in range(size):
            if r != k and rows[r][k]:
                factor = rows[r][k]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[k], strict=True)]
    return [row[size] for row in rows]

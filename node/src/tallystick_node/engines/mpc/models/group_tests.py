"""Numeric columns compared between two secret groups of rows: t-tests, the area under the ROC curve, Kolmogorov and Smirnov's gap.

A group column holds integers 0 and 1. ``tests`` are pairs of a column's number and a group's; all tests of a call share the rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.mpc.array import concatenate, cumsum, sort_by, sqrt
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.array.value import apply, real

FRACTION = 20  # most bits after the point of quotients
MAX_ROWS = (1 << 20) - 1  # which are below 2^(40 - FRACTION)
STILL = 16  # units in the last place of variance that errors alone may give
Tests = Sequence[tuple[int, int]]


def large_enough(groups: SecretArray, minimum: int) -> SecretArray:
    """For each group column an integer: 1 where the ones and the zeros are ``minimum`` rows or more each."""
    ones = groups.sum(axis=0)
    return ((ones >= minimum) & (ones <= groups.shape[0] - minimum)).astype(int)


def t_tests(columns: SecretArray, groups: SecretArray, tests: Tests, *, pooled: bool) -> tuple[SecretArray, ...]:
    """For each test t (the ones' mean less the zeros'), its degrees of freedom, and whether it exists.

    Without ``pooled`` it is Welch's (Biometrika 34, 1947). Columns are fixed point of the order of 1. The test exists, an integer
    1, where the variance within the groups is above :data:`STILL` units in the last place. The relative error is about 2^-16, and
    the absolute one of t about 4 sqrt(rows) units over the deviation.
    """
    rows = columns.shape[0]
    centred = real(columns) - real(columns).mean(axis=0)
    bits = min(centred.kind.fraction, FRACTION)
    squares = centred * centred
    ones = _chosen(groups.sum(axis=0), [group for _, group in tests])
    sizes = concatenate([ones, rows - ones])
    sums, energies = (_reduced(_both(each, groups, tests), bits) for each in (centred, squares))
    whole = np.full(len(sizes), float(rows))
    first = concatenate([sums, whole]) / real(concatenate([sizes, sizes]), bits)
    means, shares = first[: len(sizes)], first[len(sizes) :]
    within = energies - sizes * (means * means)
    difference = (means[: len(ones)] - means[len(ones) :]) * math.sqrt(rows)
    common = (within[: len(ones)] + within[len(ones) :]) / max(rows - 2, 1)
    exists = (common > STILL / (1 << bits)).astype(int)
    if pooled:
        spread = common * (shares[: len(ones)] + shares[len(ones) :])
        freedom = common * 0 + (rows - 2)
        return difference / sqrt(spread), freedom, exists
    second = concatenate([within, whole]) / real(concatenate([sizes - 1, sizes - 1]), bits)
    variances, inverse = second[: len(sizes)] * shares, second[len(sizes) :]
    spread = variances[: len(ones)] + variances[len(ones) :]
    parts = concatenate([difference, variances]) / concatenate([sqrt(spread), spread, spread])
    weights = parts[len(ones) :]
    terms = weights * weights * inverse
    return parts[: len(ones)], float(rows) / (terms[: len(ones)] + terms[len(ones) :]), exists


def wins_by_rank(ranks: SecretArray, groups: SecretArray, tests: Tests) -> SecretArray:
    """For each test twice Mann and Whitney's U: pairs in which the one has more than the zero, ties counted half. Exact.

    ``ranks``: of each column twice the ranks from 1, means for ties, as an owner of all its rows knows them.
    """
    ones = _chosen(groups.sum(axis=0), [group for _, group in tests])
    return _picked(ranks.T @ groups, tests) - ones * (ones + 1)


def wins_by_sorting(keys: SecretArray, groups: SecretArray, tests: Tests, bits: int) -> SecretArray:
    """The same from secret integer keys below 2^(bits - 1): sorted once with the ones behind their ties, and once before them."""
    found = []
    for column, group in tests:
        labels = groups[:, group]
        total = labels.sum()
        twice = -total * (total - 1)
        for behind in (labels, 1 - labels):
            _, moved = sort_by(keys[:, column] * 2 + behind, labels, bits=bits)
            twice = twice + total * keys.shape[0] - cumsum(moved).sum()  # the ones' places from 0, added up
        found.append(twice.reshape(1))
    return concatenate(found)


def gaps(keys: SecretArray, groups: SecretArray, tests: Tests, bits: int) -> SecretArray:
    """For each test the greatest distance of the two groups' distribution functions, times ones times zeros: an exact integer."""
    rows = keys.shape[0]
    found = []
    for column, group in tests:
        ordered, labels = sort_by(keys[:, column], groups[:, group], bits=bits)
        last = concatenate([ordered[1:] != ordered[:-1], np.ones(1, np.bool_)])  # of equal keys: only there the functions are final
        distance = abs(cumsum(labels * rows - labels.sum()))
        found.append((distance * last.astype(int)).max().reshape(1))
    return concatenate(found)


def _both(columns: SecretArray, groups: SecretArray, tests: Tests) -> SecretArray:
    """For each test the column's sum over the ones, and then over the zeros: shape (2 x tests,)."""
    ones = _picked(columns.T @ groups, tests)
    return concatenate([ones, _chosen(columns.sum(axis=0), [column for column, _ in tests]) - ones])


def _reduced(array: SecretArray, bits: int) -> SecretArray:
    return array if array.kind.fraction == bits else apply("cast", array, kind=f"fixed:{bits}")


def _picked(matrix: SecretArray, tests: Tests) -> SecretArray:
    return concatenate([matrix[row : row + 1, column] for row, column in tests])


def _chosen(vector: SecretArray, places: Sequence[int]) -> SecretArray:
    return concatenate([vector[place : place + 1] for place in places])

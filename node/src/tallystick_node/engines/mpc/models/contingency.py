"""Tables of two secret categorical columns, and Pearson's chi-square test of their independence."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.mpc.array import column_stack, concatenate
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.array.value import real

MAX_ROWS = (1 << 22) - 1  # divisors are below 2^22


def fraction_for(rows: int) -> int:
    """The bits after the point with which statistics of counts are computed: as many as quotients and products leave room for."""
    bits = rows.bit_length()
    return min(24, (61 - bits) // 2, 40 - bits)


def chi_square(table: SecretArray, rows: int, minimum: int) -> tuple[SecretArray, SecretArray]:
    """Pearson's statistic of a table of counts, fixed point, and its degrees of freedom, an integer.

    ``rows``, at most :data:`MAX_ROWS`, is the public sum of the cells. Categories without rows are left out, as from a table in
    the clear; where another has fewer rows than ``minimum``, both results are 0. With T the cells, R and C the margins and n the
    rows the statistic is the sum of d/n times d/(R C) for d = n T - R C, an exact integer: the relative error is about 2^-17, and
    the absolute one about 4 units in the last place for each row by which a cell differs from what is expected.
    """
    bits = fraction_for(rows)
    height, width = table.shape
    down, across = table.sum(axis=1), table.sum(axis=0)
    margins = concatenate([down, across])
    present, small = margins > 0, margins < minimum
    occurs = present.astype(int)
    wrong = (present & small).astype(int).sum() > 0
    answered = (~wrong).astype(int)
    divisors = margins + (1 - occurs)  # no division by 0: such a line of differences is 0
    by_row = _repeated(divisors[:height].reshape(height, 1), width)
    by_column = _repeated(divisors[height:].reshape(width, 1), height).T
    difference = table * rows - down.reshape(height, 1) * across.reshape(1, width)
    twice = real(concatenate([difference, difference]), bits)
    divisors_of_both = concatenate([_repeated(table[:, :1] * 0 + rows, width), by_row])
    first = twice / real(divisors_of_both, bits)
    second = first[height:] / real(by_column, bits)
    freedom = (occurs[:height].sum() - 1) * (occurs[height:].sum() - 1)
    return (first[:height] * second).sum() * answered, freedom * answered


def contingency(first: SecretArray, second: SecretArray) -> SecretArray:
    """How many rows are of each two categories, from indicators of shapes (rows, r) and (rows, c)."""
    return first.T @ second


def _repeated(column: SecretArray, width: int) -> SecretArray:
    return column_stack([column] * width) if width > 1 else column * np.int64(1)

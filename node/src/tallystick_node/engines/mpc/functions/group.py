"""Aggregation by groups, of secret keys or of a small public domain.

Of secret keys, rows are sorted by key, the last row of each group takes the running totals, and these rows are moved to the front
by :func:`arrange`. So nothing is opened but a uniform permutation: neither which rows belong together, nor how many groups there
are. The number of groups is a result like the others: who may know it reveals it.
"""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.mpc.functions.batch import constant, plus, stack
from tallystick_node.engines.mpc.functions.compare import not_equal, one_hot
from tallystick_node.engines.mpc.functions.sort import arrange, sort_by
from tallystick_node.engines.mpc.protocol import Protocol, Shares, concatenate


def group_sums(protocol: Protocol, keys: Shares, *values: Shares, limit: int | None = None, bits: int = 44) -> tuple[Shares, ...]:
    """The number of groups, and in the order of keys each group's key, count, and sum of each vector of values.

    The number is an integer scalar; counts are integers; sums are exact below 2^62. Vectors have ``limit`` rows (None: as many as
    there are keys), zeros behind the last group; where the number is above the limit, the groups of the largest keys are missing.
    Domain: as for :func:`sort_by`, whose cost this has, and two comparisons, one conversion and an arrangement for each row.
    """
    count = _checked(keys, values, limit)
    keys, *values_ = sort_by(protocol, keys, *values, bits=bits)
    totals = [_running(each) for each in values_]
    counts = protocol.public(np.arange(1, keys.size + 1, dtype=np.uint64))
    number, present, rows = _last_rows(protocol, [keys, counts, *totals], count)
    # The row before is the total up to the group; behind the last group it is no row of ours.
    before = [concatenate([constant(protocol, (min(count, 1),), 0), each[:-1]]) for each in rows[1:]]
    groups = [each - less for each, less in zip(rows[1:], _where(protocol, present, before), strict=True)]
    return number, rows[0], *groups


def group_extremes(
    protocol: Protocol, keys: Shares, values: Shares, *, limit: int | None = None, bits: int = 44
) -> tuple[Shares, Shares, Shares, Shares]:
    """The number of groups, and in the order of keys each group's key, smallest and largest value.

    Shapes, domain (of values as well) and leakage as for :func:`group_sums`; rows behind the last group are zero. Two sorts.
    """
    count = _checked(keys, (values,), limit)
    values, keys = sort_by(protocol, values, keys, bits=bits)
    keys, values = sort_by(protocol, keys, values, bits=bits)  # stable: values stay sorted within a group
    following = concatenate([values[1:], values[:1]])  # behind a group's last row stands the smallest of the next group
    number, present, (key, largest, next_smallest) = _last_rows(protocol, [keys, values, following], count)
    shifted = concatenate([values[: min(count, 1)], next_smallest[:-1]])
    (smallest,) = _where(protocol, present, [shifted])
    return number, key, smallest, largest


def unique(protocol: Protocol, keys: Shares, *, limit: int | None = None, bits: int = 44) -> tuple[Shares, ...]:
    """The number of different keys, these in order, and how often each occurs: :func:`group_sums` of no values."""
    return group_sums(protocol, keys, limit=limit, bits=bits)


def group_public(protocol: Protocol, keys: Shares, *values: Shares, size: int, fraction: int = 0) -> tuple[Shares, ...]:
    """For each key 0..size-1 of a public domain, its count (an integer), and its sum of each vector of values.

    Exact below 2^62. A key outside the domain counts nowhere; one that is not whole, as its floor. ``fraction`` is that of the
    keys. One :func:`one_hot` and one matrix product.
    """
    _checked(keys, values, None)
    chosen = one_hot(protocol, keys, size=size, fraction=fraction)
    counts = chosen.sum(axis=0)
    if not values:
        return (counts,)
    sums = protocol.matmul(stack(values), chosen)
    return counts, *(sums[number] for number in range(len(values)))


def _checked(keys: Shares, values: tuple[Shares, ...], limit: int | None) -> int:
    if len(keys.shape) != 1 or any(each.shape != keys.shape for each in values):
        raise ValueError("keys and values are vectors of one length")
    if limit is not None and limit < 1:
        raise ValueError("a limit is one group or more")
    return keys.size if limit is None else min(limit, keys.size)


def _running(values: Shares) -> Shares:
    return values.map(lambda part: np.cumsum(part, dtype=np.uint64))


def _last_rows(protocol: Protocol, rows: list[Shares], count: int) -> tuple[Shares, Shares, list[Shares]]:
    """Of rows sorted by the first array: the number of groups; 1 for the first so many of ``count`` rows; and these rows, the last
    of each group in order, zero behind them."""
    keys = rows[0]
    if not keys.size:
        return constant(protocol, (), 0), keys, rows
    ends = concatenate([protocol.to_arithmetic(not_equal(protocol, keys[1:], keys[:-1])), constant(protocol, (1,), 1)])
    reached = _running(ends)
    number = reached[-1]
    others = protocol.public(np.arange(keys.size, dtype=np.uint64)) - reached
    others = others + number.map(lambda part: np.broadcast_to(part, keys.shape))  # place of a row that ends no group
    own = plus(protocol, reached, -1)  # place of one that does
    moved, *kept = _where(protocol, ends, [own - others, *rows])
    present, *first = arrange(protocol, others + moved, ends, *kept)
    return number, present[:count], [each[:count] for each in first]


def _where(protocol: Protocol, weights: Shares, arrays: list[Shares]) -> list[Shares]:
    """Arrays where the weight is 1, zero where it is 0."""
    products = protocol.multiply(stack([weights] * len(arrays)), stack(arrays))
    return [products[number] for number in range(len(arrays))]

"""Order statistics: the first few, medians and quantiles, ranks. What is opened on the way says nothing: see :mod:`sort`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.mpc.functions.batch import stack
from tallystick_node.engines.mpc.functions.divide import scale
from tallystick_node.engines.mpc.functions.sort import argsort, arrange, ordered
from tallystick_node.engines.mpc.protocol import Protocol, Shares


def top_k(protocol: Protocol, keys: Shares, *payload: Shares, k: int, bits: int = 44, largest: bool = True) -> tuple[Shares, ...]:
    """The k largest (or smallest) of a vector, best first, and rows of other arrays along with them; of equals the first ones.

    Exact; domain as for :func:`sort_by`. About 3 n comparisons for a small k, in as many batches as a sort.
    """
    if not 0 <= k <= keys.size:
        raise ValueError(f"there are {keys.size} numbers to choose {k} from")
    wanted = np.arange(keys.size) < k
    (table,) = ordered(protocol, [(keys, *payload)], wanted, bits=bits, descending=largest)
    return tuple(each[:k] for each in table)


def argtop_k(protocol: Protocol, keys: Shares, *, k: int, bits: int = 44, largest: bool = True) -> Shares:
    """The places of the k largest (or smallest), best first, as integers: see :func:`top_k`."""
    places = protocol.public(np.arange(keys.size, dtype=np.uint64))
    return top_k(protocol, keys, places, k=k, bits=bits, largest=largest)[1]


def quantile(protocol: Protocol, secret: Shares, *, q: float | Sequence[float], bits: int = 44) -> Shares:
    """Quantiles of a vector, or of each column of a matrix, with NumPy's ``linear`` interpolation.

    The shape is NumPy's: that of ``q``, followed by the columns. At most 1.6 ulps from NumPy's, exact where q (n - 1) is whole.
    Domain: as for :func:`sort_by`, and |x| below 2^54; ValueError for no numbers. Few comparisons for each number when there are
    few quantiles; columns share the rounds, except of the shuffles.
    """
    if len(secret.shape) not in {1, 2} or not secret.shape[0]:
        raise ValueError("quantiles are of a vector or of the columns of a matrix, with one number or more")
    chosen = np.asarray(q, np.float64)
    if chosen.size and not (chosen.min() >= 0 and chosen.max() <= 1):  # a NaN compares false
        raise ValueError("a quantile is between 0 and 1")
    count = secret.shape[0]
    columns = secret.reshape(count, -1)
    places = chosen.reshape(-1) * (count - 1)
    below = np.floor(places).astype(np.int64)
    above = np.minimum(below + 1, count - 1)
    part = places - below
    wanted: NDArray[np.bool_] = np.zeros(count, np.bool_)
    wanted[below] = True
    wanted[above[part > 0]] = True
    tables = ordered(protocol, [(_column(columns, number),) for number in range(columns.shape[1])], wanted, bits=bits)
    low, high = (_rows(tables, columns, at) for at in (below, above))
    result = low
    if np.any(part):
        result = low + scale(protocol, high - low, factor=part[:, None], bits=min(bits + 1, 56))
    return result.reshape(*chosen.shape, *secret.shape[1:])


def _column(matrix: Shares, number: int) -> Shares:
    return matrix.map(lambda part: np.ascontiguousarray(part[:, number]))


def _rows(tables: Sequence[tuple[Shares, ...]], matrix: Shares, at: NDArray[np.int64]) -> Shares:
    """Rows of the matrix whose columns are ordered in the tables."""
    if not tables:
        return matrix[at]
    return stack([table[0][at] for table in tables]).map(lambda part: np.ascontiguousarray(part.T))


def median(protocol: Protocol, secret: Shares, *, bits: int = 44) -> Shares:
    """The median of a vector, or of each column of a matrix: see :func:`quantile`."""
    return quantile(protocol, secret, q=0.5, bits=bits)


def rank(protocol: Protocol, keys: Shares, *, bits: int = 44) -> Shares:
    """Of each element of a vector, its place in the sorted one, from 0; equal ones by place. Exact. A sort and an arrangement."""
    places = argsort(protocol, keys, bits=bits)
    return arrange(protocol, places, protocol.public(np.arange(keys.size, dtype=np.uint64)))[0]

"""Sorting, shuffling and moving rows of secrets.

Sorting follows Hamada, Kikuchi, Ikarashi, Chida and Takahashi (ICISC 2012): shuffle, then sort by comparisons whose outcomes are
opened. Why the opened bits say nothing: rows are compared by (key, place before the shuffle), a strict total order in which no two
rows are equal, so the rank of each shuffled row is a function of the secret uniform permutation alone: for every key, equal keys
included, the order of the shuffled rows is itself a uniform permutation. The place before the shuffle is secret too; breaking ties
by the place after it, which is public, would show which keys are equal. The bits depend on that order and on nothing else, so a
simulator draws a uniform permutation and answers from it. Ties by place make the sort stable.

All this needs keys whose differences do not wrap. So it is tested first that every key lies in the domain, which an owner of data
may have missed by mistake or on purpose; what is opened is one bit: whether all do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.mpc.functions.batch import stack, times
from tallystick_node.engines.mpc.functions.ranking import Places, ranked
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares, concatenate
from tallystick_node.engines.mpc.ring import OutOfRange


def shuffle(protocol: Protocol, *rows: Shares) -> tuple[Shares, ...]:
    """Arrays of one first dimension, permuted along it by one uniform permutation that no party knows."""
    return tuple(protocol.shuffle(rows))


def sort(protocol: Protocol, keys: Shares, *, bits: int = 44, descending: bool = False) -> Shares:
    """A vector in order: see :func:`sort_by`."""
    return sort_by(protocol, keys, bits=bits, descending=descending)[0]


def argsort(protocol: Protocol, keys: Shares, *, bits: int = 44, descending: bool = False) -> Shares:
    """The places of a vector's elements in order, as integers; equal ones by place. See :func:`sort_by`."""
    places = protocol.public(np.arange(keys.size, dtype=np.uint64))
    return sort_by(protocol, keys, places, bits=bits, descending=descending)[1]


def sort_by(protocol: Protocol, keys: Shares, *payload: Shares, bits: int = 44, descending: bool = False) -> tuple[Shares, ...]:
    """A vector of integers or fixed-point numbers in order, and rows of other arrays moved along with it. Exact and stable.

    Domain: |key| below 2^bits ulps, ``bits`` at most 62; for others OutOfRange is raised. While bits and the length of a place
    (log2 n) make at most 62, one comparison orders two rows; beyond, three in the rounds of one, and an AND. About 1.2 n log2 n
    comparisons, in 22 batches for 10^5 rows and one for at most 512; two for each key besides; one shuffle of all rows.
    """
    return ordered(protocol, [(keys, *payload)], np.ones(keys.size, np.bool_), bits=bits, descending=descending)[0]


def ordered(
    protocol: Protocol,
    tables: Sequence[tuple[Shares, ...]],
    wanted: NDArray[np.bool_],
    *,
    bits: int,
    descending: bool = False,
) -> list[tuple[Shares, ...]]:
    """Each table (keys, *payload), of one length, in the order of its keys as far as the wanted ranks ask, in shared rounds.

    Tables are shuffled apart: one permutation for two of them would show how their orders relate.
    """
    count = len(wanted)
    if any(table[0].shape != (count,) or any(each.shape[:1] != (count,) for each in table) for table in tables):
        raise ValueError("keys are a vector, and all rows are of its length")
    if not 1 <= bits <= 62:
        raise ValueError("keys have 1 to 62 bits")
    if count < 2 or not tables:
        return list(tables)
    places = protocol.public(np.arange(count, dtype=np.uint64))
    shuffled = [protocol.shuffle([table[0], places, *table[1:]]) for table in tables]
    keys = concatenate([each[0] for each in shuffled])
    _require_below(protocol, keys, bits)
    places = concatenate([each[1] for each in shuffled])
    comparison = _Comparison(protocol, -keys if descending else keys, places, bits, count)
    order = ranked(
        comparison.opened,
        np.arange(len(tables)) * count,
        np.full(len(tables), count),
        np.tile(wanted, len(tables)),
    )
    results = []
    for number, (each, *others) in enumerate((rows[0], *rows[2:]) for rows in shuffled):
        own = order[number * count : (number + 1) * count] - number * count
        results.append((each[own], *(other[own] for other in others)))
    return results


def _require_below(protocol: Protocol, keys: Shares, bits: int) -> None:
    """Raise OutOfRange unless every |key| is below 2^bits: neither the key nor its negative, less 2^bits - 1, is above 0."""
    most = protocol.public(np.full(keys.shape, (1 << bits) - 1, np.uint64))
    inside = protocol.not_(protocol.negative(concatenate([most + keys, most - keys])))
    while inside.size > 1:
        half = inside.size // 2
        both = protocol.and_(inside[:half], inside[half : 2 * half])
        rest = inside[2 * half :]
        inside = Binary(tuple(np.concatenate(pair) for pair in zip(both.parts, rest.parts, strict=True)))
    opened = protocol.reveal_binary(inside)
    assert opened is not None
    if not opened[0]:
        raise OutOfRange(f"a key that is sorted by is not below 2^{bits} units in the last place")


class _Comparison:
    """Opens, for pairs of shuffled rows, whether the left one comes first by (key, place before the shuffle)."""

    def __init__(self, protocol: Protocol, keys: Shares, places: Shares, bits: int, count: int) -> None:
        length = (count - 1).bit_length()
        self._protocol = protocol
        self._joined = bits + length <= 62
        # In one number, or as the two rows of a matrix.
        self._rows = (times(keys, 1 << length) + places) if self._joined else stack([keys, places])
        self._last: Places | None = None
        self._left = self._rows

    def opened(self, left: Places, right: Places) -> NDArray[np.bool_]:
        """The same bits at every party."""
        protocol = self._protocol
        if left is not self._last:  # gathered once for all levels of a search
            self._last, self._left = left, self._rows[..., left]
        gap = self._left - self._rows[..., right]
        if self._joined:
            bits = protocol.negative(gap)
        else:
            signs = protocol.negative(concatenate([gap, -gap[:1]]))
            same = protocol.not_(signs[0] ^ signs[2])
            bits = signs[0] ^ protocol.and_(same, signs[1])
        opened = protocol.reveal_binary(bits)
        assert opened is not None
        return opened.astype(np.bool_)


def arrange(protocol: Protocol, destinations: Shares, *rows: Shares) -> tuple[Shares, ...]:
    """Rows moved to secret places: row i of each array becomes row destinations[i] of its result. Exact.

    The destinations are a permutation of 0..n-1. They are opened after a shuffle that no party knows, as a uniform permutation:
    nothing is learned. Raises ValueError when they are none. One shuffle and one opening.
    """
    if destinations.size < 2:
        return rows
    where, *moved = protocol.shuffle([destinations, *rows])
    opened = protocol.reveal(where)
    assert opened is not None
    order = np.argsort(opened)
    if np.any(opened[order] != np.arange(len(order), dtype=np.uint64)):
        raise ValueError("destinations are each of 0 to n - 1 once")
    return tuple(each[order] for each in moved)

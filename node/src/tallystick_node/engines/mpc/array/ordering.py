"""Functions of secret arrays that put them in order, or in groups of equal keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.array.value import apply, apply_many, number, real
from tallystick_node.engines.mpc.plan.kinds import decimal_text

BITS = 44  # keys of an ordering are below 2^44 units in the last place, unless its caller says else


def sort(x: SecretArray, *, descending: bool = False, bits: int = BITS) -> SecretArray:
    """A vector in order."""
    return apply("sort", number(x), descending=descending, bits=bits)


def sort_by(keys: SecretArray, *rows: SecretArray, descending: bool = False, bits: int = BITS) -> tuple[SecretArray, ...]:
    """Keys in order, and rows of other arrays moved along with them. Stable."""
    return apply_many("sort", number(keys), *map(number, rows), descending=descending, bits=bits)


def argsort(x: SecretArray, *, descending: bool = False, bits: int = BITS) -> SecretArray:
    """The places of a vector's elements in order. Stable."""
    return apply("argsort", number(x), descending=descending, bits=bits)


def rank(x: SecretArray, *, bits: int = BITS) -> SecretArray:
    """Of each element its place in the sorted vector."""
    return apply("rank", number(x), bits=bits)


def top_k(keys: SecretArray, *rows: SecretArray, k: int, largest: bool = True, bits: int = BITS) -> tuple[SecretArray, ...]:
    """The k greatest (or least) keys, best first, and the rows that go with them."""
    return apply_many("top_k", number(keys), *map(number, rows), k=k, largest=largest, bits=bits)


def quantile(x: SecretArray, q: float | Sequence[float], *, bits: int = BITS) -> SecretArray:
    """Quantiles of a vector or of each column, as NumPy interpolates by default."""
    levels = np.atleast_1d(np.asarray(q, np.float64))
    found = apply("quantile", real(x), q=[decimal_text(float(each)) for each in levels], bits=bits)
    return found if np.ndim(q) else found[0]


def median(x: SecretArray, *, bits: int = BITS) -> SecretArray:
    """The median of a vector, or of each column."""
    return quantile(x, 0.5, bits=bits)


def group_by(keys: SecretArray, *values: SecretArray, limit: int | None = None, bits: int = BITS) -> tuple[SecretArray, ...]:
    """The number of groups of equal secret keys; each group's key, count, and sum of each vector of values, padded with zeros."""
    return apply_many("group_sums", number(keys), *map(number, values), limit=limit, bits=bits)


def group_extremes(
    keys: SecretArray, values: SecretArray, *, limit: int | None = None, bits: int = BITS
) -> tuple[SecretArray, ...]:
    """The number of groups of equal secret keys; each group's key, least and greatest value."""
    return apply_many("group_extremes", number(keys), number(values), limit=limit, bits=bits)


def group_public(keys: SecretArray, *values: SecretArray, size: int) -> tuple[SecretArray, ...]:
    """For each integer key 0..size-1 its count, and its sum of each vector of values."""
    return apply_many("group_public", number(keys), *map(number, values), size=size)


def unique(keys: SecretArray, *, limit: int | None = None, bits: int = BITS) -> tuple[SecretArray, ...]:
    """The number of different keys, these in order, and how often each occurs."""
    return group_by(keys, limit=limit, bits=bits)

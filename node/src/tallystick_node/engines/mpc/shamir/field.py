"""Arrays of elements of the prime field of p = 2^61 - 1: uint64, always reduced.

p is a Mersenne prime, so that 2^61 = 1: a product is folded by shifts, on four products of 32-bit halves that vector units have.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tallystick_node.engines.compiled import compiled, inlined
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.mpc.ring import OutOfRange

BITS = 61
ORDER = (1 << BITS) - 1
MAGNITUDE = 1 << 60  # of an integer that has an element of its own

Elements = NDArray[np.uint64]

_P = np.uint64(ORDER)
_BITS = np.uint64(BITS)
_HALF = np.uint64(32)
_LOW = np.uint64((1 << 32) - 1)
_FOLD = np.uint64(29)  # 2^32 2^29 = 1
_LOW_FOLD = np.uint64((1 << 29) - 1)
_PIECE = 1 << 11


def encode(values: ArrayLike) -> Elements:
    """The elements of integers below 2^60 in magnitude. Raises OutOfRange; TypeError for what is no integer."""
    given = np.asarray(values)
    if given.dtype.kind not in "iub":
        raise TypeError("integers are expected")
    if given.size and (int(given.max()) >= MAGNITUDE or int(given.min()) <= -MAGNITUDE):
        raise OutOfRange("a number is 2^60 or more in magnitude")
    whole = given.astype(np.int64)
    return np.where(whole < 0, whole + ORDER, whole).astype(np.uint64)


def decode(elements: Elements) -> NDArray[np.int64]:
    """The integers of elements: those above p / 2 are negative."""
    whole = elements.astype(np.int64)
    return np.where(whole >= MAGNITUDE, whole - ORDER, whole)


def are_elements(words: Elements) -> bool:
    """Whether every word is an element."""
    return bool(np.all(words < _P))


def random(shape: tuple[int, ...]) -> Elements:
    """Uniform elements, from a fresh seed of the operating system expanded by AES-128-CTR."""
    stream = Stream(secrets.token_bytes(SEED))
    return expand(stream, shape)


def expand(stream: Stream, shape: tuple[int, ...]) -> Elements:
    """The next uniform elements of a stream."""
    drawn: Elements = stream.elements(shape)
    drawn &= _P
    while (wrong := drawn == _P).any():
        drawn[wrong] = stream.elements((int(wrong.sum()),)) & _P
    return drawn


def add(left: Elements, right: Elements) -> Elements:
    """Element by element."""
    added = left + right
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum(added, added - _P))  # below p the difference wraps around


def negate(elements: Elements) -> Elements:
    """Element by element."""
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum(_P - elements, np.uint64(0) - elements))  # p - 0 is no element


def multiply(left: Elements, right: Elements | np.uint64) -> Elements:
    """Element by element, of shapes that broadcast."""
    a, b = np.broadcast_arrays(left, right)
    out = np.empty(a.shape, np.uint64)
    _multiply(out.reshape(-1), np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1))
    return out


def total(elements: Elements, axis: int | None = None) -> Elements:
    """The sum along an axis, or of all; of fewer than 2^29 terms."""
    high = np.asarray((elements >> _HALF).sum(axis=axis, dtype=np.uint64))
    low = np.asarray((elements & _LOW).sum(axis=axis, dtype=np.uint64))
    return add(multiply(high % _P, np.uint64(1 << 32)), low % _P)


def combine(matrix: Sequence[Sequence[int]], rows: Sequence[Elements]) -> list[Elements]:
    """The product of a public matrix, of integers modulo p, and arrays of one shape: each output one linear combination of them."""
    if not matrix:
        return []
    shape = rows[0].shape
    flat = np.stack([row.reshape(-1) for row in rows])
    out = np.zeros((len(matrix), flat.shape[1]), np.uint64)
    _combine(out, np.array(matrix, np.uint64), flat)
    return [row.reshape(shape) for row in out]


@inlined
def _times(a: np.uint64, b: np.uint64) -> np.uint64:
    """A number that is a b modulo p and below p + 4."""
    a1, a0, b1, b0 = a >> _HALF, a & _LOW, b >> _HALF, b & _LOW
    middle = a1 * b0 + a0 * b1  # below 2^62
    low = a0 * b0
    product = ((a1 * b1) << np.uint64(3)) + (middle >> _FOLD) + ((middle & _LOW_FOLD) << _HALF) + (low & _P) + (low >> _BITS)
    return (product & _P) + (product >> _BITS)


@compiled
def _multiply(out: Elements, left: Elements, right: Elements) -> None:
    for i in range(len(out)):
        product = _times(left[i], right[i])
        out[i] = min(product, product - _P)


@compiled
def _combine(out: Elements, matrix: Elements, rows: Elements) -> None:
    size = out.shape[1]
    for start in range(0, size, _PIECE):
        stop = min(start + _PIECE, size)
        for target in range(len(matrix)):
            sums = out[target, start:stop]
            for source in range(len(rows)):
                factor = matrix[target, source]
                terms = rows[source, start:stop]
                for i in range(len(sums)):
                    added = sums[i] + _times(terms[i], factor)
                    sums[i] = (added & _P) + (added >> _BITS)
            for i in range(len(sums)):
                sums[i] = min(sums[i], sums[i] - _P)

"""Matrix products in the ring, which every party does with what it holds.

Two terms of an inner product take one multiplication and two additions more (Winograd, A New Algorithm for Inner Product, IEEE
Transactions on Computers, 1968):

    a p + b q = (a + q) (b + p) - a b - p q

where the sums of a b and of p q are those of a row and of a column alone: they are taken once for all products that the row or the
column is part of. A 64-bit multiplication takes a vector unit three times as long as an addition."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.ring import Ring

_WIDE = 9  # columns from which rows of the right matrix are passed over; below, columns are
_FEW = 8  # rows of the left matrix up to which the right one is not worth making ready
_DEEP, _BROAD = 96, 512  # rows and columns of a block of the right matrix
_LINE = 64  # bytes of a line of the cache: vectors that lie across two take twice as long


class Right:
    """A right factor for any number of left ones: it is made ready once."""

    def __init__(self, matrix: Ring) -> None:
        self._matrix = matrix
        self._pairs: Ring | None = None

    def add(self, out: Ring, left: Ring) -> None:
        """out += left @ right."""
        right = self._matrix
        if right.shape[1] == 1 and left.T.flags.c_contiguous:  # the product's transpose needs no copy of a transposed matrix
            _add_row(out.reshape(-1), np.ascontiguousarray(right).reshape(-1), left.T)
        elif right.shape[1] < _WIDE:
            _add_columns(out, np.ascontiguousarray(left), np.ascontiguousarray(right.T))
        elif left.shape[0] < _FEW and self._pairs is None:  # what is ready lies in blocks
            self._matrix = np.ascontiguousarray(right)
            for row, factors in enumerate(left):
                _add_row(out[row], np.ascontiguousarray(factors), self._matrix)
        else:
            _add_rows(out, np.ascontiguousarray(left), *self._ready())

    def _ready(self) -> tuple[Ring, Ring]:
        if self._pairs is None:
            given = np.ascontiguousarray(self._matrix)
            self._matrix = aligned(given.shape)
            self._pairs = np.zeros(given.shape[1], np.uint64)
            _make_ready(given, self._matrix.reshape(-1), self._pairs)
        return self._matrix, self._pairs


def add_product(out: Ring, left: Ring, right: Ring) -> None:
    """out += left @ right in the ring."""
    Right(right).add(out, left)


def aligned(shape: tuple[int, ...]) -> Ring:
    """Memory for an array, which begins with a line of the cache."""
    size = 8 * int(np.prod(shape, dtype=np.int64))
    raw = np.empty(size + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size].view(np.uint64).reshape(shape)


@compiled
def _make_ready(right: Ring, out: Ring, pairs: Ring) -> None:
    """The blocks of ``right``, one after the other, and for each column the sum of the products of its neighbours 0 and 1, 2 and 3,
    ..."""
    inner, columns = right.shape
    place = 0
    for top in range(0, inner, _DEEP):
        bottom = min(top + _DEEP, inner)
        for start in range(0, columns, _BROAD):
            stop = min(start + _BROAD, columns)
            for k in range(top, bottom):
                out[place : place + stop - start] = right[k, start:stop]
                place += stop - start
    for k in range(0, inner - 1, 2):
        p, q = right[k], right[k + 1]
        for j in range(columns):
            pairs[j] += p[j] * q[j]


@compiled
def _add_rows(out: Ring, left: Ring, ready: Ring, pairs: Ring) -> None:
    """Four rows of ``left`` by four rows of a block of the right matrix at a time: four of them and as many of ``out`` stay in the
    first cache, a block in the second."""
    rows, inner, columns = left.shape[0], left.shape[1], ready.shape[1]
    blocks = ready.reshape(-1)
    for row in range(rows):
        x, r = left[row], out[row]
        own = np.uint64(0)
        for k in range(0, inner - 1, 2):
            own += x[k] * x[k + 1]
        for j in range(columns):
            r[j] -= own + pairs[j]
    for top in range(0, inner, _DEEP):
        depth = min(_DEEP, inner - top)
        even, full = depth // 2 * 2, depth // 4 * 4
        for start in range(0, columns, _BROAD):
            width = min(_BROAD, columns - start)
            stop, begin = start + width, top * columns + depth * start
            block = blocks[begin : begin + depth * width]
            for row in range(0, rows - 3, 4):
                x0, x1, x2, x3 = left[row, top:], left[row + 1, top:], left[row + 2, top:], left[row + 3, top:]
                r0, r1, r2, r3 = out[row, start:stop], out[row + 1, start:stop], out[row + 2, start:stop], out[row + 3, start:stop]
                for k in range(0, full, 4):
                    a0, b0, c0, d0 = x0[k], x0[k + 1], x0[k + 2], x0[k + 3]
                    a1, b1, c1, d1 = x1[k], x1[k + 1], x1[k + 2], x1[k + 3]
                    a2, b2, c2, d2 = x2[k], x2[k + 1], x2[k + 2], x2[k + 3]
                    a3, b3, c3, d3 = x3[k], x3[k + 1], x3[k + 2], x3[k + 3]
                    at = k * width
                    p, q = block[at : at + width], block[at + width : at + 2 * width]
                    s, t = block[at + 2 * width : at + 3 * width], block[at + 3 * width : at + 4 * width]
                    for j in range(width):
                        r0[j] += (a0 + q[j]) * (b0 + p[j]) + (c0 + t[j]) * (d0 + s[j])
                        r1[j] += (a1 + q[j]) * (b1 + p[j]) + (c1 + t[j]) * (d1 + s[j])
                        r2[j] += (a2 + q[j]) * (b2 + p[j]) + (c2 + t[j]) * (d2 + s[j])
                        r3[j] += (a3 + q[j]) * (b3 + p[j]) + (c3 + t[j]) * (d3 + s[j])
                if full < even:
                    a0, b0, a1, b1 = x0[full], x0[full + 1], x1[full], x1[full + 1]
                    a2, b2, a3, b3 = x2[full], x2[full + 1], x3[full], x3[full + 1]
                    at = full * width
                    p, q = block[at : at + width], block[at + width : at + 2 * width]
                    for j in range(width):
                        r0[j] += (a0 + q[j]) * (b0 + p[j])
                        r1[j] += (a1 + q[j]) * (b1 + p[j])
                        r2[j] += (a2 + q[j]) * (b2 + p[j])
                        r3[j] += (a3 + q[j]) * (b3 + p[j])
            for row in range(rows // 4 * 4, rows):
                x0, r0 = left[row, top:], out[row, start:stop]
                for k in range(0, even, 2):
                    a0, b0, at = x0[k], x0[k + 1], k * width
                    p, q = block[at : at + width], block[at + width : at + 2 * width]
                    for j in range(width):
                        r0[j] += (a0 + q[j]) * (b0 + p[j])
            if even < depth:
                p = block[even * width :]
                for row in range(rows):
                    a0, r0 = left[row, top + even], out[row, start:stop]
                    for j in range(width):
                        r0[j] += a0 * p[j]


@compiled
def _add_row(out: Ring, left: Ring, right: Ring) -> None:
    """out += left @ right for a row: four rows of ``right`` at a time."""
    full = left.size // 4 * 4
    for k in range(0, full, 4):
        a, b, c, d = left[k], left[k + 1], left[k + 2], left[k + 3]
        p, q, s, t = right[k], right[k + 1], right[k + 2], right[k + 3]
        for j in range(out.size):
            out[j] += a * p[j] + b * q[j] + c * s[j] + d * t[j]
    for k in range(full, left.size):
        a, p = left[k], right[k]
        for j in range(out.size):
            out[j] += a * p[j]


@compiled
def _add_columns(out: Ring, left: Ring, columns: Ring) -> None:
    """out += left @ columns.T: inner products."""
    for row in range(left.shape[0]):
        x = left[row]
        for column in range(columns.shape[0]):
            y = columns[column]
            total = np.uint64(0)
            for k in range(len(x)):
                total += x[k] * y[k]
            out[row, column] += total

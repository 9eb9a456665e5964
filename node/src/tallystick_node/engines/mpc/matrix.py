"""Matrix products in the ring, which every party does with what it holds."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.ring import Ring

_WIDE = 9  # columns from which rows of the right matrix are passed over; below, columns are


def add_product(out: Ring, left: Ring, right: Ring) -> None:
    """out += left @ right in the ring."""
    if right.shape[1] == 1 and left.T.flags.c_contiguous:  # a transposed matrix: the product's transpose needs no copy of it
        _add_rows(out.reshape(1, -1), np.ascontiguousarray(right).reshape(1, -1), left.T)
    elif right.shape[1] < _WIDE:
        _add_columns(out, np.ascontiguousarray(left), np.ascontiguousarray(right.T))
    else:
        _add_rows(out, np.ascontiguousarray(left), np.ascontiguousarray(right))


@compiled
def _add_rows(out: Ring, left: Ring, right: Ring) -> None:
    """Four rows of ``left`` by four rows of ``right`` at a time; 512 columns stay in the first cache, 96 rows of them in the
    second."""
    rows, inner, columns = left.shape[0], left.shape[1], right.shape[1]
    for top in range(0, inner, 96):
        bottom = min(top + 96, inner)
        full = top + (bottom - top) // 4 * 4
        for start in range(0, columns, 512):
            stop = min(start + 512, columns)
            for row in range(0, rows - 3, 4):
                x0, x1, x2, x3 = left[row], left[row + 1], left[row + 2], left[row + 3]
                r0, r1, r2, r3 = out[row, start:stop], out[row + 1, start:stop], out[row + 2, start:stop], out[row + 3, start:stop]
                for k in range(top, full, 4):
                    a0, b0, c0, d0 = x0[k], x0[k + 1], x0[k + 2], x0[k + 3]
                    a1, b1, c1, d1 = x1[k], x1[k + 1], x1[k + 2], x1[k + 3]
                    a2, b2, c2, d2 = x2[k], x2[k + 1], x2[k + 2], x2[k + 3]
                    a3, b3, c3, d3 = x3[k], x3[k + 1], x3[k + 2], x3[k + 3]
                    p, q = right[k, start:stop], right[k + 1, start:stop]
                    s, t = right[k + 2, start:stop], right[k + 3, start:stop]
                    for j in range(stop - start):
                        r0[j] += a0 * p[j] + b0 * q[j] + c0 * s[j] + d0 * t[j]
                        r1[j] += a1 * p[j] + b1 * q[j] + c1 * s[j] + d1 * t[j]
                        r2[j] += a2 * p[j] + b2 * q[j] + c2 * s[j] + d2 * t[j]
                        r3[j] += a3 * p[j] + b3 * q[j] + c3 * s[j] + d3 * t[j]
                for k in range(full, bottom):
                    a0, a1, a2, a3 = x0[k], x1[k], x2[k], x3[k]
                    p = right[k, start:stop]
                    for j in range(stop - start):
                        r0[j] += a0 * p[j]
                        r1[j] += a1 * p[j]
                        r2[j] += a2 * p[j]
                        r3[j] += a3 * p[j]
            for row in range(rows // 4 * 4, rows):
                r0 = out[row, start:stop]
                for k in range(top, bottom):
                    a0, p = left[row, k], right[k, start:stop]
                    for j in range(stop - start):
                        r0[j] += a0 * p[j]


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

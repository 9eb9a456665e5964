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
    """Four rows of ``left`` by two rows of ``right`` at a time; 512 columns stay in the first cache, 96 rows of them in the
    second."""
    rows, inner, columns = left.shape[0], left.shape[1], right.shape[1]
    for top in range(0, inner, 96):
        bottom = min(top + 96, inner)
        paired = top + (bottom - top) // 2 * 2
        for start in range(0, columns, 512):
            stop = min(start + 512, columns)
            for row in range(0, rows - 3, 4):
                r0, r1, r2, r3 = out[row, start:stop], out[row + 1, start:stop], out[row + 2, start:stop], out[row + 3, start:stop]
                for k in range(top, paired, 2):
                    a0, a1, a2, a3 = left[row, k], left[row + 1, k], left[row + 2, k], left[row + 3, k]
                    b0, b1, b2, b3 = left[row, k + 1], left[row + 1, k + 1], left[row + 2, k + 1], left[row + 3, k + 1]
                    even, odd = right[k, start:stop], right[k + 1, start:stop]
                    for j in range(stop - start):
                        r0[j] += a0 * even[j] + b0 * odd[j]
                        r1[j] += a1 * even[j] + b1 * odd[j]
                        r2[j] += a2 * even[j] + b2 * odd[j]
                        r3[j] += a3 * even[j] + b3 * odd[j]
                for k in range(paired, bottom):
                    a0, a1, a2, a3 = left[row, k], left[row + 1, k], left[row + 2, k], left[row + 3, k]
                    even = right[k, start:stop]
                    for j in range(stop - start):
                        r0[j] += a0 * even[j]
                        r1[j] += a1 * even[j]
                        r2[j] += a2 * even[j]
                        r3[j] += a3 * even[j]
            for row in range(rows // 4 * 4, rows):
                r0 = out[row, start:stop]
                for k in range(top, bottom):
                    a0, even = left[row, k], right[k, start:stop]
                    for j in range(stop - start):
                        r0[j] += a0 * even[j]


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

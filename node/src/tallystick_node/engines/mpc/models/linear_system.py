"""Systems of linear equations with a secret, symmetric, positive definite matrix."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.mpc.array import concatenate
from tallystick_node.engines.mpc.array.secret import SecretArray


def solve(matrix: SecretArray, right: SecretArray) -> SecretArray:
    """x with ``matrix`` x = ``right``; shapes (d, d) and (d, k), fixed point, the matrix symmetric and positive definite.

    Gauss-Jordan elimination without exchange of rows: its pivots are those of Cholesky's decomposition, which are positive and need
    no search (Golub and Van Loan, *Matrix Computations*, section 4.2). Every pivot must be at least 2^-8, every entry below 2^10:
    divide the equations by the number of rows and add a ridge. The relative error is about 2^-12 times the condition number at 20
    fraction bits. Rounds: those of a quotient and two products for each of the d unknowns.
    """
    size = matrix.shape[0]
    if matrix.shape != (size, size) or right.ndim != 2 or right.shape[0] != size:
        raise ValueError(f"no system of equations has a matrix of shape {matrix.shape} and a right side of shape {right.shape}")
    table = concatenate([matrix, right], axis=1)
    for pivot in range(size):
        row = table[pivot : pivot + 1, :] / table[pivot, pivot]
        others = np.arange(size) != pivot
        column = table[:, pivot : pivot + 1] * others.astype(np.int64)[:, None]  # not of the pivot's own row
        kept = table * others.astype(np.int64)[:, None]
        unit = np.zeros((size, 1), np.int64)
        unit[pivot] = 1
        table = kept - column @ row + row * unit
    return table[:, size:]

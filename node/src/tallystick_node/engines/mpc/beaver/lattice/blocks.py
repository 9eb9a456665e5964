"""Blocks of matrices as polynomials (Huang, Lu, Hong and Ding, "Cheetah", USENIX Security 2022, section 3.1.1).

For blocks of (m, k) and (k, n) with m k n at most 8192, x = sum of X_ij z^(i n k + k - 1 - j) and y = sum of Y_jl z^(l k + j): in
their product the coefficient of z^(i n k + l k + k - 1) is the inner product of row i and column l. What overflows z^8192 comes
back below z^(k - 1), where no result is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.mpc.beaver.lattice.transform import N
from tallystick_node.engines.mpc.ring import Ring

DEEPEST = 32  # blocks along the inner length: their products are added up under one noise (:mod:`scheme`)


@dataclass(frozen=True)
class Blocks:
    """How matrices of (rows, inner) and (inner, columns) are cut into blocks of (m, k) and (k, n)."""

    rows: int
    inner: int
    columns: int
    m: int
    k: int
    n: int

    @classmethod
    def of(cls, rows: int, inner: int, columns: int) -> Blocks:
        """The cut into powers of two with the fewest polynomials to send."""
        sizes = [1 << bits for bits in range(N.bit_length())]
        choices = [
            cls(rows, inner, columns, m, k, N // (m * k))
            for m in sizes
            for k in sizes
            if m * k <= N and m < 2 * rows and k < 2 * inner and inner <= DEEPEST * k
        ]
        return min(choices, key=lambda cut: cut.counts[0] * cut.counts[1] + cut.counts[1] * cut.counts[2] + 2 * cut.results)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many blocks there are along rows, inner length and columns."""
        return -(-self.rows // self.m), -(-self.inner // self.k), -(-self.columns // self.n)

    @property
    def results(self) -> int:
        """How many polynomials the result takes."""
        return self.counts[0] * self.counts[2]

    def left(self, matrix: Ring) -> Ring:
        """The polynomials of the left matrix, one for each block, row by row."""
        i, j, _ = self.counts
        padded = np.zeros((i * self.m, j * self.k), np.uint64)
        padded[: self.rows, : self.inner] = matrix
        cut = padded.reshape(i, self.m, j, self.k).transpose(0, 2, 1, 3)[..., ::-1]
        out = np.zeros((i, j, self.m, self.n, self.k), np.uint64)
        out[:, :, :, 0, :] = cut
        return out.reshape(i * j, N)

    def right(self, matrix: Ring) -> Ring:
        """The polynomials of the right matrix."""
        _, j, across = self.counts
        padded = np.zeros((j * self.k, across * self.n), np.uint64)
        padded[: self.inner, : self.columns] = matrix
        cut = padded.reshape(j, self.k, across, self.n).transpose(0, 2, 3, 1)
        out = np.zeros((j, across, self.m, self.n, self.k), np.uint64)
        out[:, :, 0, :, :] = cut
        return out.reshape(j * across, N)

    def products(self) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """The numbers of the result's, the left and the right polynomial of every product that is needed."""
        rows, inner, columns = self.counts
        i, across, j = (index.reshape(-1) for index in np.indices((rows, columns, inner)))
        return np.stack([i * columns + across, i * inner + j, j * columns + across], axis=1)

    def result(self, polynomials: Ring) -> Ring:
        """The matrix that the result's polynomials hold."""
        i, _, across = self.counts
        cut = polynomials.reshape(i, across, self.m, self.n, self.k)[..., self.k - 1]
        return cut.transpose(0, 2, 1, 3).reshape(i * self.m, across * self.n)[: self.rows, : self.columns]

"""The number-theoretic transform of polynomials modulo X^8192 + 1: products become products of values, one by one.

Of the 13 levels the first six work on rows of 128 coefficients, all of one factor; then the 64 x 128 coefficients are transposed,
and the other seven work on rows of 64 that have a factor each. So every loop is over neighbours in memory. The values come out in
an order of their own, the same for all primes; nothing here needs another. (Longa and Naehrig, CANS 2016, for the order of
factors.)"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.beaver.lattice.modular import reduced, times

N = 8192

Residues = NDArray[np.float64]

_ROWS, _COLUMNS = 64, 128


@dataclass(frozen=True)
class Modulus:
    """A prime p = 1 mod 2 N below 2^48, with the factors of its transforms."""

    p: int
    outer: Residues
    inner: Residues
    outer_back: Residues
    inner_back: Residues

    @classmethod
    @cache
    def of(cls, p: int) -> Modulus:
        """With the powers of a root of -1, which are computed once."""
        root = next(power for base in range(2, p) if pow(power := pow(base, (p - 1) // (2 * N), p), N, p) == p - 1)
        return cls(p, *_factors(root, p), *_factors(pow(root, -1, p), p))

    def forward(self, polynomials: Residues) -> None:
        """Transform rows of N coefficients, each within p of zero, in place."""
        _forward(polynomials.reshape(-1, N), self.outer, self.inner, float(self.p), 1 / self.p)

    def backward(self, polynomials: Residues) -> None:
        """Undo :meth:`forward`."""
        scale = float(pow(N, -1, self.p))
        _backward(polynomials.reshape(-1, N), self.outer_back, self.inner_back, float(self.p), 1 / self.p, scale)


def _factors(root: int, p: int) -> tuple[Residues, Residues]:
    """Factor j of all levels is the root to the power of j with its 13 bits reversed; level m has the factors m to 2 m - 1."""
    powers = [1]
    for _ in range(N - 1):
        powers.append(powers[-1] * root % p)
    bits = N.bit_length() - 1
    factors = [powers[int(f"{j:0{bits}b}"[::-1], 2)] for j in range(N)]
    balanced = np.array([factor - p if factor > p // 2 else factor for factor in factors], np.float64)
    inner = np.zeros((_COLUMNS, _ROWS))
    for level in range(_COLUMNS.bit_length() - 1):
        m = 1 << level
        inner[m : 2 * m] = balanced[_ROWS * m : 2 * _ROWS * m].reshape(_ROWS, m).T
    return balanced[:_ROWS].copy(), inner


@compiled
def _forward(polynomials: Residues, outer: Residues, inner: Residues, p: float, inverse: float) -> None:
    turned = np.empty(N)
    for number in range(len(polynomials)):
        a = polynomials[number]
        blocks, half = 1, _ROWS // 2
        while half:
            for block in range(blocks):
                factor = outer[blocks + block]
                for row in range(2 * half * block, 2 * half * block + half):
                    low, high = row * _COLUMNS, (row + half) * _COLUMNS
                    for i in range(_COLUMNS):
                        product = times(a[high + i], factor, p, inverse)
                        a[high + i] = a[low + i] - product
                        a[low + i] += product
            blocks, half = 2 * blocks, half // 2
        for row in range(_ROWS):
            for i in range(_COLUMNS):
                turned[i * _ROWS + row] = a[row * _COLUMNS + i]
        blocks, half = 1, _COLUMNS // 2
        while half:
            for block in range(blocks):
                factors = inner[blocks + block]
                for row in range(2 * half * block, 2 * half * block + half):
                    low, high = row * _ROWS, (row + half) * _ROWS
                    for i in range(_ROWS):
                        product = times(turned[high + i], factors[i], p, inverse)
                        turned[high + i] = turned[low + i] - product
                        turned[low + i] += product
            blocks, half = 2 * blocks, half // 2
        for i in range(N):
            a[i] = reduced(turned[i], p, inverse)


@compiled
def _backward(polynomials: Residues, outer: Residues, inner: Residues, p: float, inverse: float, scale: float) -> None:
    turned = np.empty(N)
    for number in range(len(polynomials)):
        a = polynomials[number]
        blocks, half = _COLUMNS // 2, 1
        while blocks:
            for block in range(blocks):
                factors = inner[blocks + block]
                for row in range(2 * half * block, 2 * half * block + half):
                    low, high = row * _ROWS, (row + half) * _ROWS
                    for i in range(_ROWS):
                        difference = a[low + i] - a[high + i]
                        a[low + i] = reduced(a[low + i] + a[high + i], p, inverse)
                        a[high + i] = times(difference, factors[i], p, inverse)
            blocks, half = blocks // 2, 2 * half
        for row in range(_COLUMNS):
            for i in range(_ROWS):
                turned[i * _COLUMNS + row] = a[row * _ROWS + i]
        blocks, half = _ROWS // 2, 1
        while blocks:
            for block in range(blocks):
                factor = outer[blocks + block]
                for row in range(2 * half * block, 2 * half * block + half):
                    low, high = row * _COLUMNS, (row + half) * _COLUMNS
                    for i in range(_COLUMNS):
                        difference = turned[low + i] - turned[high + i]
                        turned[low + i] = reduced(turned[low + i] + turned[high + i], p, inverse)
                        turned[high + i] = times(difference, factor, p, inverse)
            blocks, half = blocks // 2, 2 * half
        for i in range(N):
            a[i] = reduced(times(turned[i], scale, p, inverse), p, inverse)

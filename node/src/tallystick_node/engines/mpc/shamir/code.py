"""Shares as words of a Reed-Solomon code: interpolation, consistency, and finding what is wrong.

The shares of a secret under a polynomial of degree t at n points are a codeword of distance n - t: up to n - t - 1 wrong shares are
noticed, and up to (n - t - 1) / 2 are found (Berlekamp and Welch, US patent 4,633,470, 1986). All elements of an array are one word
of an interleaved code: wrong are whole parties, so that one random combination of the elements tells which, but for a chance of
n 2^-61.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.mpc.shamir import field
from tallystick_node.engines.mpc.shamir.field import ORDER, Elements


class Inconsistent(Exception):  # noqa: N818 - a verdict on shares
    """Shares do not lie on one polynomial of the degree, and which of ``points`` are wrong cannot be told; or they are too few."""

    def __init__(self, points: Sequence[int], rule: str) -> None:
        super().__init__(f"the shares of points {', '.join(map(str, points))} {rule}")
        self.points = tuple(points)


@dataclass(frozen=True)
class Reconstruction:
    """The values, and the points whose shares were wrong and left out."""

    values: Elements
    wrong: tuple[int, ...]


def deal(values: Elements, degree: int, points: Sequence[int]) -> list[Elements]:
    """Shares of values at nonzero points, by fresh random polynomials of the degree."""
    coefficients = field.random((degree, *values.shape))
    return field.combine([[pow(point, k, ORDER) for k in range(degree + 1)] for point in points], [values, *coefficients])


def lagrange(points: Sequence[int], at: int = 0) -> list[int]:
    """The weights by which values at ``points`` add up to that at ``at``, for polynomials of a degree below their number."""
    weights = []
    for point in points:
        above, below = 1, 1
        for other in points:
            if other != point:
                above = above * (at - other) % ORDER
                below = below * (point - other) % ORDER
        weights.append(above * pow(below, -1, ORDER) % ORDER)
    return weights


def parity(points: Sequence[int], degree: int) -> list[list[int]]:
    """The combinations of values at ``points`` that are zero for every polynomial of the degree; one for each point after the
    first ``degree`` + 1."""
    base, rest = points[: degree + 1], range(degree + 1, len(points))
    checks = []
    for place in rest:
        check = [*lagrange(base, points[place]), *(0 for _ in rest)]
        check[place] = ORDER - 1
        checks.append(check)
    return checks


def reconstruct(shares: Mapping[int, Elements], degree: int, at: int = 0) -> Reconstruction:
    """The values at ``at`` of the polynomials that shares, by point, lie on.

    More than ``degree`` + 1 shares are checked against one another. Wrong ones are found and left out while they are at most half
    of the surplus. Raises Inconsistent when there are more, or too few shares.
    """
    points = sorted(shares)
    if len(points) <= degree:
        raise Inconsistent(points, f"are too few for the degree {degree}")
    wrong: tuple[int, ...] = ()
    if not _fit(shares, points, degree):
        size = shares[points[0]].size
        weights = field.random((size,))
        word = [int(field.total(field.multiply(shares[point].reshape(-1), weights))) for point in points]
        wrong = _wrong(points, word, degree)
        if not wrong:
            raise Inconsistent(sorted(shares), f"fit no polynomial of degree {degree}, and which are wrong cannot be told")
    base = [point for point in points if point not in wrong][: degree + 1]
    (values,) = field.combine([lagrange(base, at)], [shares[point] for point in base])
    return Reconstruction(values, wrong)


def _fit(shares: Mapping[int, Elements], points: Sequence[int], degree: int) -> bool:
    checks = field.combine(parity(points, degree), [shares[point] for point in points])
    return not any(np.any(check) for check in checks)


def _wrong(points: Sequence[int], word: Sequence[int], degree: int) -> tuple[int, ...]:
    """The points whose values are off the one polynomial of the degree that all but half of the surplus lie on; none if there is
    no such polynomial.

    With E the monic polynomial that is zero at the wrong points and Q = P E, each point gives Q(x) = y E(x), linear in the
    coefficients; where E is not zero, y lies on P.
    """
    most = (len(points) - degree - 1) // 2
    equations = [
        [
            *(pow(x, k, ORDER) for k in range(degree + most + 1)),
            *(-y * pow(x, k, ORDER) % ORDER for k in range(most)),
            y * pow(x, most, ORDER) % ORDER,
        ]
        for x, y in zip(points, word, strict=True)
    ]
    solution = _solve(equations)
    if solution is None:
        return ()
    error = [*solution[degree + most + 1 :], 1]
    values = dict(zip(points, word, strict=True))
    base = [x for x in points if _at(error, x)][: degree + 1]
    wrong = tuple(
        x for x in points if values[x] != sum(w * values[b] for w, b in zip(lagrange(base, x), base, strict=True)) % ORDER
    )
    return wrong if len(wrong) <= most else ()


def _at(coefficients: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % ORDER
    return value


def _solve(equations: list[list[int]]) -> list[int] | None:
    """A solution of linear equations modulo p, each the coefficients and the right side; None if there is none."""
    unknowns = len(equations[0]) - 1
    pivots: list[int] = []
    for column in range(unknowns):
        row = len(pivots)
        found = next((i for i in range(row, len(equations)) if equations[i][column]), None)
        if found is None:
            continue
        equations[row], equations[found] = equations[found], equations[row]
        scale = pow(equations[row][column], -1, ORDER)
        equations[row] = [entry * scale % ORDER for entry in equations[row]]
        for i in range(len(equations)):
            factor = equations[i][column]
            if i != row and factor:
                equations[i] = [(a - factor * b) % ORDER for a, b in zip(equations[i], equations[row], strict=True)]
        pivots.append(column)
    if any(equation[-1] for equation in equations[len(pivots) :]):
        return None
    solution = [0] * unknowns
    for row, column in enumerate(pivots):
        solution[column] = equations[row][-1]
    return solution

"""Set-up and prover of Groth (EUROCRYPT 2016, section 3.2) for one small circuit, over py_ecc: nothing here is the product's.

The circuit: "I know w with w w = y", with the public inputs x (the attempt's) and y. Each public input has a constraint of its own
that it times zero is zero, as snarkjs writes circuits: it keeps the inputs' polynomials apart from all others'.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from py_ecc import optimized_bn128 as curve
from py_ecc.optimized_bn128 import G1, G2

R: int = curve.curve_order
# Variables: one, x, y, w. A row is what is multiplied with what, and what that gives.
ROWS = (
    ({3: 1}, {3: 1}, {2: 1}),
    ({0: 1}, {}, {}),
    ({1: 1}, {}, {}),
    ({2: 1}, {}, {}),
)
VARIABLES, PUBLIC = 4, 3
Polynomial = list[int]  # coefficients, lowest first
Point = Any


def times(left: Polynomial, right: Polynomial) -> Polynomial:
    product = [0] * (len(left) + len(right) - 1)
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            product[i + j] = (product[i + j] + a * b) % R
    return product


def at(polynomial: Polynomial, x: int) -> int:
    return sum(c * pow(x, k, R) for k, c in enumerate(polynomial)) % R


def plus(*polynomials: Polynomial) -> Polynomial:
    size = max(map(len, polynomials))
    return [sum(each[k] for each in polynomials if k < len(each)) % R for k in range(size)]


@cache
def lagrange(place: int) -> tuple[int, ...]:
    """One at ``place`` + 1, zero at the other rows' points."""
    made, scale = [1], 1
    for other in range(len(ROWS)):
        if other != place:
            made = times(made, [-(other + 1) % R, 1])
            scale = scale * (place - other) % R
    return tuple(c * pow(scale, -1, R) % R for c in made)


def column(side: int, variable: int) -> Polynomial:
    parts = [[row[side].get(variable, 0) * c % R for c in lagrange(k)] for k, row in enumerate(ROWS)]
    return plus(*parts)


COLUMNS = [[column(side, variable) for variable in range(VARIABLES)] for side in range(3)]
TARGET: Polynomial = [1]
for _row in range(len(ROWS)):
    TARGET = times(TARGET, [-(_row + 1) % R, 1])


def quotient(values: Sequence[int]) -> Polynomial:
    """h with A B - C = h TARGET."""
    a, b, c = (plus(*([v * k % R for k in COLUMNS[side][i]] for i, v in enumerate(values))) for side in range(3))
    rest = plus(times(a, b), [-k % R for k in c])
    found = [0] * (len(rest) - len(TARGET) + 1)
    for k in range(len(found) - 1, -1, -1):
        found[k] = rest[k + len(TARGET) - 1]
        for j, coefficient in enumerate(TARGET):
            rest[k + j] = (rest[k + j] - found[k] * coefficient) % R
    assert not any(rest), "the values do not satisfy the circuit"
    return found


@dataclass(frozen=True)
class SetUp:
    """The toxic waste of a set-up."""

    tau: int
    alpha: int
    beta: int
    gamma: int
    delta: int

    def verifying(self) -> tuple[Point, ...]:
        """alpha, beta, gamma, delta, and the points of one and the public inputs."""
        inverse = pow(self.gamma, -1, R)
        points = (mul(G1, self._mixed(i) * inverse) for i in range(PUBLIC))
        return mul(G1, self.alpha), mul(G2, self.beta), mul(G2, self.gamma), mul(G2, self.delta), *points

    def proving(self) -> dict[str, Any]:
        inverse = pow(self.delta, -1, R)
        left, right = ([at(COLUMNS[side][i], self.tau) for i in range(VARIABLES)] for side in (0, 1))
        powers = [pow(self.tau, k, R) * at(TARGET, self.tau) * inverse for k in range(len(ROWS) - 1)]
        return {
            "alpha": mul(G1, self.alpha),
            "beta": (mul(G1, self.beta), mul(G2, self.beta)),
            "delta": (mul(G1, self.delta), mul(G2, self.delta)),
            "left": [mul(G1, each) for each in left],
            "right": [(mul(G1, each), mul(G2, each)) for each in right],
            "witness": {i: mul(G1, self._mixed(i) * inverse) for i in range(PUBLIC, VARIABLES)},
            "powers": [mul(G1, each) for each in powers],
        }

    def _mixed(self, i: int) -> int:
        u, v, w = (at(COLUMNS[side][i], self.tau) for side in range(3))
        return (self.beta * u + self.alpha * v + w) % R


def set_up(**given: int) -> SetUp:
    drawn = {name: secrets.randbelow(R - 1) + 1 for name in ("tau", "alpha", "beta", "gamma", "delta")}
    return SetUp(**{**drawn, **given})


def prove(key: dict[str, Any], x: int, w: int) -> tuple[Point, Point, Point]:
    """A, B and C for the public inputs x and w w."""
    values = [1, x, w * w % R, w]
    r, s = secrets.randbelow(R), secrets.randbelow(R)
    a = total(key["alpha"], *(mul(p, v) for p, v in zip(key["left"], values, strict=True)), mul(key["delta"][0], r))
    halves = [
        total(key["beta"][g], *(mul(p[g], v) for p, v in zip(key["right"], values, strict=True)), mul(key["delta"][g], s))
        for g in (0, 1)
    ]
    parts = [mul(key["witness"][i], values[i]) for i in range(PUBLIC, VARIABLES)]
    parts += [mul(p, c) for p, c in zip(key["powers"], quotient(values), strict=False)]
    c = total(*parts, mul(a, s), mul(halves[0], r), mul(key["delta"][0], -r * s))
    return a, halves[1], c


def mul(point: Point, scalar: int) -> Point:
    return curve.multiply(point, scalar % R)


def total(*points: Point) -> Point:
    result = points[0]
    for point in points[1:]:
        result = curve.add(result, point)
    return result


def words(point: Point) -> list[int]:
    """The affine coordinates as the precompiles take them; zeros for infinity."""
    two = not isinstance(point[0], curve.FQ)
    if curve.is_inf(point):
        return [0] * (4 if two else 2)
    x, y = curve.normalize(point)
    if two:
        return [int(x.coeffs[1]), int(x.coeffs[0]), int(y.coeffs[1]), int(y.coeffs[0])]
    return [int(x), int(y)]


def encoded(*points: Point) -> bytes:
    return b"".join(word.to_bytes(32, "big") for point in points for word in words(point))


@cache
def ceremony() -> tuple[SetUp, bytes, dict[str, Any]]:
    """One set-up for all tests, its verifying key in bytes, and its proving key."""
    made = set_up()
    return made, encoded(*made.verifying()), made.proving()


def outside() -> bytes:
    """A point of the second group's curve, for x = 1, that is not of the group's order."""
    y = (  # y y = 1 + 3 / (9 + i)
        18278151005453108793778860132295291098363647455926340152056652516292830556603,
        5912654199736721486680175016176231956195085055698687135131307249486702594212,
    )
    return b"".join(word.to_bytes(32, "big") for word in (0, 1, y[1], y[0]))

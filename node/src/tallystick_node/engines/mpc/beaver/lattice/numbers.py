"""The moduli of the lattice, and how plaintexts get into its residues and out again.

Ciphertexts live modulo Q, the product of four primes of 48 bits, answers modulo the product Q' of two of them. A plaintext
coefficient m modulo t is encrypted as the nearest integer to Q m / t, which is -[Q m]_t / t modulo every prime of Q (Halevi,
Polyakov and Shoup, CT-RSA 2019, for the way back). For matrices t is 2^64. For products one by one t is a product of two primes of
32 bits that split X^8192 + 1 into linear factors; three such t make T, of 192 bits, and a number modulo T is put together by
Garner's method (1959) and wraps only when it comes within a product of 64-bit numbers of T / 2: with probability 2^-62 for uniform
masks."""

from __future__ import annotations

from math import prod

import numpy as np

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.beaver.lattice.modular import reduced, times
from tallystick_node.engines.mpc.beaver.lattice.transform import Modulus, N, Residues
from tallystick_node.engines.mpc.ring import Ring

PRIMES = (281474976694273, 281474976546817, 281474976317441, 281474975662081)
KEPT = 2  # of the primes, in answers
SLOT_PRIMES = (4294475777, 4293918721, 4293836801, 4293230593, 4293181441, 4292984833)
PLAINS = len(SLOT_PRIMES) // 2  # moduli t of two slot primes each

Q = prod(PRIMES)
SMALL = prod(PRIMES[:KEPT])


Signed = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

_P = np.array(PRIMES, np.float64)
_T = np.array(SLOT_PRIMES, np.float64)


def _balanced(value: int, p: int) -> int:
    value %= p
    return value - p if value > p // 2 else value


class Plain:
    """A plaintext modulus t: 2^64, or the product of a pair of slot primes."""

    def __init__(self, factors: tuple[int, ...]) -> None:
        self.t = prod(factors)
        self._scale = np.array([_balanced(-pow(self.t, -1, p), p) for p in PRIMES], np.float64)
        self._down = np.array([_balanced(pow(SMALL // p, -1, p) * self.t, p) for p in PRIMES[:KEPT]], np.float64)

    def scaled(self, u: Signed) -> Residues:
        """-u / t modulo each prime of Q: the nearest integer to Q m / t for u = Q m mod t. Of shape (4, rows, N)."""
        return _lift(u, self._scale, _P)

    def phases(self, residues: Residues) -> tuple[Residues, Residues]:
        """For residues modulo Q' of about Q' m / t, of shape (2, rows, N): rho, of that shape, and the rounding, with m = rounding
        - sum of rho_i / p_i in whatever t consists of."""
        rho = np.empty_like(residues)
        rounding = np.empty(residues.shape[1:])
        _phases(residues, self._down, _P[:KEPT], rho, rounding)
        return rho, rounding


RING = Plain((1 << 64,))
PAIRS = tuple(Plain(SLOT_PRIMES[2 * j : 2 * j + 2]) for j in range(PLAINS))


def lift(u: Signed, factor: int = 1) -> Residues:
    """Integers times a factor modulo each prime of Q, of shape (4, rows, N)."""
    return _lift(u, np.array([_balanced(factor, p) for p in PRIMES], np.float64), _P)


def ring_scale(values: Ring) -> Signed:
    """Q m modulo 2^64."""
    return (values * np.uint64(Q % 2**64)).view(np.int64)


def ring_result(residues: Residues) -> Ring:
    """The values modulo 2^64 that residues modulo Q' stand for."""
    rho, rounding = RING.phases(residues)
    out = rounding.astype(np.int64).view(np.uint64)
    for number, p in enumerate(PRIMES[:KEPT]):
        out -= rho[number].astype(np.int64).view(np.uint64) * np.uint64(pow(p, -1, 1 << 64))
    return out


def slot_residues(values: Ring) -> Residues:
    """64-bit numbers modulo each slot prime, of shape (6, rows, N)."""
    out = np.empty((len(SLOT_PRIMES), *values.shape))
    _split(values, np.array(SLOT_PRIMES, np.uint64), out)
    return out


def slot_coefficients(residues: Residues, *, scaled: bool) -> list[Signed]:
    """The coefficients, modulo each of the three t, of the polynomials that have the given values, or Q times them; the residues
    are used up."""
    out: list[Signed] = []
    for plain in range(PLAINS):
        pair = residues[2 * plain : 2 * plain + 2]
        primes = SLOT_PRIMES[2 * plain : 2 * plain + 2]
        for number, p in enumerate(primes):
            if scaled:
                _multiply(pair[number], float(_balanced(Q, p)), float(p), 1 / p)
            Modulus.of(p).backward(pair[number])
        joined = np.empty(pair.shape[1:], np.int64)
        _join(pair[0], pair[1], primes[0], float(_balanced(pow(primes[0], -1, primes[1]), primes[1])), float(primes[1]), joined)
        out.append(joined)
    return out


def slot_results(answers: list[Residues]) -> Residues:
    """The values modulo each slot prime that residues modulo Q', for each of the three t, stand for."""
    out = np.empty((len(SLOT_PRIMES), *answers[0].shape[1:]))
    for plain, residues in enumerate(answers):
        rho, rounding = PAIRS[plain].phases(residues)
        for number in (2 * plain, 2 * plain + 1):
            t = SLOT_PRIMES[number]
            factors = np.array([_balanced(-pow(p, -1, t), t) for p in PRIMES[:KEPT]], np.float64)
            _gather(rho, rounding, factors, float(t), out[number])
            Modulus.of(t).forward(out[number])
    return out


def slot_sum(residues: Residues) -> Ring:
    """The numbers between -T/2 and T/2 of the given residues, modulo 2^64."""
    count = len(SLOT_PRIMES)
    inverses = np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            inverses[i, j] = _balanced(pow(SLOT_PRIMES[j], -1, SLOT_PRIMES[i]), SLOT_PRIMES[i])
    out = np.empty(residues.shape[1:], np.uint64)
    _garner(residues.reshape(count, -1), inverses, _T, out.reshape(-1))
    return out


# RATIOS[k, i]: the inverse of prime k modulo prime i, for i < k.
RATIOS = np.array([[_balanced(pow(p, -1, other), other) if other != p else 0 for other in PRIMES] for p in PRIMES], np.float64)


@compiled
def _lift(u: Signed, factors: Residues, primes: Residues) -> Residues:
    rows = len(u)
    out = np.empty((len(primes), rows, N))
    for number in range(len(primes)):
        p = primes[number]
        inverse = 1 / p
        factor = factors[number]
        upper = reduced(times(4294967296.0, factor, p, inverse), p, inverse)
        for row in range(rows):
            for i in range(N):
                high = u[row, i] >> np.int64(32)
                low = u[row, i] & np.int64(0xFFFFFFFF)
                total = times(float(high), upper, p, inverse) + times(float(low), factor, p, inverse)
                out[number, row, i] = reduced(total, p, inverse)
    return out


@compiled
def _phases(residues: Residues, factors: Residues, primes: Residues, rho: Residues, rounding: Residues) -> None:
    for row in range(residues.shape[1]):
        for i in range(N):
            total = 0.0
            for number in range(len(primes)):
                p = primes[number]
                value = times(residues[number, row, i], factors[number], p, 1 / p)
                rho[number, row, i] = value
                total += value / p
            rounding[row, i] = np.rint(total)


@compiled
def _split(values: Ring, primes: Ring, out: Residues) -> None:
    for number in range(len(primes)):
        p = primes[number]
        for row in range(values.shape[0]):
            for i in range(N):
                out[number, row, i] = float(values[row, i] % p)


@compiled
def _multiply(values: Residues, factor: float, p: float, inverse: float) -> None:
    for row in range(len(values)):
        for i in range(N):
            values[row, i] = reduced(times(values[row, i], factor, p, inverse), p, inverse)


@compiled
def _join(first: Residues, second: Residues, step: int, ratio: float, t: float, out: Signed) -> None:
    """first + step ((second - first) / step mod t), step and t being the two primes."""
    inverse = 1 / t
    for row in range(len(first)):
        for i in range(N):
            digit = reduced(times(second[row, i] - first[row, i], ratio, t, inverse), t, inverse)
            out[row, i] = np.int64(first[row, i]) + np.int64(step) * np.int64(digit)


@compiled
def _gather(rho: Residues, rounding: Residues, factors: Residues, t: float, out: Residues) -> None:
    inverse = 1 / t
    for row in range(len(out)):
        for i in range(N):
            total = reduced(rounding[row, i], t, inverse)
            for number in range(len(factors)):
                total += times(reduced(rho[number, row, i], t, inverse), factors[number], t, inverse)
            out[row, i] = reduced(total, t, inverse)


@compiled
def _garner(residues: Residues, inverses: Residues, primes: Residues, out: Ring) -> None:
    """Mixed-radix digits, each exactly between -t/2 and t/2, so that every number has one form."""
    count = len(primes)
    digits = np.empty(count)
    for i in range(residues.shape[1]):
        for k in range(count):
            t = primes[k]
            inverse = 1 / t
            value = reduced(residues[k, i], t, inverse)
            for j in range(k):
                value = reduced(times(value - digits[j], inverses[k, j], t, inverse), t, inverse)
            half = (t - 1.0) / 2
            if value > half:
                value -= t
            elif value < -half:
                value += t
            digits[k] = value
        total = np.uint64(0)
        for k in range(count - 1, -1, -1):
            total = total * np.uint64(np.int64(primes[k])) + np.uint64(np.int64(digits[k]))
        out[i] = total

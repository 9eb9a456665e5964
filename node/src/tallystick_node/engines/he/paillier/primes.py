"""The primes of a key.

A prime p here is 3 mod 4 and (p - 1)/2 has no prime factor below 2^16, so that a random h = -x^2 mod n generates, but for a
probability below 2^-9, the largest cyclic group there is: what the short exponents of the encryption rest on.
"""

from __future__ import annotations

import math
import secrets

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.he.paillier.integers import ARITHMETIC

SMALL = 1 << 16
ROUNDS = 40  # of Miller and Rabin: a composite passes with probability at most 2^-80, however it was chosen
_SPAN = 1 << 15


def _small_primes() -> NDArray[np.int64]:
    sieve = np.ones(SMALL, bool)
    sieve[:2] = False
    for number in range(2, int(SMALL**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = False
    return np.flatnonzero(sieve)


SMALL_PRIMES = _small_primes()
SMALL_PRODUCT = math.prod(SMALL_PRIMES.tolist())


def is_prime(number: int) -> bool:
    """Whether ``number`` > 2^16 is prime, but for the error of ``ROUNDS`` rounds of Miller and Rabin with random bases."""
    return number > SMALL and math.gcd(number, SMALL_PRODUCT) == 1 and _passes(ARITHMETIC.integer(number), ROUNDS)


def blum_prime(bits: int) -> int:
    """A random prime of ``bits`` bits, the two highest set, as the module describes.

    Candidates are the numbers 3 mod 4 of a random span of 2^17 that pass the sieve, tried in random order.
    """
    odd = SMALL_PRIMES[1:]
    quarter = np.where(odd % 4 == 3, odd + 1, 3 * odd + 1) // 4  # the inverse of 4
    while True:
        start = secrets.randbits(bits) | 3 << bits - 2 | 3
        if (start + 4 * _SPAN).bit_length() != bits:
            continue
        base = ARITHMETIC.integer(start)
        rest = np.array([int(base % prime) for prime in odd.tolist()])
        alive = np.ones(_SPAN, bool)
        for residue in (0, 1):  # p divisible by the small prime, and (p - 1)/2
            for first, prime in zip(((residue - rest) * quarter % odd).tolist(), odd.tolist(), strict=True):
                alive[first::prime] = False
        candidates = np.flatnonzero(alive).tolist()
        secrets.SystemRandom().shuffle(candidates)
        for step in candidates:
            candidate = base + 4 * step
            if _passes(candidate, 1) and _passes(candidate, ROUNDS):
                return int(candidate)


def _passes(number: int, rounds: int) -> bool:
    """Rounds of Miller and Rabin with random bases."""
    odd = number - 1
    twos = 0
    while odd % 2 == 0:
        odd //= 2
        twos += 1
    for _ in range(rounds):
        power = ARITHMETIC.power(2 + secrets.randbelow(int(number) - 3), odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True

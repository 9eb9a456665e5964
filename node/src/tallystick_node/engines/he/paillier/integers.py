"""Arithmetic with big integers: gmpy2 when it is installed, Python's own otherwise. The only place that chooses.

gmpy2 keeps Python's lock while it computes and the parties of a test share a few cores, so that nothing here uses threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Arithmetic:
    """How big integers are computed with. Numbers of either kind are typed ``int``: mpz has the same operators."""

    name: str
    integer: Callable[[int], int]  # to the kind of number in which products are fast
    power: Callable[[int, int, int], int]  # base^exponent mod modulus; a negative exponent inverts
    secret_powers: Callable[[Sequence[int], int, int], list[int]]  # each base to one secret exponent, for an odd modulus
    inverse: Callable[[int, int], int]  # raises an ArithmeticError or ValueError when there is none


def _of_gmp() -> Arithmetic | None:
    try:
        gmp = import_module("gmpy2")
    except ImportError:
        return None

    def secret_powers(bases: Sequence[int], exponent: int, modulus: int) -> list[int]:
        return [gmp.powmod_sec(base, exponent, modulus) for base in bases]

    return Arithmetic("gmpy2", gmp.mpz, gmp.powmod, secret_powers, gmp.invert)


def _of_python() -> Arithmetic:
    def secret_powers(bases: Sequence[int], exponent: int, modulus: int) -> list[int]:
        return [pow(base, exponent, modulus) for base in bases]

    return Arithmetic("python", int, pow, secret_powers, lambda number, modulus: pow(number, -1, modulus))


ARITHMETIC = _of_gmp() or _of_python()

"""Many powers of one base, and products of powers of many bases.

The time that a product of powers takes, and the places in memory that a table is read at, depend on the exponents.
"""

from __future__ import annotations

from collections.abc import Sequence

from tallystick_node.engines.he.paillier.integers import ARITHMETIC

_WIDTH = 8  # bits of a digit: a table for 2048-bit keys is 4 MiB
_SPLIT_WIDTH = 10  # of tables of half as long numbers: 13 MiB for 2048-bit keys, both together


class PowerTable:
    """Powers of one base with exponents of ``size`` bytes: one multiplication for each digit of ``width`` bits (Brickell, Gordon,
    McCurley and Wilson, EUROCRYPT 1992), from a table of 2^width numbers for each digit."""

    def __init__(self, base: int, size: int, modulus: int, width: int = _WIDTH) -> None:
        self._modulus, self._width = modulus, width
        self._rows: list[list[int]] = []
        for _ in range(-(-8 * size // width)):
            row = [ARITHMETIC.integer(1)]
            for _ in range(1 << width):
                row.append(row[-1] * base % modulus)
            base = row.pop()
            self._rows.append(row)

    def power(self, exponent: bytes) -> int:
        """base^exponent, for a little-endian exponent of the table's size."""
        modulus, width, last = self._modulus, self._width, (1 << self._width) - 1
        digits = int.from_bytes(exponent, "little")
        product = self._rows[0][digits & last]
        for row in self._rows[1:]:
            digits >>= width
            product = product * row[digits & last] % modulus
        return product


class SplitPowerTable:
    """As :class:`PowerTable`, modulo ``first`` times ``second``, which are coprime: by the Chinese remainder theorem, in two
    thirds of the time."""

    def __init__(self, base: int, size: int, first: int, second: int) -> None:
        self._first, self._second = (PowerTable(base % modulus, size, modulus, _SPLIT_WIDTH) for modulus in (first, second))
        self._moduli = first, second
        self._inverse = ARITHMETIC.inverse(second, first)

    def power(self, exponent: bytes) -> int:
        """As :meth:`PowerTable.power`."""
        first, second = self._moduli
        of_second = self._second.power(exponent)
        return of_second + second * ((self._first.power(exponent) - of_second) * self._inverse % first)


def product_of_powers(bases: Sequence[int], exponents: Sequence[int], modulus: int) -> int:
    """The product of base^exponent for exponents of at least 0, by the buckets of Pippenger (1976), with the width of digits that
    takes the fewest multiplications."""
    longest = max((exponent.bit_length() for exponent in exponents), default=0)
    total = ARITHMETIC.integer(1)
    if not longest:
        return total
    width = min(range(1, 17), key=lambda bits: -(-longest // bits) * (len(bases) + (2 << bits)))
    mask = (1 << width) - 1
    for shift in reversed(range(0, longest, width)):
        total = ARITHMETIC.power(total, 1 << width, modulus)
        buckets: dict[int, int] = {}
        for base, exponent in zip(bases, exponents, strict=True):
            digit = exponent >> shift & mask
            if digit:
                buckets[digit] = buckets[digit] * base % modulus if digit in buckets else base
        running = ARITHMETIC.integer(1)  # the product of the buckets from this digit up
        for digit in range(max(buckets, default=0), 0, -1):
            if digit in buckets:
                running = running * buckets[digit] % modulus
            total = total * running % modulus
    return total

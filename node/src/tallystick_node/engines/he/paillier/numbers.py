"""Floats and integers as ``phe`` encodes them: a plaintext m with a public exponent e stands for m 16^e.

At the border only: exponents that follow each number's size tell everyone that size. Give one exponent for all, or use
:mod:`~tallystick_node.engines.he.paillier.vectors`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tallystick_node.engines.he.errors import InvalidCiphertext, PlaintextOverflow
from tallystick_node.engines.he.paillier.ciphertexts import Ciphertexts, Encryptor, decrypt
from tallystick_node.engines.he.paillier.keys import PrivateKey, PublicKey

BASE = 16
EXPONENTS = 1024  # absolute; the products of two float64 need at most 600


def exponent_of(number: float) -> int:
    """The exponent that ``phe`` gives a number: 0 for integers; for floats the largest at which nothing is lost."""
    return 0 if isinstance(number, int) else math.floor((math.frexp(number)[1] - 53) / 4)


def encode(number: float, exponent: int) -> int:
    """The plaintext of a finite number at an exponent, rounded to the nearest."""
    return round(Fraction(number) * Fraction(BASE) ** -exponent)


def decode(plaintext: int, exponent: int) -> int | float:
    """The number: an integer, exact, for exponents of at least 0, otherwise the nearest float."""
    scale: int = BASE ** abs(exponent)
    if exponent >= 0:
        return plaintext * scale
    try:
        return plaintext / scale
    except OverflowError:
        raise PlaintextOverflow("a decrypted number is too large for a float") from None


@dataclass(frozen=True, eq=False)
class Numbers:
    """Encrypted numbers with their public exponents."""

    ciphertexts: Ciphertexts
    exponents: tuple[int, ...]

    @classmethod
    def encrypt(cls, encryptor: Encryptor, numbers: Sequence[float], exponent: int | None = None) -> Numbers:
        """Encrypt finite numbers, all at one exponent, or each at its own as ``phe`` does, which shows its size."""
        exponents = tuple(exponent_of(number) if exponent is None else exponent for number in numbers)
        return cls(encryptor.encrypt([encode(*each) for each in zip(numbers, exponents, strict=True)]), exponents)

    @classmethod
    def of(cls, key: PublicKey, pairs: Sequence[tuple[int, int]]) -> Numbers:
        """From pairs of ciphertext and exponent: ``(number.ciphertext(), number.exponent)`` of ``phe``'s ``EncryptedNumber``.
        Raises :class:`InvalidCiphertext` for what are none."""
        for _, exponent in pairs:
            if not isinstance(exponent, int) or abs(exponent) > EXPONENTS:
                raise InvalidCiphertext(f"an exponent is no integer from -{EXPONENTS} to {EXPONENTS}")
        return cls(Ciphertexts.of(key, [value for value, _ in pairs]), tuple(exponent for _, exponent in pairs))

    def pairs(self) -> list[tuple[int, int]]:
        """Ciphertexts and exponents, for ``phe.EncryptedNumber(key, ciphertext, exponent)``. Raises ``ValueError`` unless fresh."""
        size, data = self.ciphertexts.key.size, self.ciphertexts.to_bytes()
        values = [int.from_bytes(data[start : start + size], "big") for start in range(0, len(data), size)]
        return list(zip(values, self.exponents, strict=True))

    def at(self, exponent: int) -> Numbers:
        """The same numbers at an exponent not above any of theirs. Raises :class:`PlaintextOverflow` when that is too far."""
        if any(own < exponent for own in self.exponents):
            raise ValueError("an exponent can be lowered, not raised: the ciphertext holds all the digits")
        if all(own == exponent for own in self.exponents):
            return self
        return Numbers(self.ciphertexts * [BASE ** (own - exponent) for own in self.exponents], (exponent,) * len(self.exponents))

    def __add__(self, other: Numbers) -> Numbers:
        """Sums, all at the lowest exponent of both."""
        lowest = min((*self.exponents, *other.exponents), default=0)
        return Numbers(self.at(lowest).ciphertexts + other.at(lowest).ciphertexts, (lowest,) * len(self.exponents))

    def decrypt(self, key: PrivateKey) -> list[int | float]:
        """The numbers. Raises as :func:`~tallystick_node.engines.he.paillier.ciphertexts.decrypt` does."""
        return [decode(*each) for each in zip(decrypt(key, self.ciphertexts), self.exponents, strict=True)]

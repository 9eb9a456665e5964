"""Batches of ciphertexts: encryption, addition, products with integers, weighted sums, and their bytes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.he.errors import InvalidCiphertext, InvalidKey
from tallystick_node.engines.he.paillier.integers import ARITHMETIC
from tallystick_node.engines.he.paillier.keys import EXPONENT, PrivateKey, PublicKey
from tallystick_node.engines.he.paillier.powers import PowerTable, SplitPowerTable, product_of_powers

Integers = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Ciphertexts:
    """A row of ciphertexts under one key. Operators work element by element and make new rows.

    ``fresh`` says that the randomness of each is new and known to nobody else: so it is after an encryption and after
    :meth:`Encryptor.refresh`. The result of a computation is not fresh. Whoever knows its inputs could test guesses of a weight or
    an added number against it, so that :meth:`to_bytes` gives out only what is fresh.
    """

    key: PublicKey
    values: tuple[int, ...]
    fresh: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def __add__(self, other: Ciphertexts) -> Ciphertexts:
        """Encryptions of the sums of the plaintexts. Raises :class:`InvalidKey` for another key, ``ValueError`` for another
        length. That a sum passes the limits of the plaintext is seen, at the latest, at decryption, for fewer than two terms of
        the largest size; who adds more keeps count (module ``packing``)."""
        self._require_same(other)
        square = self.key.square
        return self._derived(a * b % square for a, b in zip(self.values, other.values, strict=True))

    def add_plain(self, numbers: Integers) -> Ciphertexts:
        """Encryptions of the sums with known integers."""
        n, square = self.key.modulus, self.key.square
        terms = map(self.key.residue, _integers(numbers))
        return self._derived(c * (1 + m * n) % square for c, m in zip(self.values, terms, strict=True))

    def __mul__(self, weights: Integers) -> Ciphertexts:
        """Encryptions of the products with known integers, one for each element. The time depends on the weights."""
        square, power = self.key.square, ARITHMETIC.power
        return self._derived(power(c, w, square) for c, w in zip(self.values, _bounded(self.key, weights), strict=True))

    def weighted_sum(self, weights: Integers) -> Ciphertexts:
        """One encryption of the sum of weight x plaintext, in fewer multiplications than the products one by one. The time
        depends on the weights."""
        numbers = _bounded(self.key, weights)
        if len(numbers) != len(self):
            raise ValueError(f"{len(numbers)} weights for {len(self)} ciphertexts")
        square = self.key.square
        plus = product_of_powers(self.values, [max(w, 0) for w in numbers], square)
        minus = product_of_powers(self.values, [max(-w, 0) for w in numbers], square)
        return self._derived([plus * ARITHMETIC.inverse(minus, square) % square])

    def total(self) -> Ciphertexts:
        """One encryption of the sum of all plaintexts."""
        square = self.key.square
        return self._derived([reduce(lambda a, b: a * b % square, self.values, ARITHMETIC.integer(1))])

    def to_bytes(self) -> bytes:
        """The ciphertexts one after the other, each big-endian in ``key.size`` bytes. Raises ``ValueError`` unless they are
        fresh: refresh the result of a computation before anyone else sees it."""
        if not self.fresh:
            raise ValueError("the ciphertexts are not fresh: re-randomise the result of a computation (Encryptor.refresh) first")
        return b"".join(int(value).to_bytes(self.key.size, "big") for value in self.values)

    @classmethod
    def from_bytes(cls, key: PublicKey, data: bytes, count: int) -> Ciphertexts:
        """The ``count`` ciphertexts in ``data``. Raises :class:`InvalidCiphertext` unless the length is that of ``count``
        ciphertexts, each of them a unit modulo n^2."""
        if len(data) != count * key.size:
            raise InvalidCiphertext(f"{len(data)} bytes where {count} ciphertexts of {key.size} bytes were due")
        parts = (data[start : start + key.size] for start in range(0, len(data), key.size))
        return cls.of(key, [int.from_bytes(part, "big") for part in parts])

    @classmethod
    def of(cls, key: PublicKey, values: Sequence[int]) -> Ciphertexts:
        """Ciphertexts given as integers, as ``phe`` gives them. Raises :class:`InvalidCiphertext` for what are none."""
        numbers = tuple(ARITHMETIC.integer(value) for value in values)
        key.check(numbers)
        return cls(key, numbers)

    def _derived(self, values: Iterable[int]) -> Ciphertexts:
        return Ciphertexts(self.key, tuple(values))

    def _require_same(self, other: Ciphertexts) -> None:
        if self.key != other.key:
            raise InvalidKey("the ciphertexts are under different keys: only those of one key add")


class Encryptor:
    """Encrypts under one key, with a base and a table of its own (some 0.1 s to make; keep it for all of a task). The key's holder
    gives the private key: its factors make such ciphertexts in two thirds of the time.

    A ciphertext of m is (1 + mn) (h^n)^r mod n^2 for h = -x^2 with a random x that is forgotten, and a fresh random r of
    ``EXPONENT`` bits (Damgard, Jurik and Nielsen, 2010). Each encryptor draws its x itself, so that nothing but n is taken from
    the key's holder. For a key that ``phe`` made, whose primes are any, the assumption is about the group that a random -x^2
    generates there.

    Not constant-time: a table is read at the digits of r, and the holder computes modulo its factors. An adversary who shares the
    processor's caches is out of scope.
    """

    def __init__(self, key: PublicKey | PrivateKey) -> None:
        self.key = key if isinstance(key, PublicKey) else key.public
        n, square = self.key.n, self.key.square
        x = secrets.randbelow(n - 2) + 2
        base = ARITHMETIC.power(ARITHMETIC.integer(-x * x % n), n, square)
        self._size = EXPONENT[self.key.bits] // 8
        self._table: PowerTable | SplitPowerTable
        if isinstance(key, PublicKey):
            self._table = PowerTable(base, self._size, square)
        else:
            p, q = ARITHMETIC.integer(key.p), ARITHMETIC.integer(key.q)
            self._table = SplitPowerTable(base, self._size, p * p, q * q)

    def encrypt(self, numbers: Integers) -> Ciphertexts:
        """Encryptions of integers from -largest to largest. Raises :class:`PlaintextOverflow` for others."""
        n, square = self.key.modulus, self.key.square
        residues = [self.key.residue(number) for number in _integers(numbers)]
        masks = self._masks(len(residues))
        return Ciphertexts(self.key, tuple((1 + m * n) * mask % square for m, mask in zip(residues, masks, strict=True)), True)

    def refresh(self, ciphertexts: Ciphertexts) -> Ciphertexts:
        """The same plaintexts under new randomness, unlinkable to what they were computed from."""
        if ciphertexts.key != self.key:
            raise InvalidKey("the ciphertexts are under another key than this encryptor's")
        square, masks = self.key.square, self._masks(len(ciphertexts))
        return Ciphertexts(self.key, tuple(c * mask % square for c, mask in zip(ciphertexts.values, masks, strict=True)), True)

    def _masks(self, count: int) -> list[int]:
        size, power = self._size, self._table.power
        randomness = secrets.token_bytes(count * size)
        return [power(randomness[start : start + size]) for start in range(0, count * size, size)]


def decrypt(key: PrivateKey, ciphertexts: Ciphertexts) -> list[int]:
    """The plaintexts (see :meth:`PrivateKey.decrypt`). Raises :class:`InvalidKey` for ciphertexts under another key."""
    if ciphertexts.key != key.public:
        raise InvalidKey("the ciphertexts are under another key than the one that decrypts")
    return key.decrypt(ciphertexts.values)


def _integers(numbers: Integers) -> list[int]:
    """As Python's integers. Raises ``ValueError`` for floats and the like, which would be rounded in silence."""
    if isinstance(numbers, np.ndarray):
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise ValueError(f"an array of {numbers.ndim} dimensions of {numbers.dtype}; a row of integers is needed")
        plain: list[int] = numbers.tolist()
        return plain
    if not all(isinstance(number, int) for number in numbers):
        raise ValueError("numbers to compute with must be integers: encode others first")
    return list(numbers)


def _bounded(key: PublicKey, weights: Integers) -> list[int]:
    numbers = _integers(weights)
    for number in numbers:
        key.residue(number)
    return numbers

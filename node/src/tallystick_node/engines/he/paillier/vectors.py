"""Sums of float64 vectors over members: quantised, packed, encrypted, added, decrypted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.he.errors import InvalidCiphertext, PlaintextOverflow
from tallystick_node.engines.he.paillier.ciphertexts import Ciphertexts, Encryptor, decrypt
from tallystick_node.engines.he.paillier.keys import PrivateKey, PublicKey
from tallystick_node.engines.he.paillier.packing import Packing


@dataclass(frozen=True)
class VectorCode:
    """Vectors of ``size`` numbers from -1 to 1, for sums of up to ``terms`` of them, in slots of ``slot_bits``.

    A number is rounded to the nearest multiple of 2^-``fraction_bits``, so that a sum of t vectors is off by at most
    t 2^-(fraction_bits + 1) in each entry, and by nothing else.
    """

    size: int
    terms: int
    key_bits: int = 3072
    slot_bits: int = 32

    def __post_init__(self) -> None:
        if self.size < 0 or self.fraction_bits < 1:
            raise ValueError(f"slots of {self.slot_bits} bits leave no fraction for sums of {self.terms}: use longer slots")

    @cached_property
    def packing(self) -> Packing:
        """How the numbers lie in plaintexts."""
        return Packing(self.key_bits, self.slot_bits, self.terms)

    @property
    def fraction_bits(self) -> int:
        """Bits after the binary point: a number needs two more, for its sign and for 1 itself; no more than a float64 holds."""
        return min(self.packing.number_bits - 2, 52)

    @property
    def blocks(self) -> int:
        """Ciphertexts of one vector."""
        return self.packing.blocks(self.size)

    def encrypt(self, encryptor: Encryptor, vector: NDArray[np.float64]) -> Ciphertexts:
        """The blocks of one vector. Raises :class:`PlaintextOverflow` for a number that is not from -1 to 1."""
        if vector.shape != (self.size,):
            raise ValueError(f"a vector of shape {vector.shape} where {self.size} numbers were due")
        if not (np.abs(vector) <= 1).all():
            raise PlaintextOverflow("a number is not from -1 to 1: scale the vector by its bound")
        steps = np.rint(np.ldexp(vector, self.fraction_bits)).astype(np.int64)
        return encryptor.encrypt(self.packing.pack(steps))

    def read(self, key: PublicKey, data: bytes) -> Ciphertexts:
        """The blocks of one vector, from a peer's bytes. Raises :class:`InvalidCiphertext` for what are none."""
        return Ciphertexts.from_bytes(key, data, self.blocks)

    def decrypt(self, key: PrivateKey, total: Ciphertexts, terms: int) -> NDArray[np.float64]:
        """The sum of ``terms`` vectors. Raises :class:`PlaintextOverflow` when it is none of so many vectors from -1 to 1."""
        if len(total) != self.blocks:
            raise InvalidCiphertext(f"{len(total)} ciphertexts where {self.blocks} were due")
        steps = self.packing.unpack(decrypt(key, total), self.size, terms)
        if (np.abs(steps) > terms << self.fraction_bits).any():
            raise PlaintextOverflow(f"an entry is beyond what {terms} numbers from -1 to 1 sum to")
        return np.ldexp(steps.astype(np.float64), -self.fraction_bits)

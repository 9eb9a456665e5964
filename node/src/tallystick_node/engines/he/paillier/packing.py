"""Several small numbers in one plaintext: a sum of ciphertexts adds them all, in their slots.

A slot of w bits holds a number v from -2^(b-1) to 2^(b-1) - 1 as v + 2^(b-1), which is never negative. Sums of ``terms`` numbers
need b + ceil(log2(terms)) = w bits, so that no slot runs over into the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.he.errors import PlaintextOverflow
from tallystick_node.engines.he.paillier.keys import STRENGTH


@dataclass(frozen=True)
class Packing:
    """Slots of ``slot_bits`` (8, 16, .. 64) in plaintexts of a key of ``key_bits``, for sums of up to ``terms`` numbers; an
    integer weight of w >= 0 counts as w terms."""

    key_bits: int
    slot_bits: int
    terms: int

    def __post_init__(self) -> None:
        if self.key_bits not in STRENGTH:
            raise ValueError(f"keys have one of {', '.join(map(str, STRENGTH))} bits")
        if self.slot_bits % 8 or not 8 <= self.slot_bits <= 64:
            raise ValueError("slots have 8, 16, .. 64 bits")
        if self.terms < 1 or self.number_bits < 2:
            raise ValueError(f"slots of {self.slot_bits} bits do not hold sums of {self.terms} numbers: use longer slots")

    @property
    def number_bits(self) -> int:
        """Bits of one number, its sign among them."""
        return self.slot_bits - (self.terms - 1).bit_length()

    @property
    def bias(self) -> int:
        """What is added to a number; numbers are from -bias to bias - 1."""
        return 1 << self.number_bits - 1

    @property
    def slots(self) -> int:
        """Numbers in one plaintext: what fits below a third of n."""
        return (self.key_bits - 3) // self.slot_bits

    def blocks(self, size: int) -> int:
        """Plaintexts that ``size`` numbers take."""
        return -(-size // self.slots)

    def pack(self, numbers: NDArray[np.int64]) -> list[int]:
        """The plaintexts of a row of numbers. Raises :class:`PlaintextOverflow` for one that is out of range."""
        if numbers.ndim != 1 or numbers.dtype != np.int64:
            raise ValueError(f"an array of {numbers.ndim} dimensions of {numbers.dtype}; a row of int64 is needed")
        if numbers.size and not (-self.bias <= numbers.min() and numbers.max() < self.bias):
            raise PlaintextOverflow(f"a number is not from {-self.bias} to {self.bias - 1}, what a slot holds {self.terms} times")
        padded = np.zeros(self.blocks(numbers.size) * self.slots, np.uint64)
        padded[: numbers.size] = numbers.view(np.uint64) + np.uint64(self.bias)
        width = self.slot_bits // 8
        rows = padded.astype("<u8").view(np.uint8).reshape(-1, self.slots, 8)[:, :, :width]
        return [int.from_bytes(row.tobytes(), "little") for row in rows]

    def unpack(self, plaintexts: Sequence[int], size: int, weight: int) -> NDArray[np.int64]:
        """The ``size`` sums in plaintexts that are sums of packed ones with the total ``weight``, of at most ``terms``.

        Raises :class:`PlaintextOverflow` when a plaintext cannot be such a sum: it is negative, longer than its slots, or a slot
        holds more than ``weight`` of the largest number, or the padding is not empty.
        """
        if not 0 <= weight <= self.terms:
            raise PlaintextOverflow(f"a sum of weight {weight} in slots for {self.terms} terms: use longer slots")
        if len(plaintexts) != self.blocks(size):
            raise ValueError(f"{len(plaintexts)} plaintexts where {self.blocks(size)} were due")
        width = self.slot_bits // 8
        if any(not 0 <= plaintext < 1 << self.slots * self.slot_bits for plaintext in plaintexts):
            raise PlaintextOverflow("a plaintext is longer than its slots, or negative: it is no sum of packed numbers")
        data = b"".join(plaintext.to_bytes(self.slots * width, "little") for plaintext in plaintexts)
        padded = np.zeros((len(plaintexts) * self.slots, 8), np.uint8)
        padded[:, :width] = np.frombuffer(data, np.uint8).reshape(-1, width)
        sums = padded.view("<u8").reshape(-1).astype(np.uint64)
        largest = weight * (2 * self.bias - 1)
        if sums[size:].any() or (size and int(sums[:size].max()) > largest):
            raise PlaintextOverflow(f"a slot holds more than {weight} numbers can sum to: a term was not packed for it")
        return (sums[:size] - np.uint64(weight * self.bias)).view(np.int64)

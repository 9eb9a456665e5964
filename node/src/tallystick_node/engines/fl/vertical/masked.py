"""Products of an owner's matrix with a shared vector, under Paillier: the other holder of shares gets them masked.

A holder encrypts its share of a vector, one ring element in each ciphertext. The owner multiplies by its matrix, adds a mask to
each product and sends several products in one ciphertext back. What the holder decrypts is its share of the product, and the mask's
negative is the owner's: both modulo 2^64.

Security: a product is below ``terms`` 2^80 and its mask uniform below 2^40 times as much, so that what the holder decrypts is
within 2^-40 of a uniform number, whatever the matrix. The owner sees ciphertexts. Both semi-honest.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.he.errors import PlaintextOverflow
from tallystick_node.engines.he.paillier.ciphertexts import Ciphertexts, Encryptor, decrypt
from tallystick_node.engines.he.paillier.integers import ARITHMETIC
from tallystick_node.engines.he.paillier.keys import PrivateKey
from tallystick_node.engines.mpc.ring import BITS as RING_BITS
from tallystick_node.engines.mpc.ring import Ring

MATRIX_BITS = 16  # entries are from -OFFSET to OFFSET - 1
OFFSET = 1 << MATRIX_BITS - 1  # is added to every entry: products with what is not negative are not negative
STATISTICAL_BITS = 40
_RING = 1 << RING_BITS
_ONE = ARITHMETIC.integer(1)  # a ciphertext of 0

Matrix = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Masked sums of ``terms`` products in the slots of plaintexts of a key of ``key_bits``."""

    key_bits: int
    terms: int

    @property
    def mask_bits(self) -> int:
        """Masks are uniform numbers of so many bits."""
        return MATRIX_BITS + RING_BITS + (self.terms - 1).bit_length() + STATISTICAL_BITS

    @property
    def slot_bits(self) -> int:
        """A sum and its mask."""
        return self.mask_bits + 1

    @property
    def slots(self) -> int:
        """What fits below a third of n."""
        return (self.key_bits - 3) // self.slot_bits

    def blocks(self, count: int) -> int:
        """Ciphertexts that ``count`` sums take."""
        return -(-count // self.slots)

    def masks(self, count: int) -> list[int]:
        """Fresh masks."""
        return [secrets.randbits(self.mask_bits) for _ in range(count)]

    def opposite(self, masks: Sequence[int]) -> list[int]:
        """Masks that are fresh but for that each is the negative of one of ``masks`` modulo 2^64."""
        return [secrets.randbits(self.mask_bits - RING_BITS) << RING_BITS | -mask % _RING for mask in masks]

    def pack(self, numbers: Sequence[int]) -> list[int]:
        """The plaintexts with the numbers in their slots: the first of each, then the second of each, and so on."""
        blocks = self.blocks(len(numbers))
        rows = [numbers[start : start + blocks] for start in range(0, len(numbers), blocks)]
        plaintexts = [0] * blocks
        for slot, row in enumerate(rows):
            for block, number in enumerate(row):
                plaintexts[block] |= number << slot * self.slot_bits
        return plaintexts

    def unpack(self, plaintexts: Sequence[int], count: int) -> list[int]:
        """The numbers that :meth:`pack` packed. Raises PlaintextOverflow for plaintexts that it cannot have made."""
        full, mask, blocks = self.slots * self.slot_bits, (1 << self.slot_bits) - 1, len(plaintexts)
        if any(plaintext >> full for plaintext in plaintexts):
            raise PlaintextOverflow("a plaintext is longer than its slots, or negative: it is no row of masked sums")
        found = [plaintext >> slot * self.slot_bits & mask for slot in range(self.slots) for plaintext in plaintexts]
        if any(found[count:]) or blocks != self.blocks(count):
            raise PlaintextOverflow("a plaintext has numbers in slots that must be empty")
        return found[:count]


def ring_elements(masks: Sequence[int]) -> Ring:
    """What masks take from their owner's share: their negatives modulo 2^64."""
    return np.array([-mask % _RING for mask in masks], np.uint64)


def multiply(encryptor: Encryptor, layout: Layout, matrix: Matrix, vector: Ciphertexts, masks: Sequence[int]) -> bytes:
    """The message with one masked product for each row of ``matrix``, of shape (products, terms)."""
    sums = _products(matrix + OFFSET, vector)
    blocks, shift = layout.blocks(len(matrix)), 1 << layout.slot_bits
    padded = [*sums, *[_ONE] * (-len(sums) % blocks)]
    rows = [Ciphertexts(vector.key, tuple(padded[start : start + blocks])) for start in range(0, len(padded), blocks)]
    packed = rows[-1]
    for row in reversed(rows[:-1]):
        packed = packed * ([shift] * blocks) + row
    return encryptor.refresh(packed.add_plain(layout.pack(masks))).to_bytes()


def open_products(key: PrivateKey, layout: Layout, data: bytes, count: int, share: Ring) -> Ring:
    """This holder's share of the ``count`` products that :func:`multiply` made with the encryption of ``share``. Raises
    HomomorphicError for what are none."""
    numbers = layout.unpack(decrypt(key, Ciphertexts.from_bytes(key.public, data, layout.blocks(count))), count)
    offset = OFFSET * sum(share.tolist())
    return np.array([(number - offset) % _RING for number in numbers], np.uint64)


def _products(matrix: Matrix, vector: Ciphertexts) -> list[int]:
    """Ciphertexts of the products with a matrix that is not negative."""
    if len(matrix) < len(vector):
        return [vector.weighted_sum(row).values[0] for row in matrix]
    return _products_by_tables(matrix, vector)


def _products_by_tables(matrix: Matrix, vector: Ciphertexts) -> list[int]:
    """For more products than terms: each ciphertext's powers are looked up, of digits of the width that takes the fewest
    multiplications."""
    square = vector.key.square
    width = min(range(1, 12), key=lambda bits: -(-MATRIX_BITS // bits) * (len(matrix) + (1 << bits)))
    sums: list[int] = []
    for base, column in zip(vector.values, matrix.T, strict=True):
        power = base
        for shift in range(0, MATRIX_BITS, width):
            table = [_ONE]
            for _ in range(1 << width):
                table.append(table[-1] * power % square)
            power = table.pop()
            digits = (column >> shift & (1 << width) - 1).tolist()
            if sums:
                sums = [total * table[digit] % square for total, digit in zip(sums, digits, strict=True)]
            else:
                sums = [table[digit] for digit in digits]
    return sums

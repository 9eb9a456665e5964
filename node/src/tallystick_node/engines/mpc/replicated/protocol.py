"""Replicated secret sharing over Z_2^64 for three parties, honest majority (Araki, Furukawa, Lindell, Nof and Ohara, CCS 2016).

A secret x is x_0 + x_1 + x_2 mod 2^64; party i holds x_i and x_{i+1}. Linear operations are local; a product costs one element
sent by each party; all elements of an array share a round.

Security: semi-honest, one corrupted party of three, under AES as a pseudo-random permutation (:mod:`prss`). A party that deviates
can change results: the variant that is secure against it checks every product. Lengths and ranges are checked, and a message that
has others names its sender.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.engines.mpc.protocol import Binary, Shares, Words
from tallystick_node.engines.mpc.replicated import arithmetic, boolean, compare, convert, permute, sigmoid, truncation
from tallystick_node.engines.mpc.replicated.sharing import PARTIES, Sharing, pair, require_matrices, require_shape
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.security import SecurityStatement


class Replicated(Sharing):
    """One party's side of the protocol. All three call the same methods in the same order with the same public arguments."""

    name: ClassVar[str] = "replicated"

    @classmethod
    def security(cls, parties: int) -> SecurityStatement:
        """Semi-honest, one corrupted party of exactly three."""
        if parties != PARTIES:
            raise ValueError("replicated sharing is for three parties")
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=1,
            parties=PARTIES,
            computational_bits=128,
            statistical_bits=64,
            trusted=(),
            learns={"party": "the shapes of all arrays, and nothing of their values"},
            references=(
                "Araki, Furukawa, Lindell, Nof, Ohara: High-Throughput Semi-Honest Secure Three-Party Computation (CCS 2016)",
                "Mohassel, Rindal: ABY3 (CCS 2018)",
                "Laur, Willemson, Zhang: Round-Efficient Oblivious Database Manipulation (ISC 2011)",
            ),
        )

    # -- in and out

    def share(self, owner: int, shape: tuple[int, ...], values: Ring | None = None) -> Shares:
        """Secrets of one party; only ``owner`` gives ``values``. One round, 8 bytes an element.

        The owner and the party before it draw x_o from their seed; the party after it gets x_{o+1} = x - x_o, which is uniform to
        it; x_{o+2} is zero."""
        seat = self._seat
        seat.enter("share")
        if (seat.index == owner) != (values is not None) or (values is not None and values.shape != shape):
            raise ValueError("the owner, and nobody else, gives values of the announced shape")
        if values is not None:
            first = seat.prss.own.elements(shape)
            second = values - first
            seat.send(seat.after, second)
            return Shares((first, second))
        if seat.index == (owner + 1) % 3:
            return Shares((seat.receive(owner, shape), np.zeros(shape, np.uint64)))
        return Shares((np.zeros(shape, np.uint64), seat.prss.after.elements(shape)))

    def reveal(self, secret: Shares, to: Sequence[int] | None = None) -> Ring | None:
        """The values at the parties of ``to`` (None: all), None elsewhere. One round, 8 bytes an element for each of them."""
        third = self._third_part(secret.parts[0], to)
        return None if third is None else secret.parts[0] + secret.parts[1] + third

    def reveal_binary(self, secret: Binary, to: Sequence[int] | None = None) -> Words | None:
        """The words at the parties of ``to`` (None: all), None elsewhere. One round; for each of them a word of the array's type an
        element, or an eighth of a byte where the width is 1."""
        third = self._third_part(boolean.packed(secret.parts[0], secret.width), to)
        if third is None:
            return None
        seat = self._seat
        return secret.parts[0] ^ secret.parts[1] ^ boolean.unpacked(seat, seat.before, third, secret.shape, secret.width)

    def _third_part(self, first: Words, to: Sequence[int] | None) -> Words | None:
        """The part that a party of ``to`` misses: the party before it holds it as its first."""
        seat = self._seat
        seat.enter("reveal")
        receivers = range(PARTIES) if to is None else to
        if seat.after in receivers and seat.index in receivers:
            return seat.exchange(seat.after, first, seat.before)
        if seat.after in receivers:
            seat.send(seat.after, first)
        if seat.index in receivers:
            return seat.receive(seat.before, first.shape, first.dtype.type)
        return None

    # -- parties that only bring secrets or only take results

    def accept(self, parts: tuple[Ring, ...]) -> Shares:
        """Secrets from the two parts that an outside owner sent. One round, 32 bytes from each party: the hash of its second part,
        which the next party was sent too. Raises ProtocolViolation where they differ (the owner or the party before deviates), and
        ValueError for what are not two parts of one shape."""
        if len(parts) != 2 or parts[0].shape != parts[1].shape or any(part.dtype != np.uint64 for part in parts):
            raise ValueError("an owner sends two arrays of 64-bit words, of one shape, to each party")
        seat = self._seat
        seat.enter("accept")
        first, second = (np.frombuffer(hashlib.sha256(np.ascontiguousarray(part).data).digest(), np.uint8) for part in parts)
        theirs = seat.exchange(seat.after, second, seat.before)
        if not hmac.compare_digest(theirs.tobytes(), first.tobytes()):
            raise ProtocolViolation(seat.before, "accept", "it or the owner has another copy of a part than this party was sent")
        return Shares(parts)

    def disclose(self, secret: Shares) -> tuple[Ring, ...]:
        """Both parts, so that the receiver can compare the copies. They are made fresh, in one round and 24 bytes an element over
        all parties: the receiver sees three parts, and those of linear combinations of inputs tell more than their sum."""
        self._seat.enter("disclose")
        part = secret.parts[0] + self._seat.prss.zero(secret.shape)
        return part, self._seat.reshare(part)

    # -- arithmetic

    def multiply(self, left: Shares, right: Shares) -> Shares:
        """Element by element, of one shape. One round, 24 bytes an element over all parties."""
        require_shape(left, right)
        self._seat.enter("multiply")
        return Shares(arithmetic.multiply(self._seat, pair(left), pair(right)))

    def matmul(self, left: Shares, right: Shares) -> Shares:
        """The matrix product of (m, k) and (k, n). One round, 24 bytes for each element of the result over all parties."""
        require_matrices(left, right)
        self._seat.enter("matmul")
        return Shares(arithmetic.matmul(self._seat, pair(left), pair(right)))

    def truncate(self, secret: Shares, bits: int) -> Shares:
        """Secrets below 2^62 in magnitude, shifted right by 1 to 31 bits; the error is 0 or -1. Two rounds, 20 bytes an element
        over all parties."""
        self._seat.enter("truncate")
        return Shares(truncation.truncate_shares(self._seat, pair(secret), bits))

    def multiply_fixed(self, left: Shares, right: Shares, fraction: int) -> Shares:
        """Fixed-point product: the exact product, below 2^62, shifted right by ``fraction``; the error is 0 or -1 unit in the last
        place. Three rounds, 36 bytes an element over all parties."""
        require_shape(left, right)
        self._seat.enter("multiply_fixed")
        return Shares(arithmetic.multiply_fixed(self._seat, pair(left), pair(right), fraction))

    def matmul_fixed(self, left: Shares, right: Shares, fraction: int) -> Shares:
        """Fixed-point matrix product; one truncation, three rounds, 36 bytes for each element of the result over all parties."""
        require_matrices(left, right)
        self._seat.enter("matmul_fixed")
        return Shares(arithmetic.matmul_fixed(self._seat, pair(left), pair(right), fraction))

    # -- Boolean

    def and_(self, left: Binary, right: Binary) -> Binary:
        """Bit by bit, of words of one width. One round; from each party a word of the array's type an element, or an eighth of a
        byte where the width is 1."""
        self._seat.enter("and")
        return boolean.conjunction(self._seat, left, right)

    # -- conversions

    def negative(self, secret: Shares) -> Binary:
        """The top bit of each secret, exact for every ring element. Seven rounds, 50.875 bytes an element over all parties."""
        self._seat.enter("negative")
        return Binary(compare.negative(self._seat, pair(secret)))

    def decompose(self, secret: Shares) -> Binary:
        """The 64 bits of each secret, as words. Eight rounds, 102 bytes an element over all parties."""
        self._seat.enter("decompose")
        return Binary(convert.decompose(self._seat, pair(secret)), 64)

    def to_arithmetic(self, bits: Binary) -> Shares:
        """Bits (width 1) as the ring elements 0 and 1. Two rounds, 24 bytes an element over all parties."""
        if bits.width != 1:
            raise ValueError("bits are expected: compose makes ring elements of wider words")
        self._seat.enter("to_arithmetic")
        return Shares(convert.to_arithmetic(self._seat, (bits.parts[0], bits.parts[1])))

    def compose(self, words: Binary) -> Shares:
        """The ring elements whose low ``width`` bits are the words. Over all parties 8 (width + 3) bytes an element and two
        rounds up to 14 bits, 138 bytes and nine rounds above."""
        self._seat.enter("compose")
        return Shares(convert.compose(self._seat, words))

    # -- a faster way of its own: what the functions look for

    def sigmoid_fixed(self, secret: Shares, fraction: int) -> Shares:
        """1 / (1 + e^-x) of numbers with 1 to 24 fraction bits, below 2^62 - 2^(fraction + 3) in magnitude; the error is at most
        6e-4 and 2 units in the last place. 13 rounds for every 2^18 elements, 217.75 bytes an
        element over all parties."""
        self._seat.enter("sigmoid")
        return Shares(sigmoid.sigmoid(self._seat, pair(secret), fraction))

    # -- permutations

    def shuffle(self, rows: Sequence[Shares]) -> list[Shares]:
        """Arrays of one first dimension, permuted along it by one uniform permutation that no party knows. Three rounds, 48 bytes
        an element over all parties."""
        self._seat.enter("shuffle")
        return [Shares(moved) for moved in permute.shuffle(self._seat, [pair(each) for each in rows])]

"""Replicated secret sharing over Z_2^64 for three parties, honest majority, secure against a party that deviates.

A secret x is x_0 + x_1 + x_2 mod 2^64; party i holds x_i and x_{i+1} (:mod:`tallystick_node.engines.mpc.replicated`). Messages go
as among honest parties, where a deviation amounts to an error that its author chose, and are checked before anything is shown
that depends on them: what a :meth:`~MaliciousReplicated.reveal` opens was verified by all, or the run ends in ProtocolViolation.

| what | how it is checked | error |
|---|---|---|
| products | sacrifice over Z_2^112 (:mod:`products`) | 2^-49 |
| matrix products | projection by 48 random rows and columns, then sacrifice (:mod:`matrices`) | 2^-43 |
| conjunctions | buckets of random triples (:mod:`conjunctions`, :mod:`buckets`) | 2^-40 |
| random bits, for truncation and bits to numbers | buckets, before use (:mod:`bits`) | 2^-40 |
| shuffles | secret tags of rows (:mod:`shuffles`) | 2^-53 |
| openings within checks | copies of the two holders compared (:mod:`agreement`) | 2^-90 |
| inputs, coins, other openings | hashes of the two holders' copies compared at once (:mod:`agreement`) | SHA-256 |

Security: one party of three may deviate in any way; the others end with the right result or with an error, and nothing is learned
but what an honest run shows. No fairness: the party that deviates may learn a result and keep it from the others. Seeds need no
proof: K_i is known to parties i - 1 and i only, and a party that chooses its seed badly, or states another than it uses, hurts
none but masks that it could lift anyway; two honest parties' copies agree. Whom an error names is one of two: the parties do not
know which deviated.

Cost, bytes that each party sends for an element when many are checked together, checks included (few take deeper buckets); rounds
before the checks, which have 5 to 9 of their own for each kind of what waits:

| method | bytes an element | rounds |
|---|---|---|
| share | 16 from the owner | 2 |
| multiply | 28 | 1 |
| matmul | 8 for each of the result, 14 for each of it projected, at most 48 by 48, and 14 for each of a row | 1 |
| truncate | 34, of which 33 make two random bits | 3 |
| and_ | 56 for 64 bits | 1 |
| negative | 158 | 7 |
| to_arithmetic | 33 | 1 |
| decompose | 319 | 8 |
| compose | 327 | 9 |
| sigmoid_fixed | 632, 18 fraction bits | 50 and the checks of random bits |
| shuffle | 3 x (96 a row and 11 (columns + 2)) | 33, all checks |

Memory: what waits for its check is kept, at most 2^18 products, 1.5 x 2^20 words and what one call adds to them, and 2^24 elements
of matrices; a check takes 130 bytes more for each of up to 1.5 x 2^20 words, and about 90 for each of up to 2^18 products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.functions.sigmoid import EDGE, pieced
from tallystick_node.engines.mpc.malicious import matrices, products
from tallystick_node.engines.mpc.malicious.agreement import Agreement
from tallystick_node.engines.mpc.malicious.bits import RandomBits
from tallystick_node.engines.mpc.malicious.conjunctions import Conjunctions
from tallystick_node.engines.mpc.malicious.convert import Conversions
from tallystick_node.engines.mpc.malicious.matrices import Matrices
from tallystick_node.engines.mpc.malicious.products import Products
from tallystick_node.engines.mpc.malicious.shuffles import Shuffles
from tallystick_node.engines.mpc.protocol import Binary, Shares, Words, concatenate
from tallystick_node.engines.mpc.replicated.sharing import PARTIES, Sharing, pair, require_matrices, require_shape
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.security import SecurityStatement

_PIECE = 1 << 18  # elements whose sigmoids share their rounds


class MaliciousReplicated(Sharing):
    """One party's side of the protocol. All three call the same methods in the same order with the same public arguments."""

    name: ClassVar[str] = "replicated-malicious"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._agreement = Agreement(self._seat)
        self._products = Products(self._seat, self._agreement)
        self._matrices = Matrices(self._seat, self._agreement)
        self._gates = Conjunctions(self._seat, self._agreement)
        self._random_bits = RandomBits(self._seat, self._agreement)
        self._conversions = Conversions(self._seat, self._agreement, self._gates, self._random_bits)
        self._shuffles = Shuffles(self._seat, self._agreement)

    @classmethod
    def security(cls, parties: int) -> SecurityStatement:
        """Malicious with abort, one corrupted party of exactly three."""
        if parties != PARTIES:
            raise ValueError("replicated sharing is for three parties")
        return SecurityStatement(
            adversary="malicious-with-abort",
            corruptions=1,
            parties=PARTIES,
            computational_bits=128,
            statistical_bits=40,
            trusted=(),
            learns={"party": "the shapes of all arrays, and nothing of their values"},
            references=(
                "Furukawa et al.: High-Throughput Secure Three-Party Computation for Malicious Adversaries (EUROCRYPT 2017)",
                "Araki et al.: Optimized Honest-Majority MPC for Malicious Adversaries (IEEE S&P 2017)",
                "Cramer, Damgard, Escudero, Scholl, Xing: SPDZ2k (CRYPTO 2018)",
                "Laur, Willemson, Zhang: Round-Efficient Oblivious Database Manipulation (ISC 2011)",
            ),
        )

    # -- checks

    def verify(self) -> None:
        """Check all that waits. Afterwards all parties know that all found everything right. Raises ProtocolViolation for what is
        not, and ChannelError when another party found it. Called by every method that shows something."""
        if self._agreement.settled and not (self._products.waiting or self._matrices.waiting or self._gates.waiting):
            return
        self._seat.enter("verify products")
        self._products.check()
        self._seat.enter("verify matrices")
        self._matrices.check()
        self._seat.enter("verify conjunctions")
        self._gates.check()
        self._seat.enter("verified")
        self._agreement.unanimous()

    def _relieve(self) -> None:
        """Check what has become too much to keep."""
        if self._products.waiting >= products.LIMIT:
            self._seat.enter("verify products")
            self._products.check()
        if self._matrices.waiting >= matrices.LIMIT:
            self._seat.enter("verify matrices")
            self._matrices.check()
        if self._gates.full:
            self._seat.enter("verify conjunctions")
            self._gates.check(all_of_them=False)

    # -- in and out

    def share(self, owner: int, shape: tuple[int, ...], values: Ring | None = None) -> Shares:
        """Secrets of one party; only ``owner`` gives ``values``. The owner draws two parts with one other party each and sends
        the third to both, who compare it. Two rounds, 16 bytes an element from the owner and 32 bytes. Raises ProtocolViolation
        where they were sent different ones."""
        seat = self._seat
        seat.enter("share")
        if (seat.index == owner) != (values is not None) or (values is not None and values.shape != shape):
            raise ValueError("the owner, and nobody else, gives values of the announced shape")
        if values is not None:
            first, second = seat.prss.own.elements(shape), seat.prss.after.elements(shape)
            rest = values - first - second
            seat.send(seat.after, rest)
            seat.send(seat.before, rest)
            return Shares((first, second))
        rest = seat.receive(owner, shape)
        if seat.after == owner:  # has the third part as its first
            self._agreement.same(held=rest)
            return Shares((rest, seat.prss.after.elements(shape)))
        self._agreement.same(due=rest)
        return Shares((seat.prss.own.elements(shape), rest))

    def reveal(self, secret: Shares, to: Sequence[int] | None = None) -> Ring | None:
        """The values at the parties of ``to`` (None: all), None elsewhere, after all checks. One round, 8 bytes an element for
        each of them and 32 bytes: the hash of the missing part from its other holder. Raises ProtocolViolation where they
        differ."""
        self.verify()
        self._seat.enter("reveal")
        third = self._agreement.reveal(secret.parts[0], secret.parts[1], to)
        return None if third is None else secret.parts[0] + secret.parts[1] + third

    def reveal_binary(self, secret: Binary, to: Sequence[int] | None = None) -> Words | None:
        """Like :meth:`reveal`: a word of the array's type an element, or an eighth of a byte where the width is 1."""
        self.verify()
        first, second = secret.parts
        packed = (np.packbits(first), np.packbits(second)) if secret.width == 1 else (first, second)
        self._seat.enter("reveal")
        third = self._agreement.reveal(packed[0], packed[1], to)
        if third is None:
            return None
        if secret.width == 1:
            third = np.unpackbits(third, count=first.size).reshape(first.shape)
        return first ^ second ^ third

    # -- parties that only bring secrets or only take results

    def accept(self, parts: tuple[Ring, ...]) -> Shares:
        """Secrets from the two parts that an outside owner sent. One round, 32 bytes from each party: the hash of its first part,
        which the party before was sent too. Raises ProtocolViolation where they differ (the owner or the party after deviates), and
        ValueError for what are not two parts of one shape."""
        if len(parts) != 2 or parts[0].shape != parts[1].shape or any(part.dtype != np.uint64 for part in parts):
            raise ValueError("an owner sends two arrays of 64-bit words, of one shape, to each party")
        self._seat.enter("accept")
        self._agreement.same(held=parts[0], due=parts[1])
        return Shares(parts)

    def disclose(self, secret: Shares) -> tuple[Ring, ...]:
        """Both parts, after all checks, so that the receiver can compare the copies. They are made fresh by a sharing of zero that
        party 0 deals and all check: parts of a linear combination may tell more than their sum. Six rounds, 16 bytes an element
        from party 0."""
        self.verify()
        nothing = np.zeros(secret.shape, np.uint64)
        fresh = self.share(0, nothing.shape, nothing if self.index == 0 else None)
        self._seat.enter("disclose")
        self._agreement.zero(*pair(fresh))
        self._agreement.confirm()
        self._agreement.unanimous()
        return (secret + fresh).parts

    # -- arithmetic

    def multiply(self, left: Shares, right: Shares) -> Shares:
        """Element by element, of one shape."""
        require_shape(left, right)
        self._seat.enter("multiply")
        return self._done(self._products.multiply(pair(left), pair(right)))

    def matmul(self, left: Shares, right: Shares) -> Shares:
        """The matrix product of (m, k) and (k, n)."""
        require_matrices(left, right)
        self._seat.enter("matmul")
        return self._done(self._matrices.multiply(pair(left), pair(right)))

    def truncate(self, secret: Shares, bits: int) -> Shares:
        """Secrets below 2^62 in magnitude, shifted right by 1 to 31 bits; the error is -1, 0 or 1."""
        self._seat.enter("truncate")
        return self._done(self._conversions.truncate(pair(secret), bits))

    # -- Boolean

    def and_(self, left: Binary, right: Binary) -> Binary:
        """Bit by bit, of words of one width."""
        if left.width != right.width or left.shape != right.shape:
            raise ValueError(f"words of {left.width} and {right.width} bits, shapes {left.shape} and {right.shape}, do not match")
        self._seat.enter("and")
        made = self._conversions.conjunction(left, right)
        self._relieve()
        return made

    # -- conversions

    def negative(self, secret: Shares) -> Binary:
        """The top bit of each secret, exact for every ring element."""
        self._seat.enter("negative")
        made = Binary(self._conversions.negative(pair(secret)))
        self._relieve()
        return made

    def decompose(self, secret: Shares) -> Binary:
        """The 64 bits of each secret, as words."""
        self._seat.enter("decompose")
        made = Binary(self._conversions.decompose(pair(secret)), 64)
        self._relieve()
        return made

    def to_arithmetic(self, bits: Binary) -> Shares:
        """Bits (width 1) as the ring elements 0 and 1."""
        if bits.width != 1:
            raise ValueError("bits are expected: compose makes ring elements of wider words")
        self._seat.enter("to_arithmetic")
        return self._done(self._conversions.to_arithmetic((bits.parts[0], bits.parts[1])))

    def compose(self, words: Binary) -> Shares:
        """The ring elements whose low ``width`` bits are the words."""
        if words.width == 1:
            return self.to_arithmetic(words)
        self._seat.enter("compose")
        return self._done(self._conversions.compose(words))

    # -- functions of its own

    def sigmoid_fixed(self, secret: Shares, fraction: int) -> Shares:
        """1 / (1 + e^-x) of fixed-point numbers below 2^62 - 2^(fraction + 3), off by at most 1e-3 and 2 ulps: the polynomial of
        :mod:`~tallystick_node.engines.mpc.functions.sigmoid`, where one sum of bits says where x is, in place of three
        comparisons. For every 2^18 elements anew, so that little waits for its check."""
        pieces = []
        flat = secret.reshape(-1)
        for start in range(0, max(1, secret.size), _PIECE):
            piece = flat[start : start + _PIECE]
            self._seat.enter("interval")
            bits = [Binary(found) for found in self._conversions.interval(pair(piece), fraction + EDGE.bit_length() - 1)]
            self._relieve()
            pieces.append(pieced(self, piece, bits[0], bits[1], bits[2], fraction))
        return concatenate(pieces).reshape(*secret.shape)

    # -- permutations

    def shuffle(self, rows: Sequence[Shares]) -> list[Shares]:
        """Arrays of one first dimension, permuted along it by one uniform permutation that no party knows; checked at once."""
        if not rows or any(not each.shape or each.shape[0] != rows[0].shape[0] for each in rows):
            raise ValueError("arrays of one first dimension are shuffled together")
        self._seat.enter("shuffle")
        return [Shares(moved) for moved in self._shuffles.shuffle([pair(each) for each in rows])]

    def _done(self, parts: tuple[Ring, Ring]) -> Shares:
        self._relieve()
        return Shares(parts)

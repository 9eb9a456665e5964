"""Additive sharing between two parties with nobody else: correlated randomness from oblivious transfer and from lattices.

Each party holds a and b with x = a + b mod 2^64, and knows its own. So comparison is one of private numbers: the top bit of x is
that of a, of b, and of the carry of their low 63 bits, which is whether a's are larger than 2^63 - 1 less b's (:mod:`digits`, then
a tree of ANDs, :mod:`forks`). Truncation never wraps by chance: for x + 2^62 in [0, 2^63) the sum wraps exactly when a or b has its
top bit, w = 1 - n_a n_b with n = 1 - top bit, and n_a n_b is one correlated transfer. Ring products come from :mod:`lattice`.

Security: semi-honest, either party, under dual learning parity with regular noise, which all transfers and ANDs come from
(:mod:`tallystick_node.engines.ot.silent.shape`; 124 bits of delta are unknown), AES as an ideal permutation, what
:mod:`tallystick_node.engines.ot.rows` says, and, for products, ring learning with errors.

A silent correlation takes 0.12 to 0.14 bytes where a batch of the largest size is used up, and some 16 in a first batch of 4800
(:mod:`tallystick_node.engines.ot.silent.supply`); one with a choice is a transfer and takes 1/8 more.

| method | for each element | bytes beside those, both parties | rounds beside theirs |
|---|---|---|---|
| ``multiply`` of each whole 8192 | nothing | 216 | 2 for four times as many |
| ``truncate`` | 1 transfer | 4 | 1 |
| ``negative`` | 16 silent correlations one way, 15 each way | 64.1 + 2 * 44/8 | 6 |
| ``decompose`` | 256 silent correlations each way | 2 * (16 + 72) | 7 |
| ``to_arithmetic`` | 1 transfer | 8 | 1 |
| ``agree`` in 4 d bits | d silent correlations one way, d - 1 each way | (19 d + 4 (d - 1)) / 8 | 2 + log2(d) |
| ``gate`` | 2 transfers, or 1 of numbers that one party knows | 16, or 8 | 2, or 1 |
| ``inner`` of (r, n) and (n, c), for n of 2^18 | nothing | 25 (r + c) n + 1.5 r c n | 2 |
| ``and_`` | 1 silent correlation each way for each bit | 4 for each byte of the words | 1 |
| ``shuffle`` of 2^k rows of c words | 2 k - 1 transfers | 16 c (2 k - 1) | 4 k - 2 |
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.beaver import digits, equality, networks, planes
from tallystick_node.engines.mpc.beaver.additive import CHUNK, Additive
from tallystick_node.engines.mpc.beaver.columns import joined, parted
from tallystick_node.engines.mpc.beaver.correlations import Correlations, Fork, Triple
from tallystick_node.engines.mpc.beaver.forks import Forks
from tallystick_node.engines.mpc.beaver.lattice.products import Products
from tallystick_node.engines.mpc.beaver.lattice.transform import N
from tallystick_node.engines.mpc.permutation import permutation
from tallystick_node.engines.mpc.protocol import Binary, Shares
from tallystick_node.engines.mpc.prss import SEED, Stream, blocks
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.ot.extension import OtReceiver, OtSender
from tallystick_node.engines.ot.rows import RowReceiver, RowSender
from tallystick_node.engines.ot.silent.field import BITS, NIBBLES
from tallystick_node.engines.ot.silent.forest import Room
from tallystick_node.engines.ot.silent.pads import Pads
from tallystick_node.engines.ot.silent.supply import SilentRowReceiver, SilentRowSender, SupplyReceiver, SupplySender
from tallystick_node.engines.security import SecurityStatement

_LABEL = b"additive sharing"
_TOP = np.uint64(63)
_LOW = np.uint64((1 << 63) - 1)
_OFFSET = np.uint64(1 << 62)


class ObliviousCorrelations(Correlations):
    """Correlated randomness that two parties make between them."""

    def __init__(self, session: Session) -> None:
        """Makes the base transfers in both directions."""
        peer = 1 - session.index
        if session.index == 0:
            given, got = RowSender(session, peer, _LABEL, one=NIBBLES.bits), RowReceiver(session, peer, _LABEL)
        else:
            got, given = RowReceiver(session, peer, _LABEL), RowSender(session, peer, _LABEL, one=NIBBLES.bits)
        room = Room()
        supplies = SupplySender(session, peer, given, BITS, room), SupplyReceiver(session, peer, got, BITS, room)
        self.sender = OtSender(session, peer, SilentRowSender(session, peer, supplies[0]))
        self.receiver = OtReceiver(session, peer, SilentRowReceiver(session, peer, supplies[1]))
        self.pads = Pads(session.context, session.index), Pads(session.context, peer)
        self._forks = Forks(*supplies, self.pads, first=session.index == 0)
        self.digits_offered = SupplySender(session, peer, given, NIBBLES, room)
        self.digits_chosen = SupplyReceiver(session, peer, got, NIBBLES, room)
        self.products = Products(session)

    def triples(self, count: int) -> Triple:
        """From lattices."""
        return self.products.triples(count)

    def matrices(self, rows: int, inner: int, columns: int) -> Triple:
        """From lattices."""
        return self.products.matrices(rows, inner, columns)

    def forks(self, count: int) -> Fork:
        """From transfers."""
        return self._forks.take(count)


class ObliviousAdditive(Additive):
    """One of two parties."""

    name: ClassVar[str] = "two-party"

    def __init__(self, session: Session) -> None:
        """Makes the base transfers and exchanges keys."""
        if session.parties != 2:
            raise ValueError("without a dealer additive sharing is for two parties")
        super().__init__(session)
        self._correlations = ObliviousCorrelations(session)
        self._orders = Stream(secrets.token_bytes(SEED))

    @classmethod
    def security(cls, parties: int) -> SecurityStatement:
        """Semi-honest, either of two parties, nobody trusted."""
        if parties != 2:
            raise ValueError("without a dealer additive sharing is for two parties")
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=1,
            parties=2,
            computational_bits=124,
            statistical_bits=38,
            trusted=(),
            learns={"computing party": "nothing"},
            references=(
                "D. Beaver, CRYPTO 1991",
                "L. Roy, SoftSpokenOT, CRYPTO 2022",
                "E. Boyle et al., Efficient two-round OT extension and silent non-interactive secure computation, CCS 2019",
                "S. Raghuraman, P. Rindal and T. Tanguy, CRYPTO 2023: dual learning parity with regular noise",
                "D. Rathee et al., CrypTFlow2, CCS 2020, section 3",
                "P. Mohassel and S. Sadeghian, EUROCRYPT 2013, section 3.1",
                "Z. Huang, W. Lu, C. Hong and J. Ding, Cheetah, USENIX Security 2022, section 3",
            ),
        )

    @property
    def _source(self) -> Correlations:
        return self._correlations

    def multiply(self, left: Shares, right: Shares) -> Shares:
        """Element by element, in the ring: of as many as fill ciphertexts the shares themselves are multiplied, so that no triple
        need be opened; of the rest, by triples."""
        if left.shape != right.shape:
            raise ValueError(f"the shapes {left.shape} and {right.shape} differ")
        x, y = (np.ascontiguousarray(each.parts[0]).reshape(-1) for each in (left, right))
        whole = x.size // N * N
        out = np.empty(x.size, np.uint64)
        if whole:
            out[:whole] = self._correlations.products.multiply(x[:whole], y[:whole])
        if whole < x.size:
            out[whole:] = super().multiply(Shares((x[whole:],)), Shares((y[whole:],))).parts[0]
        return Shares((out.reshape(left.shape),))

    def truncate(self, secret: Shares, bits: int) -> Shares:
        """Secrets below 2^62 in magnitude, shifted right by 1 to 31 bits; the error is 0 or -1."""
        if not 1 <= bits <= 31:
            raise ValueError("secrets are shifted by 1 to 31 bits")
        given = np.ascontiguousarray(secret.parts[0]).reshape(-1)
        out = np.empty(given.size, np.uint64)
        shift, lift = np.uint64(bits), np.uint64(64 - bits)
        for block in blocks(given.size, CHUNK):
            if self.index == 0:
                a = given[block] + _OFFSET
                not_top = (np.uint64(1) - (a >> _TOP)).astype(np.uint32)
                crossed = np.uint32(0) - self._correlations.sender.correlated(not_top)
                out[block] = (a >> shift) - (np.uint64(1) << lift) - (_OFFSET >> shift)
            else:
                b = given[block]
                choices = (np.uint64(1) - (b >> _TOP)).astype(np.uint8)
                crossed = self._correlations.receiver.correlated(choices, np.uint32)
                out[block] = b >> shift
            out[block] += crossed.astype(np.uint64) << lift
        return Shares((out.reshape(secret.shape),))

    def gate(self, bits: Binary, values: Shares, owner: int | None = None) -> Shares:
        """Each secret where its bit is 1, zero elsewhere (Rathee et al., CrypTFlow2, CCS 2020, section 4.1.2). ``owner``: who knows
        the secrets, so that the other's part of each is zero."""
        if bits.shape != values.shape or bits.width != 1:
            raise ValueError("there is one bit for each secret")
        choices, given = (np.ascontiguousarray(each.parts[0]).reshape(-1) for each in (bits, values))
        out = given * choices
        for block in blocks(given.size, CHUNK):
            for sender in range(2) if owner is None else (owner,):
                if self.index == sender:  # what flips where the other's bit is 1: from b v to v - b v
                    change = given[block] * (np.uint64(1) - np.uint64(2) * choices[block])
                    out[block] -= self._correlations.sender.correlated(change)
                else:
                    out[block] += self._correlations.receiver.correlated(choices[block])
        return Shares((out.reshape(values.shape),))

    def agree(self, own: Ring, width: int) -> Binary:
        """Whether the low ``width`` bits, a multiple of 4, of this party's private number are those of the other's: of each digit
        by a transfer, then all by a tree of ANDs."""
        if width % equality.WIDTH or not 0 < width <= 64:
            raise ValueError("numbers are compared by whole digits of 4 bits, at most 16 of them")
        out = np.empty(own.size, np.uint8)
        for block in blocks(own.size, CHUNK):
            given = planes.of_numbers(own[block])[:width]
            if self.index == 0:
                same = equality.offer(self.session, 1, self._correlations.digits_offered, self._correlations.pads[0], given)
            else:
                same = equality.choose(self.session, 0, self._correlations.digits_chosen, self._correlations.pads[1], given)
            while len(same) > 1:
                half = len(same) // 2
                same = np.concatenate([self._and(same[:half], same[half : 2 * half], "agree"), same[2 * half :]])
            out[block] = planes.to_bits(same[0], own[block].size)
        return Binary((out,))

    def inner(self, left: Shares, right: Shares) -> Shares:
        """The product of (r, n) and (n, c), in the ring, like :meth:`matmul`: cheaper for few rows and columns and a long n."""
        if len(left.shape) != 2 or len(right.shape) != 2 or left.shape[1] != right.shape[0]:
            raise ValueError(f"matrices of shapes {left.shape} and {right.shape} have no product")
        return Shares((self._correlations.products.inner(left.parts[0], np.ascontiguousarray(right.parts[0])),))

    def negative(self, secret: Shares) -> Binary:
        """The top bit of each secret. Exact for every ring element."""
        given = np.ascontiguousarray(secret.parts[0]).reshape(-1)
        out = np.empty(given.size, np.uint8)
        for block in blocks(given.size, CHUNK):
            low = given[block] & _LOW
            if self.index == 0:
                source = self._correlations.digits_offered
                larger, equal = digits.offer(self.session, 1, source, self._correlations.pads[0], low)
            else:
                goal = self._correlations.digits_chosen
                larger, equal = digits.choose(self.session, 0, goal, self._correlations.pads[1], low ^ _LOW)
            carry = planes.to_bits(self._carry(larger, equal, "negative"), low.size)
            out[block] = (given[block] >> _TOP).astype(np.uint8) ^ carry
        return Binary((out.reshape(secret.shape),))

    def decompose(self, secret: Shares) -> Binary:
        """The 64 bits of each secret, as words: the sum of both parties' numbers, bit by bit."""
        given = np.ascontiguousarray(secret.parts[0]).reshape(-1)
        out = np.empty(given.size, np.uint64)
        for block in blocks(given.size, CHUNK):
            mine = planes.of_numbers(given[block])
            nothing = np.zeros_like(mine)
            generate = self._and(*((mine, nothing) if self.index == 0 else (nothing, mine)), "decompose")
            carries = self._carries(generate, mine, "decompose")
            out[block] = planes.to_numbers(mine ^ carries, given[block].size)
        return Binary((out.reshape(secret.shape),), 64)

    def shuffle(self, rows: Sequence[Shares]) -> list[Shares]:
        """Arrays of one first dimension, permuted along it by one uniform permutation that no party knows: by one that party 0
        draws, then by one that party 1 draws."""
        matrix, widths = joined(rows)
        length = len(matrix)
        size = 1 << networks.depth(length)
        matrix = np.concatenate([matrix, np.zeros((size - length, matrix.shape[1]), np.uint64)])
        for holder in range(2):
            if self.index == holder:
                order = np.arange(size)
                order[:length] = permutation(self._orders, length)
                matrix = networks.direct(self.session, 1 - holder, self._correlations.receiver, networks.route(order), matrix)
            else:
                matrix = networks.carry(self.session, holder, self._correlations.sender, matrix)
        return parted(matrix[:length], widths, rows)

    def _lift(self, bits: NDArray[np.uint8]) -> Ring:
        """b_0 + b_1 - 2 b_0 b_1: the product by one correlated transfer."""
        own = bits.astype(np.uint64)
        if self.index == 0:
            own -= self._correlations.sender.correlated(np.uint64(0) - (own << np.uint64(1)))
        else:
            own += self._correlations.receiver.correlated(bits)
        return own

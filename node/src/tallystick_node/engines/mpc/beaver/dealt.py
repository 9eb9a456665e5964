"""Additive sharing with a named dealer, for two parties or more: every mask and every product of masks comes from the dealer.

Comparison opens c = x + r for a random r that is shared both by addition and by XOR; with c known, the top bit of x = c - r is that
of c and r and the borrow of their low 63 bits, which is a comparison of a public number with a shared one. Truncation is exact but
for the last place: with x + 2^62 in [0, 2^63) the opened c = x + 2^62 + r tells, with the top bit of r, whether the low 63 bits
carried (Escudero, Ghosh, Keller, Rachuri and Scholl, CRYPTO 2020, section 5; Dalskov, Escudero and Keller, USENIX Security 2021).

Security: semi-honest; all but one of the computing parties may collude, but not with the dealer, who must be trusted to deal well
and to keep what it deals to itself (:mod:`dealer`). Under AES as a pseudo-random function.

| method | bytes from the dealer | bytes that each party sends to each other | rounds |
|---|---|---|---|
| ``multiply`` | 8 | 16 | 1 |
| ``matmul`` of (m, k) and (k, n) | 8 m n | 8 (m k + k n) | 1 |
| ``and_`` | 2 for each byte of the words | 2 for each byte of the words | 1 |
| ``truncate`` | 16 | 8 | 1 |
| ``negative`` | 8 + 126/8 | 8 + 188/8 | 7 |
| ``decompose`` | 8 + 48 | 8 + 72 | 7 |
| ``to_arithmetic`` | 8 | 1/8 | 1 |
| ``shuffle`` of n parties | 8 n | 8 | n |

The last computing party waits for the dealer's answer before each of these rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.mpc.beaver import planes
from tallystick_node.engines.mpc.beaver.additive import CHUNK, Additive
from tallystick_node.engines.mpc.beaver.columns import joined, parted
from tallystick_node.engines.mpc.beaver.correlations import Correlations, Fork, Triple
from tallystick_node.engines.mpc.beaver.dealer import Dealt
from tallystick_node.engines.mpc.beaver.deals import BitDeal, ForkDeal, MatrixDeal, OrderDeal, ShiftDeal, TripleDeal, WordDeal
from tallystick_node.engines.mpc.protocol import Binary, Shares
from tallystick_node.engines.mpc.prss import blocks
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.security import SecurityStatement

_TOP = np.uint64(63)
_OFFSET = np.uint64(1 << 62)


class DealtCorrelations(Correlations):
    """What the dealer deals."""

    def __init__(self, session: Session, dealer: int) -> None:
        self.dealt = Dealt(session, dealer)

    def triples(self, count: int) -> Triple:
        """8 bytes each from the dealer."""
        return Triple(*self.dealt.deal(TripleDeal(count)))

    def matrices(self, rows: int, inner: int, columns: int) -> Triple:
        """8 bytes for each element of the product from the dealer."""
        return Triple(*self.dealt.deal(MatrixDeal(rows, inner, columns)))

    def forks(self, count: int) -> Fork:
        """16 bytes for each word from the dealer."""
        a, b_0, b_1, c_0, c_1 = self.dealt.deal(ForkDeal(count))
        return Fork(a, (b_0, b_1), (c_0, c_1))


class DealtAdditive(Additive):
    """A computing party's side. Parties are numbered without the dealer."""

    name: ClassVar[str] = "additive-dealt"

    def __init__(self, session: Session, dealer: int) -> None:
        """``dealer`` is the number in ``session`` of the participant that runs
        :class:`~tallystick_node.engines.mpc.beaver.dealer.Dealer`."""
        members = [party for party in range(session.parties) if party != dealer]
        channels = {members.index(peer): channel for peer, channel in session.channels.items() if peer != dealer}
        super().__init__(replace(session, index=members.index(session.index), channels=channels))
        self._correlations = DealtCorrelations(session, dealer)

    @classmethod
    def security(cls, parties: int) -> SecurityStatement:
        """Semi-honest, all but one of ``parties`` computing parties, with a trusted dealer."""
        if parties < 2:
            raise ValueError("additive sharing is for two parties or more")
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=parties - 1,
            parties=parties,
            computational_bits=128,
            statistical_bits=64,
            trusted=("dealer",),
            learns={
                "computing party": "nothing",
                "dealer": "how many operations of each kind there are; every secret, if it colludes with a computing party",
            },
            references=(
                "D. Beaver, CRYPTO 1991",
                "D. Escudero, S. Ghosh, M. Keller, R. Rachuri and P. Scholl, CRYPTO 2020, section 5",
                "M. Chase, E. Ghosh and O. Poburinnaya, EUROCRYPT 2020, section 3",
            ),
        )

    def close(self) -> None:
        """Let the dealer go."""
        self._correlations.dealt.close()

    @property
    def _source(self) -> Correlations:
        return self._correlations

    def truncate(self, secret: Shares, bits: int) -> Shares:
        """Secrets below 2^62 in magnitude, shifted right by 1 to 31 bits; the error is 0 or 1."""
        if not 1 <= bits <= 31:
            raise ValueError("secrets are shifted by 1 to 31 bits")
        given = np.ascontiguousarray(secret.parts[0]).reshape(-1)
        out = np.empty(given.size, np.uint64)
        shift, lift = np.uint64(bits), np.uint64(63 - bits)
        first = np.uint64(self.index == 0)
        for block in blocks(given.size, CHUNK):
            r, middle, top = self._correlations.dealt.deal(ShiftDeal(block.stop - block.start, bits))
            self.session.mark("truncate")
            c = self._open(given[block] + r + first * _OFFSET, "truncate")
            # The low 63 bits of c are those of x + r less 2^63 where the top bits of c and r differ: c_top + r_top - 2 c_top r_top.
            carried = first * (c >> _TOP) + top - np.uint64(2) * (c >> _TOP) * top
            public = ((c << np.uint64(1)) >> np.uint64(bits + 1)) - (_OFFSET >> shift)
            out[block] = first * public - middle + (carried << lift)
        return Shares((out.reshape(secret.shape),))

    def negative(self, secret: Shares) -> Binary:
        """The top bit of each secret. Exact for every ring element."""
        given = np.ascontiguousarray(secret.parts[0]).reshape(-1)
        out = np.empty(given.size, np.uint8)
        for block in blocks(given.size, CHUNK):
            c, r = self._masked(given[block], "negative")
            generate, propagate = ~c & r, self._among_first(~c) ^ r
            generate[63], propagate[63] = np.uint64(0), self._among_first(np.full_like(c[63], ~np.uint64(0)))
            borrow = self._carry(generate, propagate, "negative")
            out[block] = planes.to_bits(borrow ^ r[63] ^ self._among_first(c[63]), block.stop - block.start)
        return Binary((out.reshape(secret.shape),))

    def decompose(self, secret: Shares) -> Binary:
        """The 64 bits of each secret, as words."""
        given = np.ascontiguousarray(secret.parts[0]).reshape(-1)
        out = np.empty(given.size, np.uint64)
        for block in blocks(given.size, CHUNK):
            c, r = self._masked(given[block], "decompose")
            # x = c + ~r + 1: places generate c & ~r and propagate c ^ ~r; the carry into the lowest is 1.
            inverted = r ^ self._among_first(np.full_like(c, ~np.uint64(0)))
            generate, propagate = c & inverted, self._among_first(c) ^ inverted
            generate[0] ^= propagate[0]
            carries = self._carries(generate, propagate, "decompose")
            carries[0] = self._among_first(np.full_like(c[0], ~np.uint64(0)))
            out[block] = planes.to_numbers(propagate ^ carries, block.stop - block.start)
        return Binary((out.reshape(secret.shape),), 64)

    def shuffle(self, rows: Sequence[Shares]) -> list[Shares]:
        """Arrays of one first dimension, permuted along it by one uniform permutation that no party knows: one after another, each
        party permutes what the others send it masked."""
        matrix, widths = joined(rows)
        for holder in range(self.parties):
            a, b, order = self._correlations.dealt.deal(OrderDeal(len(matrix), sum(widths), holder))
            self.session.mark("shuffle")
            if self.index == holder:
                for peer in sorted(self.session.channels):
                    matrix = matrix + receive_array(self.session, peer, matrix.shape, "shuffle")
                matrix = matrix[order.astype(np.int64)] + b
            else:
                send_array(self.session, holder, matrix - a)
                matrix = b
        return parted(matrix, widths, rows)

    def _lift(self, bits: NDArray[np.uint8]) -> Ring:
        """x + b - 2 x b for the opened x = bit ^ b: b is (1 - 2 x) b + x."""
        words, elements = self._correlations.dealt.deal(BitDeal(-(-bits.size // 64)))
        self.session.mark("to arithmetic")
        opened = planes.to_bits(self._open_binary(planes.of_bits(bits) ^ words, "to arithmetic"), bits.size).astype(np.uint64)
        part: Ring = elements[: bits.size] * (np.uint64(1) - np.uint64(2) * opened)
        return part + opened if self.index == 0 else part

    def _masked(self, given: Ring, step: str) -> tuple[Ring, Ring]:
        """The planes of the opened c = x + r, and this party's part of the planes of r."""
        r, words = self._correlations.dealt.deal(WordDeal(given.size))
        self.session.mark(step)
        return planes.of_numbers(self._open(given + r, step)), planes.of_numbers(words)

    def _among_first(self, public: Ring) -> Ring:
        """Public words as shared ones: at the first party, zeros elsewhere."""
        return public if self.index == 0 else np.zeros_like(public)

"""Writing circuits: words of wires and the arithmetic on them, each adder bit for one AND gate.

Sums and carries follow Boyar, Peralta and Pochuev (Theoretical Computer Science 2000): c' = c + (a + c)(b + c), one AND for each
bit. XOR and INV gates cost nothing when garbled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.garbling.circuit import Circuit, Kind

Word = list[int]  # the wires of a value, the least significant bit first


class Builder:
    """A circuit in the making. Declare all inputs first; then compute; then name the outputs and :meth:`build`."""

    def __init__(self) -> None:
        self._inputs: list[int] = []
        self._outputs: list[Word] = []
        self._gates: list[tuple[int, int, int]] = []
        self._constants: dict[int, int] = {}

    def input(self, width: int) -> Word:
        """The wires of the next input value. Raises ValueError after the first gate."""
        if self._gates:
            raise ValueError("inputs come before gates")
        first = sum(self._inputs)
        self._inputs.append(width)
        return list(range(first, first + width))

    def output(self, word: Word) -> None:
        """The next output value."""
        self._outputs.append(word)

    def build(self) -> Circuit:
        """The circuit. Raises CircuitError without inputs or outputs."""
        table = np.array(self._gates, np.int32).reshape(-1, 3)
        first = sum(self._inputs)
        return Circuit(
            tuple(self._inputs),
            tuple(len(word) for word in self._outputs),
            table[:, 0].astype(np.uint8),
            table[:, 1].copy(),
            table[:, 2].copy(),
            np.arange(first, first + len(table), dtype=np.int32),
            np.array([wire for word in self._outputs for wire in word], np.int32),
        )

    # -- bits

    def xor(self, left: int, right: int) -> int:
        """One bit."""
        return self._gate(Kind.XOR, left, right)

    def and_(self, left: int, right: int) -> int:
        """One bit."""
        return self._gate(Kind.AND, left, right)

    def not_(self, bit: int) -> int:
        """One bit."""
        return self._gate(Kind.INV, bit, 0)

    def constant(self, bit: int) -> int:
        """A wire that is always 0, or always 1."""
        if bit not in self._constants:
            self._constants[bit] = self._gate(Kind.EQ, bit, 0)
        return self._constants[bit]

    # -- words; the operands have one width, which is the result's unless said otherwise

    def word(self, value: int, width: int) -> Word:
        """A constant."""
        return [self.constant(value >> place & 1) for place in range(width)]

    def xor_words(self, *words: Word) -> Word:
        """Bit by bit, of two words or more."""
        first, *rest = words
        for word in rest:
            first = [self.xor(a, b) for a, b in zip(first, word, strict=True)]
        return first

    def select(self, bit: int, when: Word, otherwise: Word) -> Word:
        """``when`` where the bit is 1, ``otherwise`` where it is 0. One AND for each bit."""
        return self.select_words([bit] * len(when), when, otherwise)

    def select_words(self, bits: Word, when: Word, otherwise: Word) -> Word:
        """:meth:`select`, with a bit for each place."""
        return [self.xor(b, self.and_(bit, self.xor(a, b))) for bit, a, b in zip(bits, when, otherwise, strict=True)]

    def majority(self, a: Word, b: Word, c: Word) -> Word:
        """What two or three of three words have, bit by bit."""
        return [self._carry(*bits) for bits in zip(a, b, c, strict=True)]

    def add(self, left: Word, right: Word) -> Word:
        """The sum modulo 2^width, for width - 1 ANDs."""
        total, carry = [self.xor(left[0], right[0])], -1
        for place in range(1, len(left)):
            a, b = left[place - 1], right[place - 1]
            carry = self.and_(a, b) if carry < 0 else self._carry(a, b, carry)
            total.append(self.xor(self.xor(left[place], right[place]), carry))
        return total

    def add_many(self, words: Sequence[Word]) -> Word:
        """The sum modulo 2^width of two words or more: carries are saved until two words are left, for a depth near the width."""
        queue = list(words)
        while len(queue) > 2:
            a, b, c = queue[:3]
            carries = self.majority(a[:-1], b[:-1], c[:-1])
            queue = [*queue[3:], self.xor_words(a, b, c), [self.constant(0), *carries]]
        return self.add(*queue)

    def subtract(self, left: Word, right: Word) -> Word:
        """The difference modulo 2^width, for width - 1 ANDs: not (not left + right)."""
        inverted = [self.not_(bit) for bit in left]
        return [self.not_(bit) for bit in self.add(inverted, right)]

    def multiply(self, left: Word, right: Word) -> Word:
        """The product modulo 2^width, row by row: about width^2 ANDs."""
        total = [self.and_(bit, right[0]) for bit in left]
        for place in range(1, len(right)):
            row = [self.and_(bit, right[place]) for bit in left[: len(left) - place]]
            total = total[:place] + self.add(total[place:], row)
        return total

    def less(self, left: Word, right: Word) -> int:
        """Whether left < right as unsigned integers: the borrow of left - right, for width ANDs."""
        borrow = self.and_(self.not_(left[0]), right[0])
        for a, b in zip(left[1:], right[1:], strict=True):
            borrow = self._carry(self.not_(a), b, borrow)
        return borrow

    def less_signed(self, left: Word, right: Word) -> int:
        """Whether left < right in two's complement: as unsigned with the top bits inverted."""
        return self.less([*left[:-1], self.not_(left[-1])], [*right[:-1], self.not_(right[-1])])

    def equal(self, left: Word, right: Word) -> int:
        """Whether the words are equal, for width - 1 ANDs and the logarithm of the width in depth."""
        bits = [self.not_(self.xor(a, b)) for a, b in zip(left, right, strict=True)]
        while len(bits) > 1:
            pairs = [self.and_(a, b) for a, b in zip(bits[::2], bits[1::2], strict=False)]
            bits = pairs + bits[len(pairs) * 2 :]
        return bits[0]

    # -- steps

    def _carry(self, a: int, b: int, c: int) -> int:
        """The majority of three bits."""
        return self.xor(c, self.and_(self.xor(a, c), self.xor(b, c)))

    def _gate(self, kind: Kind, left: int, right: int) -> int:
        self._gates.append((kind, left, right))
        return sum(self._inputs) + len(self._gates) - 1

"""Correlated randomness that a dealer makes: all parties draw their parts from seeds, and one of them is sent what makes the parts
fit. Parties and dealer run the same code here, so that they draw the same bytes in the same order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from tallystick_node.engines.mpc.matrix import add_product
from tallystick_node.engines.mpc.permutation import permutation
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.mpc.ring import Ring

Arrays = tuple[Ring, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Deal(ABC):
    """A batch of one kind of correlated randomness. The fields are its dimensions, non-negative integers."""

    @property
    @abstractmethod
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the arrays of words that a party draws."""

    @property
    @abstractmethod
    def fitted(self) -> tuple[int, ...]:
        """The numbers of the arrays to which the receiver adds corrections."""

    @abstractmethod
    def corrections(self, drawn: Sequence[Arrays]) -> Arrays:
        """The corrections, from what each party drew."""

    def sound(self, parties: int) -> bool:
        """Whether the dimensions mean something among so many parties."""
        return True

    def receiver(self, parties: int) -> int:
        """The party that gets the corrections: the last."""
        return parties - 1

    def draw(self, stream: Stream) -> Arrays:
        """One party's arrays, from its seed."""
        return tuple(stream.elements(shape) for shape in self.shapes)

    def corrected(self, drawn: Arrays, corrections: Arrays) -> Arrays:
        """The receiver's arrays."""
        fits = dict(zip(self.fitted, corrections, strict=True))
        return tuple(array + fits[number] if number in fits else array for number, array in enumerate(drawn))


@dataclass(frozen=True)
class TripleDeal(Deal):
    """a, b and c = a b."""

    count: int
    fitted = (2,)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """a, b, c."""
        return ((self.count,),) * 3

    def corrections(self, drawn: Sequence[Arrays]) -> Arrays:
        """Of c."""
        a, b, c = (_sum(drawn, number) for number in range(3))
        return (a * b - c,)


@dataclass(frozen=True)
class MatrixDeal(Deal):
    """Matrices a, b and c, their product."""

    rows: int
    inner: int
    columns: int
    fitted = (2,)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """a, b, c."""
        return (self.rows, self.inner), (self.inner, self.columns), (self.rows, self.columns)

    def corrections(self, drawn: Sequence[Arrays]) -> Arrays:
        """Of c."""
        a, b, c = (_sum(drawn, number) for number in range(3))
        out = np.uint64(0) - c
        add_product(out, a, b)
        return (out,)


@dataclass(frozen=True)
class ForkDeal(Deal):
    """Words a, b_0, b_1, a & b_0 and a & b_1, by XOR."""

    count: int
    fitted = (3, 4)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """a, b_0, b_1, c_0, c_1."""
        return ((self.count,),) * 5

    def corrections(self, drawn: Sequence[Arrays]) -> Arrays:
        """Of c_0 and c_1."""
        a, b_0, b_1, c_0, c_1 = (_xor(drawn, number) for number in range(5))
        return (a & b_0) ^ c_0, (a & b_1) ^ c_1

    def corrected(self, drawn: Arrays, corrections: Arrays) -> Arrays:
        """The receiver's words."""
        return *drawn[:3], drawn[3] ^ corrections[0], drawn[4] ^ corrections[1]


@dataclass(frozen=True)
class ShiftDeal(Deal):
    """r, the number that bits ``bits`` to 62 of r make, and bit 63 of r."""

    count: int
    bits: int
    fitted = (1, 2)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """r, its middle, its top."""
        return ((self.count,),) * 3

    def sound(self, parties: int) -> bool:
        """A shift of 1 to 31 bits."""
        return 1 <= self.bits <= 31

    def corrections(self, drawn: Sequence[Arrays]) -> Arrays:
        """Of the middle and the top."""
        r, middle, top = (_sum(drawn, number) for number in range(3))
        return ((r << np.uint64(1)) >> np.uint64(self.bits + 1)) - middle, (r >> np.uint64(63)) - top


@dataclass(frozen=True)
class WordDeal(Deal):
    """r, by addition, and r, by XOR."""

    count: int
    fitted = (1,)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Both."""
        return ((self.count,),) * 2

    def corrections(self, drawn: Sequence[Arrays]) -> Arrays:
        """Of the second."""
        return (_sum(drawn, 0) ^ _xor(drawn, 1),)

    def corrected(self, drawn: Arrays, corrections: Arrays) -> Arrays:
        """The receiver's words."""
        return drawn[0], drawn[1] ^ corrections[0]


@dataclass(frozen=True)
class BitDeal(Deal):
    """Random bits by XOR, 64 in a word, and each as a ring element, by addition; element i w + k is bit i of word k of w words."""

    words: int
    fitted = (1,)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The words, then the elements."""
        return (self.words,), (64 * self.words,)

    def corrections(self, drawn: Sequence[Arrays]) -> Arrays:
        """Of the elements."""
        places = np.arange(64, dtype=np.uint64)[:, None]
        elements = ((_xor(drawn, 0) >> places) & np.uint64(1)).reshape(-1)
        return (elements - _sum(drawn, 1),)


@dataclass(frozen=True)
class OrderDeal(Deal):
    """A permutation of rows that ``holder`` knows, masks a, of which every other party knows its own, and parts b.

    For the others' a_i and b_i the holder's b is (sum of a_i, permuted) less the sum of b_i (Chase, Ghosh and Poburinnaya,
    EUROCRYPT 2020, section 3).
    """

    rows: int
    columns: int
    holder: int
    fitted = (1,)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """a, b."""
        return ((self.rows, self.columns),) * 2

    def sound(self, parties: int) -> bool:
        """A holder among the parties."""
        return self.holder < parties

    def receiver(self, parties: int) -> int:
        """The holder."""
        return self.holder

    def draw(self, stream: Stream) -> Arrays:
        """a, b, and the order."""
        return *super().draw(stream), permutation(stream, self.rows).astype(np.uint64)

    def corrections(self, drawn: Sequence[Arrays]) -> Arrays:
        """Of b."""
        others = [arrays for party, arrays in enumerate(drawn) if party != self.holder]
        order = drawn[self.holder][2].astype(np.int64)
        return (_sum(others, 0)[order] - _sum(drawn, 1),)


KINDS: tuple[type[Deal], ...] = (TripleDeal, MatrixDeal, ForkDeal, ShiftDeal, WordDeal, BitDeal, OrderDeal)


def _sum(drawn: Sequence[Arrays], number: int) -> Ring:
    return reduce(np.add, [arrays[number] for arrays in drawn])


def _xor(drawn: Sequence[Arrays], number: int) -> Ring:
    return reduce(np.bitwise_xor, [arrays[number] for arrays in drawn])

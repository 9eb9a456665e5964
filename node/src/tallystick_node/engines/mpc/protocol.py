"""What every secret-sharing protocol over Z_2^64 offers, so that operations are written once and run on any of them.

An array of secrets is a :class:`Shares` (arithmetic: the parts add up to the secret) or a :class:`Binary` (Boolean: the parts
XOR to it). What is linear is done on the parts, without a message. Everything else is a method of the :class:`Protocol`, which
all parties call in the same order with the same public arguments; all elements of an array share its rounds.

A protocol need not say how many parts a party holds (two in replicated sharing, one in additive sharing): only its own methods
look inside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.security import SecurityStatement

Words = NDArray[Any]  # of an unsigned type
Index = Any  # what a NumPy array can be indexed with


@dataclass(frozen=True)
class Shares:
    """An array of secrets in Z_2^64, as one party holds it: ``parts`` are uint64 arrays of the array's shape."""

    parts: tuple[Ring, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.parts[0].shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.parts[0].size

    def __add__(self, other: Shares) -> Shares:
        return Shares(tuple(a + b for a, b in zip(self.parts, other.parts, strict=True)))

    def __sub__(self, other: Shares) -> Shares:
        return Shares(tuple(a - b for a, b in zip(self.parts, other.parts, strict=True)))

    def __neg__(self) -> Shares:
        return self.map(lambda part: np.uint64(0) - part)

    def scaled(self, factor: Ring | np.uint64) -> Shares:
        """Each secret times a public ring element."""
        return self.map(lambda part: part * factor)

    def sum(self, axis: int | None = None) -> Shares:
        """The sum along an axis, or of all."""
        return self.map(lambda part: np.asarray(part.sum(axis=axis, dtype=np.uint64)))

    def __getitem__(self, index: Index) -> Shares:
        return self.map(lambda part: np.asarray(part[index]))

    def reshape(self, *shape: int) -> Shares:
        """The same elements in another shape."""
        return self.map(lambda part: part.reshape(shape))

    def map(self, linear: Callable[[Ring], Ring]) -> Shares:
        """Apply a linear function to every part: to move, repeat, gather or add up elements."""
        return Shares(tuple(linear(part) for part in self.parts))


@dataclass(frozen=True)
class Binary:
    """An array of secret words of ``width`` bits (1 to 64), shared by XOR.

    The parts are unsigned arrays of the array's shape and of the narrowest of uint8, uint16, uint32, uint64 that holds ``width``
    bits; bits above ``width`` are zero. A bit is a word of width 1: a uint8 that is 0 or 1.
    """

    parts: tuple[Words, ...]
    width: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.parts[0].shape

    @property
    def size(self) -> int:
        """The number of words."""
        return self.parts[0].size

    def __xor__(self, other: Binary) -> Binary:
        return Binary(tuple(a ^ b for a, b in zip(self.parts, other.parts, strict=True)), self.width)

    def __getitem__(self, index: Index) -> Binary:
        return self.map(lambda part: np.asarray(part[index]))

    def reshape(self, *shape: int) -> Binary:
        """The same words in another shape."""
        return self.map(lambda part: part.reshape(shape))

    def map(self, linear: Callable[[Words], Words], width: int | None = None) -> Binary:
        """Apply a function that is linear over XOR to every part: to move, shift or mask bits."""
        return Binary(tuple(linear(part) for part in self.parts), width or self.width)

    def bit(self, place: int) -> Binary:
        """Bit ``place`` of every word."""
        return self.map(lambda part: ((part >> part.dtype.type(place)) & part.dtype.type(1)).astype(np.uint8), 1)


def word_type(width: int) -> type[np.unsignedinteger[Any]]:
    """The type of words of ``width`` bits."""
    for kind in (np.uint8, np.uint16, np.uint32):
        if width <= 8 * np.dtype(kind).itemsize:
            return kind
    return np.uint64


def concatenate(arrays: Sequence[Shares], axis: int = 0) -> Shares:
    """Join arrays of secrets, so that they share the rounds of what follows."""
    return Shares(tuple(np.concatenate(parts, axis=axis) for parts in zip(*(each.parts for each in arrays), strict=True)))


class Protocol(ABC):
    """One party's side of a secret-sharing protocol over Z_2^64.

    Shapes: element-wise methods take operands of one shape (broadcast beforehand with :meth:`Shares.map`). A message of another
    length than the protocol's raises :class:`ProtocolViolation` naming its sender and step; a malicious-secure protocol raises it
    for every other deviation too, at the latest in the :meth:`reveal` that would show a value that depends on it.
    """

    name: ClassVar[str]
    session: Session

    @classmethod
    @abstractmethod
    def security(cls, parties: int) -> SecurityStatement:
        """What the protocol promises among ``parties`` parties."""

    @property
    def index(self) -> int:
        """This party's number."""
        return self.session.index

    @property
    def parties(self) -> int:
        """How many parties compute."""
        return self.session.parties

    # -- in and out

    @abstractmethod
    def share(self, owner: int, shape: tuple[int, ...], values: Ring | None = None) -> Shares:
        """Secrets of one party; only ``owner`` gives ``values``."""

    @abstractmethod
    def public(self, values: Ring) -> Shares:
        """Public values as shares, without a message."""

    @abstractmethod
    def public_binary(self, values: Words, width: int) -> Binary:
        """Public words as shares, without a message."""

    @abstractmethod
    def reveal(self, secret: Shares, to: Sequence[int] | None = None) -> Ring | None:
        """The values at the parties of ``to`` (None: all), None elsewhere."""

    @abstractmethod
    def reveal_binary(self, secret: Binary, to: Sequence[int] | None = None) -> Words | None:
        """The words at the parties of ``to`` (None: all), None elsewhere."""

    # -- parties that only bring secrets or only take results: what they do needs no session of the protocol

    @classmethod
    @abstractmethod
    def split(cls, values: Ring, parties: int) -> list[tuple[Ring, ...]]:
        """What an outside owner sends to each computing party: its parts, from the operating system's randomness."""

    @abstractmethod
    def accept(self, parts: tuple[Ring, ...]) -> Shares:
        """Secrets from the parts that an outside owner sent; checks that the parties hold one sharing where that can be checked."""

    @abstractmethod
    def disclose(self, secret: Shares) -> tuple[Ring, ...]:
        """What this party sends to an outside receiver; all checks that a :meth:`reveal` makes are made before."""

    @classmethod
    @abstractmethod
    def combine(cls, parts: Sequence[tuple[Ring, ...]]) -> Ring:
        """The values, at an outside receiver, from what every computing party disclosed. Raises ProtocolViolation where copies of a
        part differ."""

    # -- arithmetic

    @abstractmethod
    def multiply(self, left: Shares, right: Shares) -> Shares:
        """Element by element, in the ring."""

    @abstractmethod
    def matmul(self, left: Shares, right: Shares) -> Shares:
        """The matrix product of (m, k) and (k, n), in the ring."""

    @abstractmethod
    def truncate(self, secret: Shares, bits: int) -> Shares:
        """Secrets below 2^62 in magnitude, shifted right by 1 to 31 bits; the error is -1, 0 or 1 and never a wrap."""

    def multiply_fixed(self, left: Shares, right: Shares, fraction: int) -> Shares:
        """Fixed-point product: exact product below 2^62, shifted right by ``fraction``."""
        return self.truncate(self.multiply(left, right), fraction)

    def matmul_fixed(self, left: Shares, right: Shares, fraction: int) -> Shares:
        """Fixed-point matrix product; one truncation for each element of the result."""
        return self.truncate(self.matmul(left, right), fraction)

    # -- Boolean

    @abstractmethod
    def and_(self, left: Binary, right: Binary) -> Binary:
        """Bit by bit, of words of one width."""

    def not_(self, secret: Binary) -> Binary:
        """Every bit inverted, without a message."""
        kind = word_type(secret.width)
        ones = np.full(secret.shape, (1 << secret.width) - 1, kind)
        return secret ^ self.public_binary(ones, secret.width)

    # -- conversions

    @abstractmethod
    def negative(self, secret: Shares) -> Binary:
        """The top bit of each secret: whether it is negative. Exact for every ring element."""

    @abstractmethod
    def decompose(self, secret: Shares) -> Binary:
        """The 64 bits of each secret, as words."""

    @abstractmethod
    def to_arithmetic(self, bits: Binary) -> Shares:
        """Bits (width 1) as the ring elements 0 and 1."""

    @abstractmethod
    def compose(self, words: Binary) -> Shares:
        """The ring elements whose low ``width`` bits are the words."""

    # -- permutations

    @abstractmethod
    def shuffle(self, rows: Sequence[Shares]) -> list[Shares]:
        """Arrays of one first dimension, permuted along it by one uniform permutation that no party knows."""

    # -- randomness

    @abstractmethod
    def random(self, shape: tuple[int, ...]) -> Shares:
        """Uniform ring elements that no party knows."""

    def close(self) -> None:  # noqa: B027 - most have nobody to take leave of
        """Nothing more will be asked of the protocol."""

    def cost(self) -> Mapping[str, Any]:
        """Bytes, messages and rounds so far, by step: see :class:`tallystick_node.engines.channel.Meter`."""
        return self.session.meter.steps

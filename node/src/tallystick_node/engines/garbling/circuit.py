"""Boolean circuits: an immutable list of gates over wires, checked once, evaluated in the clear on many rows at a time.

A value is an integer of some width whose bits lie on as many wires, the least significant first. Bits of many rows are an array of
shape (width, rows) of uint8 zeros and ones. Byte strings are big-endian integers, as in the circuits of FIPS standards that are
published in Bristol fashion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled

Bits = NDArray[np.uint8]
Wires = NDArray[np.int32]


class CircuitError(ValueError):
    """What was given is no circuit, or the inputs do not fit it. The message names the gate, line or input."""


class Kind(IntEnum):
    """What a gate computes. EQ is a constant, EQW a copy."""

    XOR = 0
    AND = 1
    INV = 2
    EQ = 3
    EQW = 4


@dataclass(frozen=True, eq=False)
class Circuit:
    """Gates in an order in which every wire is computed before it is used.

    The wires 0, 1, ... are those of the inputs, in order; every other wire is the ``out`` of exactly one gate. ``left`` of an EQ
    gate is the constant itself. Only XOR and AND use ``right``. Raises CircuitError for what is no such list.
    """

    inputs: tuple[int, ...]  # the width of each input value
    outputs: tuple[int, ...]  # the width of each output value
    kinds: NDArray[np.uint8]  # of each gate, a Kind
    left: Wires
    right: Wires
    out: Wires
    results: Wires  # the wire of each output bit, all values in order

    def __post_init__(self) -> None:
        for array in (self.kinds, self.left, self.right, self.out, self.results):
            array.flags.writeable = False
        self._check()

    @property
    def gates(self) -> int:
        """The number of gates."""
        return len(self.kinds)

    @cached_property
    def wires(self) -> int:
        """The number of wires."""
        return sum(self.inputs) + self.gates

    @cached_property
    def ands(self) -> int:
        """The number of AND gates: what garbling pays for."""
        return int(np.count_nonzero(self.kinds == Kind.AND))

    @cached_property
    def depth(self) -> int:
        """The most AND gates on a path from an input to an output."""
        depths = np.zeros(self.wires, np.int32)
        _measure(self.kinds, self.left, self.right, self.out, depths)
        return int(depths[self.results].max(initial=0))

    def evaluate(self, *values: Bits) -> tuple[Bits, ...]:
        """The output values of the input values, in the clear. Arrays of shape (width, rows), one for each value.

        64 rows are computed at a time. Raises CircuitError when the number, a width or the rows of the inputs differ from the
        circuit's or from one another.
        """
        rows = self.require(values)
        words = -(-rows // 64)
        wires = np.empty((self.wires, words), np.uint64)
        packed = np.zeros((sum(self.inputs), words * 8), np.uint8)
        packed[:, : -(-rows // 8)] = np.packbits(np.concatenate(values), axis=1, bitorder="little")
        wires[: len(packed)] = packed.view(np.uint64)
        _evaluate(self.kinds, self.left, self.right, self.out, wires)
        bits = np.unpackbits(wires[self.results].view(np.uint8), axis=1, count=rows, bitorder="little")
        return split(bits, self.outputs)

    def require(self, values: Sequence[NDArray[Any]]) -> int:
        """The rows of input values, whose first two dimensions are (width, rows). Raises CircuitError when they do not fit."""
        if len(values) != len(self.inputs):
            raise CircuitError(f"{len(values)} inputs were given to a circuit of {len(self.inputs)}")
        for number, (value, width) in enumerate(zip(values, self.inputs, strict=True)):
            if len(value) != width:
                raise CircuitError(f"input {number} has {len(value)} bits where the circuit has {width}")
            if value.shape[1] != values[0].shape[1]:
                raise CircuitError(f"input {number} has {value.shape[1]} rows where input 0 has {values[0].shape[1]}")
        return int(values[0].shape[1])

    def _check(self) -> None:
        count, first = self.gates, sum(self.inputs)
        if not self.inputs or min(self.inputs) < 1 or min(self.outputs, default=0) < 1:
            raise CircuitError("a circuit has input and output values of one bit or more")
        if not len(self.left) == len(self.right) == len(self.out) == count or len(self.results) != sum(self.outputs):
            raise CircuitError("the arrays of a circuit differ in length")
        if count and self.kinds.max() > max(Kind):
            raise CircuitError("a gate is of no kind")
        _refuse((self.out < first) | (self.out >= self.wires), "writes a wire that is an input or does not exist")
        born = np.full(self.wires, count, np.int64)
        born[:first] = -1
        born[self.out[::-1]] = np.arange(count)[::-1]
        _refuse(born[self.out] != np.arange(count), "writes a wire that another gate has written")
        constant, binary = self.kinds == Kind.EQ, self.kinds <= Kind.AND
        _refuse(constant & ((self.left < 0) | (self.left > 1)), "is a constant other than 0 and 1")
        for side, used in ((self.left, ~constant), (self.right, binary)):
            _refuse(used & ((side < 0) | (side >= self.wires)), "reads a wire that does not exist")
            _refuse(used & (born[np.where(used, side, 0)] >= np.arange(count)), "reads a wire that no earlier gate has written")
        if np.any((self.results < 0) | (self.results >= self.wires)):
            raise CircuitError("an output bit is a wire that does not exist")


def split(bits: NDArray[Any], widths: Sequence[int]) -> tuple[NDArray[Any], ...]:
    """An array of consecutive values' bits, cut into the values."""
    return tuple(np.split(bits, np.cumsum(widths)[:-1]))


def bits_of(words: NDArray[Any], width: int) -> Bits:
    """The low ``width`` bits (at most 64) of a vector of unsigned words, as (width, rows). Raises ValueError for another width."""
    if not 1 <= width <= 64:
        raise ValueError("a word has 1 to 64 bits")
    octets = np.ascontiguousarray(words, np.uint64).view(np.uint8).reshape(-1, 8)
    return np.ascontiguousarray(np.unpackbits(octets, axis=1, count=width, bitorder="little").T)


def words_of(bits: Bits) -> NDArray[np.uint64]:
    """The words of (width, rows) bits, width at most 64."""
    if len(bits) > 64:
        raise ValueError("a word has 1 to 64 bits")
    octets = np.zeros((bits.shape[1], 8), np.uint8)
    octets[:, : -(-len(bits) // 8)] = np.packbits(bits.T, axis=1, bitorder="little")
    return octets.view(np.uint64).reshape(-1)


def bits_of_bytes(rows: Sequence[bytes]) -> Bits:
    """The bits of byte strings of one length, each a big-endian integer, as (width, rows)."""
    octets = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    return np.ascontiguousarray(np.unpackbits(octets[:, ::-1], axis=1, bitorder="little").T)


def bytes_of(bits: Bits) -> list[bytes]:
    """The byte strings of (width, rows) bits, width a multiple of 8: what :func:`bits_of_bytes` takes."""
    octets = np.packbits(bits.T, axis=1, bitorder="little")[:, ::-1]
    return [row.tobytes() for row in octets]


def _refuse(wrong: NDArray[np.bool_], rule: str) -> None:
    if wrong.any():
        raise CircuitError(f"gate {int(np.argmax(wrong))} {rule}")


@compiled
def _measure(kinds: NDArray[np.uint8], left: Wires, right: Wires, out: Wires, depths: Wires) -> None:
    for gate in range(len(kinds)):
        kind = kinds[gate]
        if kind == 3:
            depths[out[gate]] = 0
        elif kind <= 1:
            depths[out[gate]] = max(depths[left[gate]], depths[right[gate]]) + kind
        else:
            depths[out[gate]] = depths[left[gate]]


@compiled
def _evaluate(kinds: NDArray[np.uint8], left: Wires, right: Wires, out: Wires, wires: NDArray[np.uint64]) -> None:
    for gate in range(len(kinds)):
        kind, target = kinds[gate], wires[out[gate]]
        if kind == 3:
            target[:] = np.uint64(0) - np.uint64(left[gate])
        elif kind == 0:
            target[:] = wires[left[gate]] ^ wires[right[gate]]
        elif kind == 1:
            target[:] = wires[left[gate]] & wires[right[gate]]
        elif kind == 2:
            target[:] = ~wires[left[gate]]
        else:
            target[:] = wires[left[gate]]

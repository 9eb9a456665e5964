"""The order in which a circuit is garbled: what is left of it when constants, copies and inversions are folded, by levels.

XOR gates and inversions are free, so only XOR and AND gates remain; an inversion becomes a bit beside the wire that is read. All
AND gates of one level (as many ANDs below them on the longest path) need nothing of one another and are garbled in one call. Labels
live in slots that are used again once nothing reads them, so that the labels of many rows fit the cache.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.garbling.circuit import Circuit, Kind

TABLES = 1 << 15  # garbled gates in one message: 1 MiB
_PIECE = 1 << 12  # gates times rows that are hashed at a time
_LABELS = 1 << 23  # bytes of labels that a part of the rows may take, unless one row takes more

Slots = NDArray[np.int32]


@dataclass(frozen=True)
class Step:
    """XOR gates to compute one after the other, then AND gates to garble together: ranges of the plan's arrays."""

    xors: tuple[int, int]
    ands: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Plan:
    """XOR and AND gates over slots. Input wire k starts in slot k."""

    inputs: int
    slots: int
    xors: Slots  # (n, 3): left, right, out
    ands: Slots  # (n, 4): left, right, out, and the inversions: 1 of the left input, 2 of the right
    levels: Slots  # (levels + 1, 2): where in ``xors`` and ``ands`` each level starts
    results: Slots  # the slot of each output bit; -1 where it is a constant
    inverted: NDArray[np.bool_]  # whether the output bit is the slot's inverted, or the constant

    def parts(self, rows: int) -> Iterator[tuple[int, int]]:
        """Ranges of rows to work through one after the other: a few, so that their labels fit the cache."""
        size = max(1, min(_PIECE, _LABELS // (16 * self.slots)))
        for start in range(0, rows, size):
            yield start, min(start + size, rows)

    def messages(self, rows: int) -> Iterator[list[Step]]:
        """The steps for one part of the rows, in groups whose garbled tables make one message. Both parties compute the same."""
        size = max(1, _PIECE // rows)
        group: list[Step] = []
        tables = 0
        for (xor, and_), (next_xor, next_and) in zip(self.levels[:-1].tolist(), self.levels[1:].tolist(), strict=True):
            for start in range(and_, max(next_and, and_ + 1), size):
                stop = min(start + size, next_and)
                if group and tables + (stop - start) * rows > TABLES:
                    yield group
                    group, tables = [], 0
                group.append(Step((xor, next_xor), (start, stop)))
                tables += (stop - start) * rows
                xor = next_xor
        if group:
            yield group


_plans: weakref.WeakKeyDictionary[Circuit, Plan] = weakref.WeakKeyDictionary()


def plan_of(circuit: Circuit) -> Plan:
    """The plan of a circuit; made once."""
    if circuit not in _plans:
        _plans[circuit] = _plan(circuit)
    return _plans[circuit]


def _plan(circuit: Circuit) -> Plan:
    first = sum(circuit.inputs)
    # Of each wire: the wire that stands for it (-1: a constant), and whether it is that wire inverted (or the constant).
    root = np.arange(circuit.wires, dtype=np.int32)
    flip = np.zeros(circuit.wires, np.uint8)
    gates = np.zeros((circuit.gates, 5), np.int32)  # kind, left, right, out, inversions
    gates = gates[: _fold(circuit.kinds, circuit.left, circuit.right, circuit.out, root, flip, gates)]
    results = root[circuit.results]
    needed = np.zeros(circuit.wires + 1, np.bool_)  # the last takes the constants
    needed[results] = True
    depths = np.zeros(circuit.wires, np.int32)
    order = np.zeros(len(gates), np.int32)
    _trace(gates, needed, depths, order)
    used = needed[gates[:, 3]]
    gates, order = gates[used], order[used]
    sequence = np.argsort(order, kind="stable")
    gates, order = gates[sequence], order[sequence]
    levels = np.searchsorted(order, 2 * np.arange(order[-1] // 2 + 2 if len(order) else 1)).astype(np.int32)
    is_and = gates[:, 0] == Kind.AND
    before = np.concatenate([[0], np.cumsum(is_and)]).astype(np.int32)
    starts = np.stack([levels - before[levels], before[levels]], axis=1).astype(np.int32)
    slot = np.full(circuit.wires + 1, -1, np.int32)
    slots = _allot(gates, first, results, slot)
    return Plan(
        first,
        slots,
        np.ascontiguousarray(slot[gates[~is_and, 1:4]]),
        np.concatenate([slot[gates[is_and, 1:4]], gates[is_and, 4:]], axis=1),
        starts,
        slot[results],
        flip[circuit.results].astype(np.bool_),
    )


@compiled
def _fold(
    kinds: NDArray[np.uint8],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    out: NDArray[np.int32],
    root: NDArray[np.int32],
    flip: NDArray[np.uint8],
    gates: NDArray[np.int32],
) -> int:
    """Fill ``root`` and ``flip`` of every wire, and ``gates`` with those that remain; returns how many."""
    count = 0
    for gate in range(len(kinds)):
        kind, target = kinds[gate], out[gate]
        if kind == 3:
            root[target] = -1
            flip[target] = left[gate]
            continue
        a, x = root[left[gate]], flip[left[gate]]
        if kind >= 2:
            root[target] = a
            flip[target] = x ^ (kind == 2)
            continue
        b, y = root[right[gate]], flip[right[gate]]
        if a < 0:
            a, x, b, y = b, y, a, x
        if kind == 0:
            flip[target] = x ^ y
            if a == b:  # also two constants
                root[target] = -1
            elif b < 0:
                root[target] = a
            else:
                gates[count, 1], gates[count, 2], gates[count, 3] = a, b, target
                count += 1
        elif b < 0:
            root[target] = a if y else -1
            flip[target] = x & y
        elif a == b:
            root[target] = a if x == y else -1
            flip[target] = x if x == y else 0
        else:
            gates[count, 0], gates[count, 1], gates[count, 2], gates[count, 3] = 1, a, b, target
            gates[count, 4] = x | (y << 1)
            count += 1
    return count


@compiled
def _trace(gates: NDArray[np.int32], needed: NDArray[np.bool_], depths: NDArray[np.int32], order: NDArray[np.int32]) -> None:
    """Mark what the outputs need, and number the gates: 2 level for XOR, 2 level + 1 for AND."""
    for gate in range(len(gates) - 1, -1, -1):
        if needed[gates[gate, 3]]:
            needed[gates[gate, 1]] = True
            needed[gates[gate, 2]] = True
    for gate in range(len(gates)):
        kind = gates[gate, 0]
        level = max(depths[gates[gate, 1]], depths[gates[gate, 2]])
        order[gate] = 2 * level + kind
        depths[gates[gate, 3]] = level + kind


@compiled
def _allot(gates: NDArray[np.int32], inputs: int, results: NDArray[np.int32], slot: NDArray[np.int32]) -> int:
    """Give every wire a slot; returns how many there are. A gate may write over what it reads for the last time."""
    last = np.full(len(slot), -1, np.int64)
    for gate in range(len(gates)):
        last[gates[gate, 1]] = gate
        last[gates[gate, 2]] = gate
    for wire in results:
        if wire >= 0:
            last[wire] = len(gates)
    free = np.empty(len(slot), np.int32)
    spare, slots = 0, inputs
    for wire in range(inputs):
        slot[wire] = wire
    for gate in range(len(gates)):
        for side in range(1, 3):
            if last[gates[gate, side]] == gate:
                free[spare] = slot[gates[gate, side]]
                spare += 1
        if spare:
            spare -= 1
            slot[gates[gate, 3]] = free[spare]
        else:
            slot[gates[gate, 3]] = slots
            slots += 1
    return slots

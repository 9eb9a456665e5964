"""Circuits as text in Bristol fashion (Archer, Abril, Lu, Maene, Mertens, Sijacic and Smart, homes.esat.kuleuven.be/~nsmart/MPC).

The first line holds the number of gates and of wires; the second the number of input values and their widths; the third the same
of the outputs. Each further line is a gate: the number of its inputs and outputs, the input wires (EQ: the constant), the output
wire, and XOR, AND, INV, EQ or EQW. The first wires are the inputs', the last the outputs'.

A file may come from anyone: whatever is no circuit raises CircuitError naming the line or the gate, and nothing is allocated for a
count beyond ``MAX_WIRES``.
"""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.garbling.circuit import Circuit, CircuitError, Kind

MAX_WIRES = 1 << 25  # they stay in int32, and a file of this size within memory
_NAMES = {kind.name: kind for kind in Kind}
_DIGITS = 9


def parse(text: str) -> Circuit:
    """The circuit of a file's text. Raises CircuitError."""
    lines = [(number, fields) for number, line in enumerate(text.splitlines(), 1) if (fields := line.split())]
    if len(lines) < 3:
        raise CircuitError("the file has no header of three lines")
    gates, wires, *rest = _numbers(*lines[0])
    if rest:
        raise CircuitError(f"line {lines[0][0]} is not the number of gates and of wires")
    inputs, outputs = (_widths(*line) for line in lines[1:3])
    if gates != len(lines) - 3:
        raise CircuitError(f"the file holds {len(lines) - 3} gates where it announces {gates}")
    if wires != sum(inputs) + gates or sum(outputs) > wires or wires > MAX_WIRES:
        raise CircuitError(f"the wires are not those of the inputs and gates, fewer than the outputs, or more than {MAX_WIRES}")
    table = np.zeros((4, gates), np.int32)
    for index, (number, fields) in enumerate(lines[3:]):
        table[:, index] = _gate(number, fields)
    return Circuit(
        inputs,
        outputs,
        table[0].astype(np.uint8),
        table[1].copy(),
        table[2].copy(),
        table[3].copy(),
        np.arange(wires - sum(outputs), wires, dtype=np.int32),
    )


def write(circuit: Circuit) -> str:
    """The text of a circuit. Output bits that are not the last wires in order are copied there by EQW gates."""
    first = circuit.wires - len(circuit.results)
    copies = [] if np.array_equal(circuit.results, np.arange(first, circuit.wires)) else circuit.results.tolist()
    lines = [
        f"{circuit.gates + len(copies)} {circuit.wires + len(copies)}",
        " ".join(map(str, (len(circuit.inputs), *circuit.inputs))),
        " ".join(map(str, (len(circuit.outputs), *circuit.outputs))),
        "",
    ]
    gates = zip(circuit.kinds.tolist(), circuit.left.tolist(), circuit.right.tolist(), circuit.out.tolist(), strict=True)
    for kind, left, right, out in gates:
        sources = f"{left} {right}" if kind <= Kind.AND else f"{left}"
        lines.append(f"{2 if kind <= Kind.AND else 1} 1 {sources} {out} {Kind(kind).name}")
    lines += [f"1 1 {wire} {circuit.wires + place} EQW" for place, wire in enumerate(copies)]
    return "\n".join(lines) + "\n"


def _gate(number: int, fields: list[str]) -> tuple[int, int, int, int]:
    """Kind, left, right and out of a gate's line."""
    kind = _NAMES.get(fields[-1])
    if kind is None:
        raise CircuitError(f"line {number} is no gate of {', '.join(_NAMES)}")
    arity = 2 if kind <= Kind.AND else 1
    values = _numbers(number, fields[:-1])
    if len(values) != arity + 3 or values[:2] != [arity, 1]:
        raise CircuitError(f"line {number} is no {kind.name} gate of {arity} inputs and one output")
    return kind, values[2], values[3] if arity == 2 else 0, values[-1]


def _widths(number: int, fields: list[str]) -> tuple[int, ...]:
    count, *widths = _numbers(number, fields)
    if count != len(widths) or count < 1:
        raise CircuitError(f"line {number} announces {count} values and gives the widths of {len(widths)}")
    return tuple(widths)


def _numbers(number: int, fields: list[str]) -> list[int]:
    if len(fields) < 2 or not all(len(field) <= _DIGITS and field.isascii() and field.isdigit() for field in fields):
        raise CircuitError(f"line {number} holds something else than numbers of up to {_DIGITS} digits")
    return [int(field) for field in fields]

"""Circuits: what the builder writes against Python's integers, the text format both ways, and everything that is no circuit."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.garbling import bristol
from tallystick_node.engines.garbling.arithmetic import adder, comparator, equality, multiplier, subtractor
from tallystick_node.engines.garbling.builder import Builder
from tallystick_node.engines.garbling.circuit import CircuitError, bits_of, bits_of_bytes, bytes_of, words_of

pairs = st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 2), min_size=1, max_size=70)


def words(values, width) -> np.ndarray:
    return np.array([value % 2**width for value in values], np.uint64)


@pytest.mark.parametrize("width", [1, 2, 7, 31, 64])
@given(values=pairs)
@settings(max_examples=10)
def test_arithmetic_is_that_of_integers(width, values) -> None:
    left, right = (words(side, width) for side in zip(*values, strict=True))
    right[: len(right) // 2] = left[: len(right) // 2]  # equal ones among them
    inputs = [bits_of(side, width) for side in (left, right)]
    a, b = ([int(value) for value in side] for side in (left, right))
    wanted = {
        adder: [(x + y) % 2**width for x, y in zip(a, b, strict=True)],
        subtractor: [(x - y) % 2**width for x, y in zip(a, b, strict=True)],
        multiplier: [x * y % 2**width for x, y in zip(a, b, strict=True)],
        comparator: [int(x < y) for x, y in zip(a, b, strict=True)],
        equality: [int(x == y) for x, y in zip(a, b, strict=True)],
    }
    for make, expected in wanted.items():
        (found,) = make(width).evaluate(*inputs)
        assert words_of(found).tolist() == expected, make.__name__


@given(values=pairs)
@settings(max_examples=20)
def test_signed_comparison_selection_and_many_terms(values) -> None:
    left, right = (np.array(side, np.uint64) for side in zip(*values, strict=True))
    builder = Builder()
    a, b = builder.input(64), builder.input(64)
    less = builder.less_signed(a, b)
    builder.output([less])
    builder.output(builder.select(less, a, b))
    builder.output(builder.add_many([a, b, builder.word(12345, 64), a, b]))
    below, smaller, total = builder.build().evaluate(bits_of(left, 64), bits_of(right, 64))
    assert (below[0] == (left.view(np.int64) < right.view(np.int64))).all()
    assert (words_of(smaller).view(np.int64) == np.minimum(left.view(np.int64), right.view(np.int64))).all()
    assert (words_of(total) == (left + right) * np.uint64(2) + np.uint64(12345)).all()


def test_what_arithmetic_costs() -> None:
    assert (adder(64).ands, subtractor(64).ands, comparator(64).ands, equality(64).ands) == (63, 63, 64, 63)
    assert (adder(64).depth, equality(64).depth) == (63, 6)


def test_bits_and_bytes() -> None:
    rows = [b"\x80\x01", b"\x00\xff"]
    bits = bits_of_bytes(rows)
    assert bits[:, 0].tolist() == [1] + [0] * 14 + [1]
    assert bytes_of(bits) == rows
    for wrong in (0, 65):
        with pytest.raises(ValueError):
            bits_of(np.zeros(1, np.uint64), wrong)
    with pytest.raises(ValueError):
        words_of(np.zeros((65, 1), np.uint8))


def test_inputs_that_do_not_fit_are_refused() -> None:
    bits = np.zeros((8, 3), np.uint8)
    for wrong, rule in ((bits,), "1 inputs"), ((bits, bits[:7]), "input 1 has 7 bits"), ((bits, bits[:, :2]), "input 1 has 2 rows"):
        with pytest.raises(CircuitError, match=rule):
            adder(8).evaluate(*wrong)


def test_inputs_come_before_gates() -> None:
    builder = Builder()
    (bit,) = builder.input(1)
    builder.not_(bit)
    with pytest.raises(ValueError):
        builder.input(1)


# -- Bristol fashion

EXAMPLE = """7 10
2 2 1
1 3

2 1 0 1 3 XOR
1 1 1 4 EQ
2 1 3 2 5 AND
1 1 5 6 INV
1 1 3 7 EQW
2 1 6 4 8 XOR
2 1 0 5 9 AND
"""


def test_every_kind_of_gate() -> None:
    circuit = bristol.parse(EXAMPLE)
    assert (circuit.inputs, circuit.outputs, circuit.gates, circuit.wires, circuit.ands, circuit.depth) == (
        (2, 1),
        (3,),
        7,
        10,
        2,
        2,
    )
    values = np.arange(8, dtype=np.uint64)
    (found,) = circuit.evaluate(bits_of(values & np.uint64(3), 2), bits_of(values >> np.uint64(2), 1))
    for value, row in zip(range(8), found.T, strict=True):
        a, b, c = value & 1, value >> 1 & 1, value >> 2
        product = (a ^ b) & c
        assert row.tolist() == [a ^ b, product, a & product]


def test_a_circuit_is_written_and_read_again() -> None:
    for circuit in (bristol.parse(EXAMPLE), multiplier(9), equality(4)):
        again = bristol.parse(bristol.write(circuit))
        assert bristol.write(again) == bristol.write(circuit)
        bits = [np.random.default_rng(1).integers(0, 2, (width, 100), np.uint8) for width in circuit.inputs]
        for found, wanted in zip(again.evaluate(*bits), circuit.evaluate(*bits), strict=True):
            assert (found == wanted).all()
    assert bristol.write(bristol.parse(EXAMPLE)) == EXAMPLE


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("7 10", "8 11", "7 gates where it announces 8"),
        ("7 10", "7 11", "the wires are not those"),
        ("7 10", "7", "line 1"),
        ("7 10", "7 10 1", "line 1"),
        ("7 10", "-7 10", "line 1"),
        ("7 10", "7 ١٠", "line 1"),
        ("2 2 1", "2 2", "line 2 announces 2"),
        ("2 2 1", "0 0", "line 2 announces 0"),
        ("2 2 1", "3 2 0 1", "one bit or more"),
        ("2 2 1", "2 2 999999999", "the wires are not those"),
        ("7 10\n2 2 1", "7 1000000008\n2 1 1000000000", "line 1"),
        ("7 10\n2 2 1", "7 900000008\n2 1 900000000", "more than"),
        ("1 3", "1 30", "fewer than the outputs"),
        ("2 1 0 1 3 XOR", "2 1 0 1 3 OR", "line 5 is no gate"),
        ("2 1 0 1 3 XOR", "1 1 0 3 XOR", "line 5 is no XOR gate"),
        ("2 1 0 1 3 XOR", "2 1 0 1 3 3 XOR", "line 5 is no XOR gate"),
        ("2 1 0 1 3 XOR", "2 1 0 1.0 3 XOR", "line 5 holds something else"),
        ("2 1 0 1 3 XOR", "XOR", "line 5 holds something else"),
        ("1 1 5 6 INV", "2 1 5 5 6 INV", "line 8 is no INV gate"),
        ("1 1 1 4 EQ", "1 1 2 4 EQ", "gate 1 is a constant other"),
        ("2 1 0 1 3 XOR", "2 1 0 3 3 XOR", "gate 0 reads a wire that no earlier gate"),
        ("2 1 0 1 3 XOR", "2 1 5 1 3 XOR", "gate 0 reads a wire that no earlier gate"),
        ("2 1 0 1 3 XOR", "2 1 0 10 3 XOR", "gate 0 reads a wire that does not exist"),
        ("1 1 3 7 EQW", "1 1 3 10 EQW", "gate 4 writes a wire that is an input or does not exist"),
        ("1 1 3 7 EQW", "1 1 3 2 EQW", "gate 4 writes a wire that is an input or does not exist"),
        ("1 1 3 7 EQW", "1 1 3 6 EQW", "gate 4 writes a wire that another gate has written"),
        (EXAMPLE, "7 10\n2 2 1\n", "header"),
        (EXAMPLE, "", "header"),
    ],
)
def test_what_is_no_circuit_is_refused(old, new, rule) -> None:
    assert old in EXAMPLE
    with pytest.raises(CircuitError, match=rule):
        bristol.parse(EXAMPLE.replace(old, new, 1))


@given(st.text(alphabet="0123 \nXORANDINVEQW-x\0", max_size=200))
def test_any_text_is_a_circuit_or_a_circuit_error(text) -> None:
    with contextlib.suppress(CircuitError):
        bristol.parse("1 3\n1 2\n1 1\n" + text)

"""Garbling against evaluation in the clear, on circuits with every kind of gate in every shape, and what labels look like."""

from __future__ import annotations

import secrets

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.garbling import plan as planning
from tallystick_node.engines.garbling.arithmetic import adder, equality, multiplier
from tallystick_node.engines.garbling.builder import Builder
from tallystick_node.engines.garbling.circuit import Bits, Circuit, Kind, split
from tallystick_node.engines.garbling.halfgates import Hash, evaluate, garble
from tallystick_node.engines.garbling.plan import plan_of

random = np.random.default_rng(5)


def random_delta() -> np.ndarray:
    return np.frombuffer(secrets.token_bytes(16), np.uint64) | np.array([1, 0], np.uint64)


def garbled(circuit: Circuit, *values: Bits, tables=None) -> tuple[Bits, ...]:
    """The outputs by garbling and evaluating; every output label is one of its wire's two. Keeps the tables in ``tables``."""
    plan, bits, delta, seed = plan_of(circuit), np.concatenate(values), random_delta(), secrets.token_bytes(16)
    zeros = np.frombuffer(secrets.token_bytes(16 * bits.size), np.uint64).reshape(*bits.shape, 2)
    messages: list[np.ndarray] = []
    zeros_out = garble(plan, zeros, delta, Hash(seed), lambda made: messages.append(made.copy()))
    queue = iter(messages)

    def receive(count: int) -> np.ndarray:
        message = next(queue)
        assert message.shape == (count, 4)
        return message

    active = evaluate(plan, zeros ^ bits[..., None].astype(np.uint64) * delta, Hash(seed), receive)
    assert next(queue, None) is None
    assert sum(map(len, messages)) == len(plan.ands) * bits.shape[1]
    assert all(len(message) <= planning.TABLES for message in messages)
    if tables is not None:
        tables += messages
    found = ((active ^ zeros_out)[..., 0] & np.uint64(1)).astype(np.uint8)
    assert (active == zeros_out ^ found[..., None].astype(np.uint64) * delta).all()
    return split(found, circuit.outputs)


@st.composite
def circuits(draw) -> Circuit:
    inputs, count = draw(st.integers(1, 4)), draw(st.integers(0, 40))
    gates = []
    for number in range(count):
        wire = st.integers(0, inputs + number - 1)
        kind = draw(st.sampled_from(Kind))
        gates.append((kind, draw(st.integers(0, 1)) if kind == Kind.EQ else draw(wire), draw(wire)))
    results = draw(st.lists(st.integers(0, inputs + count - 1), min_size=1, max_size=6))
    table = np.array(gates, np.int32).reshape(-1, 3)
    out = np.arange(inputs, inputs + count, dtype=np.int32)
    columns = table[:, 0].astype(np.uint8), table[:, 1].copy(), table[:, 2].copy()
    return Circuit((inputs,), (len(results),), *columns, out, np.array(results, np.int32))


@given(circuits())
@settings(max_examples=60)
def test_any_circuit_garbled_is_the_circuit_in_the_clear(circuit) -> None:
    width = circuit.inputs[0]
    bits = (np.arange(1 << width) >> np.arange(width)[:, None] & 1).astype(np.uint8)  # every input
    assert (garbled(circuit, bits)[0] == circuit.evaluate(bits)[0]).all()
    assert len(plan_of(circuit).ands) <= circuit.ands


@pytest.mark.parametrize("rows", [1, 2, 65, 5000])
def test_rows_in_parts(monkeypatch, rows) -> None:
    """Also 700 at a time, so that the rows are worked through in parts and the tables in many messages."""
    circuit = multiplier(12)
    bits = random.integers(0, 2, (2, 12, rows), np.uint8)
    wanted = circuit.evaluate(*bits)[0]
    assert (garbled(circuit, *bits)[0] == wanted).all()
    monkeypatch.setattr(planning, "_LABELS", 16 * 700 * plan_of(circuit).slots)
    assert (garbled(circuit, *bits)[0] == wanted).all()


def test_no_rows() -> None:
    assert garbled(adder(8), *np.empty((2, 8, 0), np.uint8))[0].shape == (8, 0)


def test_what_a_circuit_does_not_need_is_not_garbled() -> None:
    builder = Builder()
    a, b = builder.input(8), builder.input(8)
    builder.multiply(a, b)  # not an output
    zero = builder.word(0, 8)
    builder.output(builder.add(builder.select(builder.constant(1), a, b), zero))
    builder.output([builder.and_(a[0], builder.not_(a[0])), builder.and_(b[0], b[0]), builder.xor(a[1], a[1])])
    circuit = builder.build()
    assert circuit.ands > 64
    assert len(plan_of(circuit).ands) == 0
    bits = random.integers(0, 2, (2, 8, 10), np.uint8)
    word, few = garbled(circuit, *bits)
    assert (word == bits[0]).all()
    assert (few == np.stack([np.zeros(10), bits[1][0], np.zeros(10)])).all()


def test_a_circuit_is_planned_once() -> None:
    assert plan_of(adder(8)) is plan_of(adder(8))


def test_tables_do_not_tell_the_inputs() -> None:
    """Ciphertexts of equal rows look alike: uniform, and different for every row and every garbling."""
    seen = []
    for bit in (0, 1):
        tables: list[np.ndarray] = []
        garbled(equality(64), *np.full((2, 64, 40), bit, np.uint8), tables=tables)
        words = np.concatenate(tables).reshape(-1)
        assert len(np.unique(words)) == len(words)
        assert abs(np.unpackbits(words.view(np.uint8)).mean() - 0.5) < 0.005
        seen.append(words)
    assert not np.isin(*seen).any()


def test_a_wrong_table_gives_a_label_of_neither_kind() -> None:
    """What proves an output to the garbler: whoever holds no label of it cannot make one."""
    plan, delta, seed = plan_of(equality(8)), random_delta(), secrets.token_bytes(16)
    zeros = random.integers(0, 2**64, (16, 50, 2), np.uint64)
    tables: list[np.ndarray] = []
    spoilt = np.uint64(1) << np.arange(40, 44, dtype=np.uint64)  # other bits in either half, which alike would cancel out
    zeros_out = garble(plan, zeros, delta, Hash(seed), lambda made: tables.append(made ^ spoilt))
    active = evaluate(plan, zeros, Hash(seed), lambda _: tables.pop(0))
    wrong = (active != zeros_out).any(axis=2) & (active != zeros_out ^ delta).any(axis=2)
    assert wrong.mean() > 0.9


def test_no_hash_repeats_a_tweak_under_one_key() -> None:
    hashing, seen = Hash(bytes(16)), set()
    for count in (40_000, 20_000, 20_000, 70_000, 1):
        first = int(hashing.tweak(count))
        blocks = hashing.blocks(1)
        blocks[:] = 0
        key = hashing.permuted(blocks).tobytes()[:16]  # tells keys apart
        used = {(key, first), (key, first + count - 1)}
        assert not used & seen
        seen |= used
    assert len({key for key, _ in seen}) == 4  # 40,000 and 20,000 share one

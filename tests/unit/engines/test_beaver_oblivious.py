"""Additive sharing between two parties with nobody else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.mpc.beaver import additive, networks
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from unit.engines import additive_laws as laws
from unit.engines.conftest import CorruptingChannel, run_parties

ORDER = np.random.default_rng(7)


def between(step, sessions=None):
    return run_parties(sessions or local_sessions(2), lambda session: step(ObliviousAdditive(session)))


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_laws(law) -> None:
    law(between)


@pytest.mark.parametrize(
    "law", [laws.products, laws.signs, laws.truncation, laws.conversions, laws.bits_of_numbers], ids=lambda law: law.__name__
)
def test_laws_in_chunks(law, monkeypatch) -> None:
    for module in ("additive", "oblivious"):
        monkeypatch.setattr(f"tallystick_node.engines.mpc.beaver.{module}.CHUNK", 192)
    law(between)
    assert additive.CHUNK == 192


@given(st.integers(1, 9), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_routing(levels, random) -> None:
    """Switches, applied to numbered rows, bring every row to its place."""
    order = list(range(1 << levels))
    random.shuffle(order)
    rows = np.arange(1 << levels)
    for layer, crossed in enumerate(networks.route(np.array(order))):
        upper, lower = networks._wires(len(rows), layer)
        turned = crossed.astype(bool)
        rows[upper], rows[lower] = np.where(turned, rows[lower], rows[upper]), np.where(turned, rows[upper], rows[lower])
    assert rows.tolist() == order


def test_every_order_is_as_likely() -> None:
    def step(p: ObliviousAdditive):
        x = p.share(0, (3,), np.arange(3, dtype=np.uint64) if p.index == 0 else None)
        return [tuple(p.reveal(p.shuffle([x])[0]).tolist()) for _ in range(150)]

    orders, same = between(step)
    assert orders == same
    counts = [orders.count(order) for order in sorted(set(orders))]
    assert len(counts) == 6
    assert max(counts) < 65  # 25 are expected; 65 come by chance once in 10^11


def test_lengths_do_not_depend_on_values() -> None:
    """The bytes and messages of every step are the same for zeros and for random numbers."""

    def steps(values):
        def step(p: ObliviousAdditive):
            x = p.share(1, values.shape, values if p.index == 1 else None)
            y = p.truncate(p.multiply(x, x), 5)
            p.shuffle([p.to_arithmetic(p.negative(y)), x])
            p.compose(p.decompose(x[:3]))
            return {name: (each.bytes, each.messages, each.rounds) for name, each in p.cost().items()}

        return between(step)

    assert steps(np.zeros(100, np.uint64)) == steps(ORDER.integers(0, 2**64, 100, np.uint64))


def test_what_steps_cost() -> None:
    """As the table of oblivious.py says."""

    def step(p: ObliviousAdditive):
        x = p.share(0, (6400,), np.arange(6400, dtype=np.uint64) if p.index == 0 else None)
        p.and_(p.decompose(x[:64]), p.decompose(x[:64]))  # fills the supply of forks
        before = {name: each.bytes for name, each in p.cost().items()}
        p.negative(x)
        p.truncate(x, 3)
        return {name: each.bytes - before.get(name, 0) for name, each in p.cost().items()}

    first, second = between(step)
    assert (first["digits"], second["digits"]) == (6400 // 8 * (15 + 14 * 30 + 14), 6400 * 8)
    assert first["negative"] == second["negative"] == 6400 // 8 * (14 * 3 + 2)
    assert first["ot messages"] == 4 * 6400


@pytest.mark.parametrize("size", [8191, 8192, 8195])
def test_whole_ciphertexts_of_products_need_no_triples(size) -> None:
    x, y = ORDER.integers(0, 2**64, (2, size), np.uint64)

    def step(p: ObliviousAdditive):
        shared = [p.share(owner, (size,), values if p.index == owner else None) for owner, values in enumerate((x, y))]
        return p.reveal(p.multiply(*shared)), {name: each.bytes for name, each in p.cost().items()}

    (found, first), (_, second) = between(step)
    assert (found == x * y).all()
    public, whole, rest = 4 * 6 * 8192 + 16, size // 8192, size % 8192
    assert first["lattice"] == public + (whole + (rest > 0)) * 6 * (4 * 6 * 8192 + 16)
    assert second["lattice"] == (whole + (rest > 0)) * 6 * (2 * 6 * 8192)
    assert first.get("multiply", 0) == second.get("multiply", 0) == 16 * rest


@pytest.mark.parametrize("wrong", [0, 1, 3])
def test_how_many_parties(wrong) -> None:
    with pytest.raises(ValueError):
        ObliviousAdditive.security(wrong)
    if wrong == 3:
        for answer in run_parties(local_sessions(3), ObliviousAdditive):
            assert isinstance(answer, ValueError)
    assert ObliviousAdditive.security(2).trusted == ()


@pytest.mark.parametrize(
    "step",
    ["digits", "silent trees", "negative", "switches", "multiply", "ot messages", "reveal", "seeds", "decompose", "ot trees"],
)
def test_wrong_lengths_name_the_sender_and_the_step(step) -> None:
    """The first message of a step at party 1, one byte short."""
    sessions = local_sessions(2)

    class Short(CorruptingChannel):
        def __init__(self, inner):
            super().__init__(inner, -1, lambda m: m)
            self.step, self.done = "", False

        def mark(self, phase: str) -> None:
            self.step = phase
            super().mark(phase)

        def send(self, message) -> None:
            message = bytes(message)
            if self.step == step and not self.done:
                self.done, message = True, message[:-1]
            self.inner.send(message)

    def program(p: ObliviousAdditive):
        x = p.share(0, (70,), np.arange(70, dtype=np.uint64) if p.index == 0 else None)
        p.decompose(x)
        z = p.shuffle([p.to_arithmetic(p.negative(p.multiply(x, x)))])[0]
        return p.reveal(z)

    sender = 0 if step in ("digits", "silent trees", "ot messages") else 1
    sessions[sender].channels[1 - sender] = Short(sessions[sender].channels[1 - sender])

    def engine(session):
        try:
            return program(ObliviousAdditive(session))
        except ProtocolViolation:
            for _ in range(3):
                session.channels[1 - session.index].send(b"")
            raise

    error = run_parties(sessions, engine)[1 - sender]
    assert isinstance(error, ProtocolViolation)
    assert error.peer == sender
    assert error.step == ("base ot" if step == "ot trees" else step)

"""Yao's protocol between two parties over the real oblivious transfers: who learns what, and every message changed on its way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, Session, local_sessions
from tallystick_node.engines.garbling import conversions, two_party
from tallystick_node.engines.garbling.arithmetic import adder, comparator, multiplier
from tallystick_node.engines.garbling.builder import Builder
from tallystick_node.engines.garbling.circuit import CircuitError, bits_of, words_of
from tallystick_node.engines.garbling.two_party import Garbled, Yao, security
from tallystick_node.engines.mpc.beaver.additive import Additive
from tallystick_node.engines.mpc.protocol import Binary, Shares, word_type
from unit.engines.conftest import run_parties
from unit.engines.test_beaver_dealt import dealt

random = np.random.default_rng(11)


def together(engine, garbler: int = 0) -> list:
    answers = run_parties(local_sessions(2), lambda session: engine(Yao(session, garbler)))
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def millionaires(yao: Yao, fortunes: np.ndarray, to) -> tuple[np.ndarray, ...] | None:
    """Whether party 0 has less than party 1, row by row."""
    index = yao.session.index
    values = [bits_of(fortunes[party], 64) if party == index else None for party in (0, 1)]
    return yao.compute(comparator(64), [0, 1], values, fortunes.shape[1], to)


@pytest.mark.parametrize("garbler", [0, 1])
@pytest.mark.parametrize("to", [[0], [1], [0, 1], []])
def test_only_the_named_side_learns_the_millionaires_bit(garbler, to) -> None:
    fortunes = random.integers(0, 2**64, (2, 30), np.uint64)
    fortunes[1, :10] = fortunes[0, :10]
    answers = together(lambda yao: millionaires(yao, fortunes, to), garbler)
    for party, answer in enumerate(answers):
        if party in to:
            assert (answer[0][0] == (fortunes[0] < fortunes[1])).all()
        else:
            assert answer is None


def test_rows_in_batches_give_the_same(monkeypatch) -> None:
    monkeypatch.setattr(two_party, "_BATCH", 16 * 128 * 7)  # seven rows at a time
    fortunes = random.integers(0, 2**64, (2, 30), np.uint64)
    progress = []

    def engine(session: Session):
        session = Session(session.index, session.channels, lambda _, fraction: progress.append(fraction))
        return millionaires(Yao(session), fortunes, [0, 1])

    answers = run_parties(local_sessions(2), engine)
    for (found,) in answers:
        assert (found[0] == (fortunes[0] < fortunes[1])).all()
    assert sorted(set(progress)) == [7 / 30, 14 / 30, 21 / 30, 28 / 30, 1.0]
    for found in together(lambda yao: millionaires(yao, np.empty((2, 0), np.uint64), [0, 1])):
        assert found[0].shape == (1, 0)


def test_values_stay_garbled_between_circuits() -> None:
    """((a + b) * public) XOR a: the evaluator's, the garbler's and public values, over two circuits."""
    a, b, c = random.integers(0, 2**32, (3, 20), np.uint64)

    def engine(yao: Yao):
        x = yao.share(0, 32, 20, bits_of(a, 32) if yao.session.index == 0 else None)
        y = yao.share(1, 32, 20, bits_of(b, 32) if yao.session.index == 1 else None)
        (total,) = yao.evaluate(adder(32), x, y)
        (product,) = yao.evaluate(multiplier(32), total, yao.public(bits_of(c, 32)))
        return yao.reveal(product ^ x), yao.reveal(product[:1], to=[1])

    wanted = ((a + b) * c ^ a) & np.uint64(2**32 - 1)
    for party, (found, low) in enumerate(together(engine)):
        assert (words_of(found) == wanted).all()
        assert (low is None) == (party == 0)


def test_what_a_party_holds_does_not_depend_on_the_secret() -> None:
    """Labels of secrets that are all zero and all one: uniform at both parties, and the messages have the same lengths."""
    costs = []
    for bit in (0, 1):

        def engine(yao: Yao, bit: int = bit):
            bits = np.full((8, 500), bit, np.uint8)
            values = [yao.share(owner, 8, 500, bits if yao.session.index == owner else None) for owner in (0, 1)]
            (total,) = yao.evaluate(adder(8), *values)
            steps = {name: (step.messages, step.bytes) for name, step in yao.session.meter.steps.items()}
            return [value.labels for value in (*values, total)], steps

        for labels, steps in together(engine):
            for array in labels:
                assert len(np.unique(array)) == array.size
                assert abs(np.unpackbits(np.ascontiguousarray(array).view(np.uint8)).mean() - 0.5) < 0.01
            costs.append(steps)
    assert costs[:2] == costs[2:]
    assert costs[0]["tables"] == (1, 7 * 500 * 32)


def test_local_misuse_is_refused() -> None:
    bits = np.zeros((4, 3), np.uint8)

    def engine(yao: Yao):
        mine = yao.session.index
        for wrong in (bits[:3], bits[:, :2], bits.astype(np.int64), bits + np.uint8(2), None):
            with pytest.raises(ValueError):
                yao.share(mine, 4, 3, wrong)
        with pytest.raises(ValueError):
            yao.share(1 - mine, 4, 3, bits)
        value = yao.public(bits)
        with pytest.raises(CircuitError):
            yao.evaluate(adder(4), value)
        with pytest.raises(CircuitError):
            yao.evaluate(adder(5), value, value)
        with pytest.raises(ValueError):
            conversions.from_shares(yao, Shares((np.zeros(1, np.uint64), np.zeros(1, np.uint64))))
        with pytest.raises(ValueError):
            conversions.to_binary(yao.public(np.zeros((65, 1), np.uint8)))
        return True

    assert together(engine) == [True, True]


@pytest.mark.parametrize(("number", "garbler"), [(1, 0), (3, 0), (2, 2)])
def test_it_is_for_two_parties(number, garbler) -> None:
    for answer in run_parties(local_sessions(number), lambda session: Yao(session, garbler)):
        assert isinstance(answer, ValueError)


def test_it_says_what_it_promises() -> None:
    assert (security().adversary, security().parties, security().trusted) == ("semi-honest", 2, ())


# -- the messages


ROWS = 8  # 24 gates, of which each uses none of its table one time in four


def sums(session: Session):
    yao = Yao(session)
    bits = np.ones((4, ROWS), np.uint8)
    values = [yao.share(owner, 4, ROWS, bits if session.index == owner else None) for owner in (0, 1)]
    (total,) = yao.evaluate(adder(4), *values)
    return yao.reveal(total)


STEPS = [(0, "hash seed"), (0, "garbler's input"), (0, "tables"), (1, "output"), (0, "decoding")]


@pytest.fixture(scope="module")
def numbers() -> dict[str, int]:
    """The number of the first message of each step, by its sender."""
    found: dict[str, int] = {}

    def engine(session: Session):
        result = sums(session)
        sent = 0
        for name, step in session.meter.steps.items():
            if (session.index, name) in STEPS:
                found[name] = sent
            sent += step.messages
        return result

    assert all((answer == bits_of(np.full(ROWS, 14, np.uint64), 4)).all() for answer in run_parties(local_sessions(2), engine))
    return found


@pytest.mark.parametrize(("sender", "step"), STEPS)
@pytest.mark.parametrize("change", [lambda m: m[:-1], lambda m: m + b"\0"], ids=["shorter", "longer"])
def test_a_message_of_another_length_names_its_sender_and_step(parties, numbers, sender, step, change) -> None:
    error = parties(2, sums, corrupt=(sender, 1 - sender, numbers[step], change))[1 - sender]
    assert isinstance(error, ProtocolViolation), error
    assert (error.peer, error.step) == (sender, step)


@pytest.mark.parametrize("later", [0, 1], ids=["bits", "proof"])
def test_a_result_that_the_evaluator_forges_is_noticed(parties, numbers, later) -> None:
    change = lambda m: bytes([m[0] ^ 128]) + m[1:]  # noqa: E731
    error = parties(2, sums, corrupt=(1, 0, numbers["output"] + later, change))[0]
    assert isinstance(error, ProtocolViolation), error
    assert (error.peer, error.step) == (1, "output")


@pytest.mark.parametrize("step", ["tables", "garbler's input"])
def test_a_spoilt_table_or_label_cannot_end_in_a_result_at_the_garbler(parties, numbers, step) -> None:
    # Bits that differ from byte to byte: the same change to both halves of a table cancels out where both are used.
    change = lambda m: bytes(each ^ 1 + place % 255 for place, each in enumerate(m))  # noqa: E731
    error = parties(2, sums, corrupt=(0, 1, numbers[step], change))[0]
    assert isinstance(error, ProtocolViolation), error
    assert error.step == "output"


# -- conversions

halves = st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 2), min_size=1, max_size=20)


@pytest.mark.parametrize("garbler", [0, 1])
@given(values=halves)
@settings(max_examples=5)
def test_arithmetic_to_yao_and_back(garbler, values) -> None:
    parts = np.array(values, np.uint64).T.copy()
    total = parts[0] + parts[1]

    def engine(yao: Yao):
        secret = conversions.from_shares(yao, Shares((parts[yao.session.index].copy(),)))
        (doubled,) = yao.evaluate(adder(64), secret, secret)
        return conversions.to_shares(yao, doubled).parts[0], yao.reveal(secret), conversions.to_shares(yao, secret[:9]).parts[0]

    (first, opened, low), (second, _, other_low) = together(engine, garbler)
    assert (first + second == total * np.uint64(2)).all()
    assert (words_of(opened) == total).all()
    assert (low + other_low == total & np.uint64(511)).all()


@pytest.mark.parametrize("width", [1, 8, 19, 64])
def test_boolean_to_yao_and_back(width) -> None:
    kind = word_type(width)
    parts = (random.integers(0, 2**64, (2, 50), np.uint64) >> np.uint64(64 - width)).astype(kind)

    def engine(yao: Yao):
        secret = conversions.from_binary(yao, Binary((parts[yao.session.index].copy(),), width))
        again = conversions.to_binary(secret)
        assert (again.width, again.parts[0].dtype) == (width, np.dtype(kind))
        return again.parts[0], words_of(yao.reveal(secret))

    (first, opened), (second, _) = together(engine)
    assert ((first ^ second) == parts[0] ^ parts[1]).all()
    assert (opened == parts[0] ^ parts[1]).all()


def test_new_parts_are_fresh() -> None:
    """Either party's part of a conversion's result is uniform, also where the secrets are all equal."""

    def engine(yao: Yao):
        secret = yao.public(np.zeros((64, 600), np.uint8))
        mixed = secret ^ yao.share(0, 64, 600, np.zeros((64, 600), np.uint8) if yao.session.index == 0 else None)
        return conversions.to_shares(yao, mixed).parts[0], conversions.to_binary(mixed).parts[0]

    for parts in together(engine):
        for part in parts:
            assert len(np.unique(part)) == 600
            assert abs(np.unpackbits(part.view(np.uint8)).mean() - 0.5) < 0.02


@pytest.mark.parametrize("garbler", [0, 1])
def test_additive_sharing_and_yao_in_turn(garbler) -> None:
    """A product by triples, a signed comparison by a circuit, and its choice by triples again: the larger of x y and z."""
    x, y, z = random.integers(-(2**30), 2**30, (3, 25))
    z[:10] *= 2**29

    def step(protocol: Additive) -> tuple:
        a, b, c = (
            protocol.share(owner, (25,), values.view(np.uint64) if protocol.index == owner else None)
            for owner, values in ((0, x), (1, y), (1, z))
        )
        product = protocol.multiply(a, b)
        yao = Yao(protocol.session, garbler)
        builder = Builder()
        left, right = builder.input(64), builder.input(64)
        builder.output([builder.less_signed(left, right)])
        (less,) = yao.evaluate(builder.build(), conversions.from_shares(yao, product), conversions.from_shares(yao, c))
        chosen = product + protocol.multiply(protocol.to_arithmetic(conversions.to_binary(less)), c - product)
        same = conversions.to_shares(yao, conversions.from_binary(yao, protocol.decompose(product)))
        return protocol.reveal(chosen), protocol.reveal(same)

    for larger, product in dealt(step):
        assert (larger.view(np.int64) == np.maximum(x * y, z)).all()
        assert (product.view(np.int64) == x * y).all()


def test_garbled_values_know_their_shape() -> None:
    value = Garbled(np.zeros((3, 5, 2), np.uint64))
    assert (value.width, value.rows, value[1:].width) == (3, 5, 2)

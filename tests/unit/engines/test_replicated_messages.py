"""What travels between the three parties: how much, in how many rounds, that it says nothing, and that no other length passes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tallystick_node.engines.channel import PART, ProtocolViolation
from tallystick_node.engines.mpc import replicated
from tallystick_node.engines.mpc.protocol import Shares
from tallystick_node.engines.mpc.replicated import Replicated, seat
from unit.engines.three_parties import answers, corrupted, recorded

TABLE = {
    name: (float(size), int(rounds))
    for name, size, rounds in re.findall(r"^(\w+) +([\d.]+) +(\d+)$", replicated.__doc__, re.MULTILINE)
}


def secret(protocol: Replicated, size: int) -> Shares:
    """Numbers of both signs whose parts are as good as public: what hides them must come from the step."""
    return protocol.public(np.linspace(-(2.0**40), 2.0**40, size).astype(np.int64).view(np.uint64))


STEPS = {
    "share": lambda p, n: p.share(1, (n,), np.arange(n, dtype=np.uint64) if p.index == 1 else None),
    "reveal": lambda p, n: p.reveal(secret(p, n)),
    "multiply": lambda p, n: p.multiply(secret(p, n), secret(p, n)),
    "multiply_fixed": lambda p, n: p.multiply_fixed(secret(p, n), secret(p, n), 20),
    "matmul": lambda p, n: p.matmul(secret(p, n).reshape(n, 1), secret(p, 1).reshape(1, 1)),
    "matmul_fixed": lambda p, n: p.matmul_fixed(secret(p, n).reshape(n, 1), secret(p, 1).reshape(1, 1), 20),
    "truncate": lambda p, n: p.truncate(secret(p, n), 12),
    "and": lambda p, n: p.and_(p.public_binary(np.arange(n), 64), p.public_binary(np.arange(n), 64)),
    "negative": lambda p, n: p.negative(secret(p, n)),
    "decompose": lambda p, n: p.decompose(secret(p, n)),
    "to_arithmetic": lambda p, n: p.to_arithmetic(p.public_binary(np.arange(n) % 2, 1)),
    "compose": lambda p, n: p.compose(p.public_binary(np.arange(n), 64)),
    "shuffle": lambda p, n: p.shuffle([secret(p, n)]),
    "sigmoid": lambda p, n: p.sigmoid_fixed(secret(p, n), 18),
}
OTHERS = {
    "accept": lambda p, n: p.accept(secret(p, n).parts),
    "reveal bits": lambda p, n: p.reveal_binary(p.public_binary(np.arange(n) % 2, 1)),
    "and of bits": lambda p, n: p.and_(*[p.public_binary(np.arange(n) % 2, 1)] * 2),
}


def test_the_table_names_every_step() -> None:
    assert set(TABLE) == set(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_costs_are_those_of_the_table(name) -> None:
    size = 4096
    messages, sessions = recorded(lambda protocol: STEPS[name](protocol, size))
    measured = sum(session.meter.steps[name].bytes for session in sessions)
    depth = max(each.depth for each in messages if each.step == name)
    assert (measured / size, depth) == TABLE[name]
    assert {each.step for each in messages} == {"prss", name}


def test_eight_bits_travel_in_a_byte() -> None:
    for name, step in (("reveal bits", "reveal"), ("and of bits", "and")):
        _, sessions = recorded(lambda protocol, name=name: OTHERS[name](protocol, 4096))
        assert sum(session.meter.steps[step].bytes for session in sessions) == 3 * 4096 / 8


@pytest.mark.parametrize("name", [*sorted(set(STEPS) - {"reveal"}), "and of bits"])
def test_messages_are_uniform_and_their_lengths_say_nothing(name) -> None:
    """Each message of each step, for secrets with public parts: bytes equally frequent, by chi-square. What a mask did not cover
    would show; a fair mask fails once in 10^12."""
    run = {**STEPS, **OTHERS}[name]
    messages, _ = recorded(lambda protocol: run(protocol, 4096))
    others, _ = recorded(lambda protocol: run(protocol, 4096))
    for each in messages:
        if each.step == "prss":
            continue
        counts = np.bincount(np.frombuffer(each.content, np.uint8), minlength=256)
        expected = len(each.content) / 256
        assert ((counts - expected) ** 2 / expected).sum() < 255 + 11 * 510**0.5, (each.sender, each.receiver, each.number)
    shapes, again = (sorted((m.sender, m.receiver, m.number, len(m.content)) for m in run) for run in (messages, others))
    assert shapes == again
    fresh = {(m.sender, m.receiver, m.number): m.content for m in others}
    assert all(fresh[m.sender, m.receiver, m.number] != m.content for m in messages)


@pytest.mark.parametrize("name", [*STEPS, *OTHERS])
def test_a_message_of_another_length_names_its_sender_and_step(name) -> None:
    """Every message of every step, one byte shorter, one longer, and empty."""
    run = {**STEPS, **OTHERS}[name]
    messages, _ = recorded(lambda protocol: run(protocol, 16))
    changes = [lambda m: m[:-1], lambda m: m + b"\0", lambda _: b""]
    for count, each in enumerate(messages):
        found = corrupted(lambda protocol: run(protocol, 16), each.sender, each.receiver, each.number, changes[count % 3])
        error = found[each.receiver]
        assert isinstance(error, ProtocolViolation), (each, error)
        assert (error.peer, error.step) == (each.sender, each.step)


def test_a_word_above_its_width_names_its_sender() -> None:
    words = np.arange(16)
    for run, sender in (
        (lambda p: p.and_(p.public_binary(words, 5), p.public_binary(words, 5)), 1),
        (lambda p: p.reveal_binary(p.public_binary(words, 5)), 2),
    ):
        (message,) = [m for m in recorded(run)[0] if (m.sender, m.receiver) == (sender, 0) and m.step != "prss"]
        error = corrupted(run, sender, 0, message.number, lambda m: m[:-1] + b"\x20")[0]
        assert isinstance(error, ProtocolViolation)
        assert (error.peer, error.step) == (sender, message.step)


def test_long_arrays_pass_piece_by_piece(monkeypatch) -> None:
    """No party sends more than a turn before it takes in as much: two of them never wait for each other with full links."""
    monkeypatch.setattr(seat, "_TURN", 1024)
    messages, sessions = recorded(lambda protocol: STEPS["multiply"](protocol, 1000))
    assert [len(m.content) for m in messages if (m.sender, m.step) == (0, "multiply")] == [1024] * 7 + [832]
    assert sessions[0].meter.steps["multiply"].rounds == 8
    (value, *_) = answers(lambda protocol: protocol.reveal(STEPS["multiply"](protocol, 1000)))
    numbers = np.linspace(-(2.0**40), 2.0**40, 1000).astype(np.int64)
    assert (value.view(np.int64) == numbers * numbers).all()


@pytest.mark.parametrize(("turn", "groups"), [(1 << 20, 1), (1152, 3)])
@pytest.mark.parametrize("name", ["multiply", "multiply_fixed", "matmul", "matmul_fixed", "truncate"])
def test_pieces_that_flow_take_the_rounds_of_the_whole(monkeypatch, name, turn, groups) -> None:
    """Pieces that end within a block of four rows, and a last one that is shorter; each of several turns takes its rounds."""
    for limit, value in (("_PIECE", 70), ("_ROWS", 6), ("_TURN", turn)):
        monkeypatch.setattr(seat, limit, value)
    numbers = np.linspace(-(2.0**28), 2.0**28, 350).astype(np.int64)
    shift = () if name in ("multiply", "matmul") else (20,)

    def run(protocol: Replicated) -> np.ndarray:
        x = Shares(protocol.disclose(protocol.public(numbers.view(np.uint64))))  # uniform parts
        if name == "truncate":
            return protocol.reveal(protocol.truncate(x, *shift))
        if name.startswith("matmul"):
            return protocol.reveal(getattr(protocol, name)(x[:294].reshape(42, 7), x[:63].reshape(7, 9), *shift))
        return protocol.reveal(getattr(protocol, name)(x, x, *shift))

    messages, sessions = recorded(run)
    assert len([each for each in messages if (each.sender, each.step) == (2, name)]) >= 5
    assert max(each.meter.steps[name].rounds for each in sessions) <= groups * TABLE[name][1]
    exact = {
        "truncate": numbers,
        "multiply": numbers * numbers,
        "matmul": numbers[:294].reshape(42, 7) @ numbers[:63].reshape(7, 9),
    }
    expected = exact[name.removesuffix("_fixed")] >> sum(shift)
    assert np.isin(answers(run)[1].view(np.int64) - expected, (0, -1) if shift else (0,)).all()


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("width", [0, 1, 2, 600, 1 << 13, 1 << 17, (1 << 18) + 1, 1 << 23])
def test_no_party_gets_further_ahead_than_links_hold(rows, width) -> None:
    """Of a wide matrix too, whose rows fill a link before many of them are under way."""
    groups, at = list(seat.turns((rows, width))), 0
    for group in groups:
        assert 8 * width * sum(piece.stop - piece.start for piece in group) <= 2 * PART
        for piece in group:
            assert piece.start == at < piece.stop
            at = piece.stop
    assert at == rows

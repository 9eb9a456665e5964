"""Additive sharing with a dealer, for two and for four parties."""

from __future__ import annotations

import numpy as np
import pytest
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.mpc.beaver.dealer import LIMIT, STEP, Dealer
from tallystick_node.engines.mpc.beaver.deals import KINDS
from tallystick_node.engines.mpc.beaver.dealt import DealtAdditive
from tallystick_node.engines.mpc.prss import Stream
from unit.engines import additive_laws as laws
from unit.engines.conftest import CorruptingChannel, run_parties


def dealt(step, parties: int = 2, dealer: int | None = None, sessions=None):
    """``step(protocol)`` at every computing party, with a dealer of the given number (the last)."""
    dealer = parties if dealer is None else dealer

    def engine(session):
        if session.index == dealer:
            return Dealer(session).serve()
        try:
            protocol = DealtAdditive(session, dealer)
            answer = step(protocol)
            protocol.close()
        except ProtocolViolation:
            for channel in session.channels.values():  # let the others fail at once
                channel.send(b"")
            raise
        return answer

    answers = run_parties(sessions or local_sessions(parties + 1), engine)
    return [answer for party, answer in enumerate(answers) if party != dealer]


RUNS = {"two": lambda step: dealt(step), "four": lambda step: dealt(step, 4), "first": lambda step: dealt(step, 3, dealer=0)}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_laws(law, run) -> None:
    law(run)


def request(*words: int):
    """A dealer whose only computing parties send it one request; what it ends with."""

    def engine(session):
        if session.index == 2:
            return Dealer(session).serve()
        session.channels[2].mark(STEP)
        session.channels[2].receive()
        if session.index == 1:
            session.channels[2].send(np.array(words, np.uint64).tobytes())
        return None

    return run_parties(local_sessions(3), engine)[2]


@pytest.mark.parametrize(
    "words",
    [
        (len(KINDS) + 1, 1, 0, 0),
        (0, 1, 0, 0),
        (1, 1, 1, 0),
        (1, LIMIT, 0, 0),
        (1, 2**64 - 1, 0, 0),
        (2, 2**13, 2**13, 2**13),
        (4, 5, 0, 0),
        (4, 5, 32, 0),
        (7, 5, 1, 2),
        (1, 1, 0),
        (1, 1, 0, 0, 0),
    ],
)
def test_the_dealer_refuses_what_is_no_request(words) -> None:
    error = request(*words)
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (1, STEP)


def test_the_dealer_ends_when_it_is_let_go() -> None:
    assert request(0, 0, 0, 0) is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_party_gets_what_another_does(kind) -> None:
    """The deals of one kind: every party's arrays are uniform, and the corrections are too."""
    deal = {"MatrixDeal": lambda: kind(40, 30, 40), "ShiftDeal": lambda: kind(1000, 7), "OrderDeal": lambda: kind(500, 2, 0)}.get(
        kind.__name__, lambda: kind(1000)
    )()
    streams = [Stream(bytes([party]) * 16) for party in range(3)]
    drawn = [deal.draw(stream) for stream in streams]
    for array in [*(array for arrays in drawn for array in arrays[: len(deal.shapes)]), *deal.corrections(drawn)]:
        assert abs(np.unpackbits(array.reshape(-1).view(np.uint8)).mean() - 0.5) < 0.01


@pytest.mark.parametrize(
    ("link", "number", "step"),
    [
        ((0, 1), 0, "seeds"),
        ((2, 0), 0, STEP),
        ((2, 1), 1, STEP),
        ((1, 0), 1, "multiply"),
        ((0, 1), 2, "truncate"),
        ((1, 0), 3, "negative"),
        ((0, 1), 4, "negative"),
        ((1, 0), 10, "to arithmetic"),
        ((1, 0), 11, "shuffle"),
        ((0, 1), 12, "reveal"),
    ],
)
@pytest.mark.parametrize("change", [lambda m: m[:-1], lambda m: m + b"\0"], ids=["short", "long"])
def test_wrong_lengths_name_the_sender(link, number, step, change) -> None:
    sessions = local_sessions(3)
    sender, receiver = link
    channels = sessions[sender].channels
    channels[receiver] = CorruptingChannel(channels[receiver], number, change)

    def program(p):
        x = p.share(0, (70,), np.arange(70, dtype=np.uint64) if p.index == 0 else None)
        y = p.truncate(p.multiply(x, x), 3)
        z = p.shuffle([p.to_arithmetic(p.negative(y))])[0]
        return p.reveal(z)

    error = dealt(program, sessions=sessions)[receiver]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, step)


def test_statements() -> None:
    statement = DealtAdditive.security(3)
    assert (statement.adversary, statement.corruptions, statement.trusted) == ("semi-honest", 2, ("dealer",))
    with pytest.raises(ValueError):
        DealtAdditive.security(1)

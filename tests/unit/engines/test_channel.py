"""Sessions in one process: arrays and blocks keep their content, lengths are checked, and everything is counted once."""

from __future__ import annotations

import numpy as np
import pytest
from tallystick_node.engines import channel
from tallystick_node.engines.channel import (
    ChannelError,
    ProtocolViolation,
    local_sessions,
    receive_array,
    receive_block,
    send_array,
    send_block,
)


@pytest.mark.parametrize("part", [32 << 20, 24])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5), (2, 0)])
def test_an_array_arrives_as_it_was_sent(monkeypatch, shape, part) -> None:
    monkeypatch.setattr(channel, "PART", part)
    one, two = local_sessions(2)
    sent = np.arange(int(np.prod(shape)), dtype=np.uint64).reshape(shape)
    send_array(one, 1, sent)
    send_array(one, 1, sent.T)
    got = receive_array(two, 0, shape, "step")
    assert (got == sent).all() and got.shape == shape and got.flags.writeable
    assert (receive_array(two, 0, shape[::-1], "step") == sent.T).all()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_another_length_names_sender_and_step(size) -> None:
    one, two = local_sessions(2)
    one.channels[1].send(bytes(size))
    with pytest.raises(ProtocolViolation, match=rf"^party 0: open: sent {size} bytes where 32 were due$"):
        receive_array(two, 0, (4,), "open")
    one.channels[1].send(bytes(size))
    with pytest.raises(ProtocolViolation, match="where 32 were due"):
        receive_block(two.channels[0], 32, "open")


def test_silence_is_named_in_time() -> None:
    one, _ = local_sessions(2, seconds=0.05)
    with pytest.raises(ChannelError, match="party 1: sent nothing for 0.05 s"):
        receive_array(one, 1, (1,), "step")


def test_every_way_to_send_is_counted_once_by_step() -> None:
    one, two, _ = local_sessions(3)
    for session in (one, two):
        session.mark("first")
    send_array(one, 1, np.zeros(4, np.uint64))
    send_block(one.channels[2], b"12345")
    one.broadcast(b"abc")
    receive_array(two, 0, (4,), "first")
    one.channels[1].mark("second")  # engines with one peer mark its channel
    two.channels[0].send(b"x")
    one.channels[1].receive()
    one.channels[1].send(b"y")
    first, second = one.meter.steps["first"], one.meter.steps["second"]
    assert (first.messages, first.bytes, first.rounds) == (4, 32 + 5 + 6, 1)
    assert (second.messages, second.bytes, second.rounds) == (1, 1, 1)


def test_what_flows_in_pieces_is_one_round() -> None:
    """First received, then sent, over and over; the next send after the flow is a round of its own."""
    one, two = local_sessions(2)
    for _ in range(3):
        two.channels[0].send(b"x")
    with one.meter.flow():
        for _ in range(3):
            one.channels[1].receive()
            one.channels[1].send(b"y")
    assert one.meter.steps[""].rounds == 1
    two.channels[0].send(b"x")
    one.channels[1].receive()
    one.channels[1].send(b"y")
    assert one.meter.steps[""].rounds == 2
    with one.meter.flow():
        for _ in range(3):
            one.channels[1].send(b"y")
            two.channels[0].send(b"x")
            one.channels[1].receive()
    one.channels[1].send(b"y")
    assert (one.meter.steps[""].rounds, one.meter.steps[""].messages) == (3, 8)

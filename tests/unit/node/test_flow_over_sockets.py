"""Arrays that flow among three parties over real sockets: with little room on the links, uneven parties, and pieces of many sizes,
nobody waits in a circle and every result is right."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable

import numpy as np
import pytest
from tallystick_node.engines.channel import Buffer, Session
from tallystick_node.engines.mpc.protocol import Shares
from tallystick_node.engines.mpc.replicated import Replicated, seat
from tallystick_node.engines.mpc.ring import FixedPoint, Ring
from tallystick_node.runs.sockets import SocketChannel, shake_hands
from unit.node.sockets import mesh, together

NUMBERS = FixedPoint(18)
ROOM = 128 << 10  # bytes asked for on each link and direction: two packets of the loopback device


def hesitant(send: Callable[[Buffer], None], order: random.Random) -> Callable[[Buffer], None]:
    """Sends, and now and then not at once."""

    def later(message: Buffer) -> None:
        if order.random() < 0.2:
            time.sleep(order.random() * 0.01)
        send(message)

    return later


@pytest.mark.parametrize("piece", [1 << 8, 1 << 12, 1 << 14])
def test_products_flow_whatever_the_room_and_the_pace(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(seat, "_PIECE", piece)
    channels = mesh(3)
    for me in range(3):
        for peer, channel in channels[me].items():
            squeeze(channel)
            monkeypatch.setattr(channel, "send", hesitant(channel.send, random.Random(3 * me + peer)))
    order = np.random.default_rng(piece)
    rows, count = [order.uniform(-4, 4, size) for size in ((300, 20), (20, 600))], min(150 * piece, 200_000) + 1
    numbers = [order.uniform(-4, 4, count) for _ in range(2)]

    def party(me: int) -> list[Ring]:
        shake_hands(channels[me].values())
        protocol = Replicated(Session(me, {**channels[me]}))
        left, right, x, y = (protocol.share(0, each.shape, NUMBERS.encode(each) if me == 0 else None) for each in (*numbers, *rows))
        made = [protocol.multiply_fixed(left, right, 18), protocol.matmul_fixed(x, y, 18), protocol.truncate(left, 9)]
        made += [protocol.multiply(left, Shares(left.parts))]
        return [shown for each in made if (shown := protocol.reveal(each)) is not None]

    for found in together(*(lambda me=me: party(me) for me in range(3))):
        if isinstance(found, Exception):
            raise found
        product, matrix, shifted, square = found
        assert np.abs(NUMBERS.decode(product) - numbers[0] * numbers[1]).max() < 8 * 2.0**-18
        assert np.abs(NUMBERS.decode(matrix) - rows[0] @ rows[1]).max() < 1e-3
        assert np.abs(shifted.view(np.int64) - (NUMBERS.encode(numbers[0]).view(np.int64) >> 9)).max() <= 1
        assert (square == NUMBERS.encode(numbers[0]) ** np.uint64(2)).all()


def squeeze(channel: SocketChannel) -> None:
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        channel._socket.setsockopt(socket.SOL_SOCKET, option, ROOM)

"""Pairs of channels over TCP on loopback, as a node makes them for two workers."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tallystick_node.engines.channel import Meter
from tallystick_node.peers.direct import Credential, tune
from tallystick_node.runs.sockets import SocketChannel, Sockets, Terms


def connected() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        two, _ = listening.accept()
    tune(one)
    tune(two)
    return one, two


def terms() -> tuple[Terms, Terms]:
    """What two nodes agree on: the first end dials."""
    one, two = Credential.make(), Credential.make()
    return Terms(False, one.key, one.certificate, two.certificate), Terms(True, two.key, two.certificate, one.certificate)


def mesh(parties: int, seconds: float = 120.0) -> list[dict[int, SocketChannel]]:
    """Every party's channels, before their handshakes."""
    sockets, meters = [Sockets(seconds) for _ in range(parties)], [Meter() for _ in range(parties)]
    channels: list[dict[int, SocketChannel]] = [{} for _ in range(parties)]
    for i in range(parties):
        for j in range(i + 1, parties):
            for me, peer, end, side in zip((i, j), (j, i), connected(), terms(), strict=True):
                channels[me][peer] = SocketChannel(peer, sockets[me], end, side, meters[me])
    return channels


def together(*works: Any) -> list[Any]:
    """Each work in a thread of its own; what it returned, or the exception it ended with."""

    def one(work: Any) -> Any:
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))

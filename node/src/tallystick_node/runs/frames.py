"""Frames between a node and the worker process of a run, over a socket pair: kind, peer, length, body."""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER = struct.Struct(">BBI")
MAX_BODY = 64 << 20


class Kind(IntEnum):
    """What a frame carries. ``peer`` is the index of the party for DATA and LOST, else 0."""

    DATA = 1  # both ways: a message to or from a peer
    PROGRESS = 2  # worker to node: JSON [phase, fraction]
    OUTCOME = 3  # worker to node: JSON, the end
    ERROR = 4  # worker to node: JSON, the end
    LOST = 5  # node to worker: the peer is gone; body: why


def pack(kind: Kind, peer: int, body: bytes | memoryview = b"") -> bytes:
    """One frame."""
    return HEADER.pack(kind, peer, len(body)) + bytes(body)

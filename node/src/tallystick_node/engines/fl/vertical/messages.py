"""Bits of rows on the wire, and the bounds of what owners send one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.vertical.binning import MAX_BINS, MAX_FEATURES
from tallystick_node.engines.fl.vertical.boosting import Bits

MAX_CANDIDATES = MAX_FEATURES * (MAX_BINS - 1)  # cuts of one node and owner


def send_bits(session: Session, peer: int, rows: Sequence[Bits]) -> None:
    """Rows of bits one after the other, eight in a byte, filled up with zeros. No rows send nothing."""
    if rows:
        send_array(session, peer, np.packbits(np.concatenate(rows)))


def read_bits(session: Session, peer: int, sizes: Sequence[int], step: str) -> list[Bits]:
    """What :func:`send_bits` sent, for rows of these sizes. Raises ProtocolViolation for another length, or where what fills up is
    not zero."""
    if not sizes:
        return []
    total = sum(sizes)
    packed = receive_array(session, peer, (-(-total // 8),), step, np.uint8)
    bits = np.unpackbits(packed).astype(bool)
    if bits[total:].any():
        raise ProtocolViolation(peer, step, "sets bits beyond the last row")
    return np.split(bits[:total], np.cumsum(sizes)[:-1])

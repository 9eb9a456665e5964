"""AND triples from silent correlations (:mod:`tallystick_node.engines.ot.silent.supply`), without a message for any.

A correlation over GF(2) is a random transfer: the receiver's choice u is its part of a, and the XOR of the pads of q and q + delta
is the sender's part of b; the pad that the receiver knows and the sender's pad of q share the product. Two of them, one in each
direction, give both cross terms; the two bits of the pads give two products with one a."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.mpc.beaver.correlations import Fork
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.ot.silent.pads import Pads, lowest_bits
from tallystick_node.engines.ot.silent.supply import SupplyReceiver, SupplySender

_LARGEST = 1 << 13  # words made at a time


class Forks:
    """AND triples of one of two parties."""

    def __init__(self, sender: SupplySender, receiver: SupplyReceiver, pads: tuple[Pads, Pads], *, first: bool) -> None:
        """``pads`` are those of the sender and the receiver; ``first`` is the party that sends first."""
        self._sender, self._receiver, self._pads, self._first = sender, receiver, pads, first

    def take(self, count: int) -> Fork:
        """``count`` words of forks."""
        out = np.empty((5, count), np.uint64)
        for start in range(0, count, _LARGEST):
            piece = out[:, start : start + _LARGEST]
            piece[:] = self._make(piece.shape[1])
        a, b_0, b_1, c_0, c_1 = out
        return Fork(a, (b_0, b_1), (c_0, c_1))

    def _make(self, words: int) -> Ring:
        if self._first:
            sent, received = self._send(words), self._receive(words)
        else:
            received, sent = self._receive(words), self._send(words)
        zeros, b = sent[0], sent[0] ^ sent[1]
        a, strings = received[:1], received[1:]
        return np.concatenate([a, b, (a & b) ^ zeros ^ strings])

    def _send(self, words: int) -> Ring:
        """Two bits of pads for both choices."""
        return self._pads[0](self._sender.take(64 * words), self._sender.multiples)

    def _receive(self, words: int) -> Ring:
        """The choices, and two bits of their pads."""
        blocks = self._receiver.take(64 * words)
        return np.concatenate([lowest_bits(blocks, 1), self._pads[1](blocks)[0]])

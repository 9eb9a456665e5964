"""AND triples from random transfers, without a further message.

In a random transfer the receiver's choice is its part of a, and the XOR of the sender's strings is its part of b: the received
string and the sender's first string share the product. Two transfers, one in each direction, give both cross terms; the two lowest
bits of the strings give two products with one a."""

from __future__ import annotations

import secrets

import numpy as np

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.beaver.correlations import Fork
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.ot import bits
from tallystick_node.engines.ot.extension import OtReceiver, OtSender
from tallystick_node.engines.ot.rows import BATCH

_LEAST, _MOST = 1 << 10, BATCH // 64  # words made at a time


class Forks:
    """A supply of AND triples: many are made at a time, and what is left over is kept."""

    def __init__(self, sender: OtSender, receiver: OtReceiver, *, first: bool) -> None:
        """``first`` is the party that sends first."""
        self._sender, self._receiver, self._first = sender, receiver, first
        self._choices = Stream(secrets.token_bytes(SEED))
        self._left = np.empty((5, 0), np.uint64)

    def take(self, count: int) -> Fork:
        """``count`` words of forks."""
        pieces = [self._left]
        missing = count - self._left.shape[1]
        while missing > 0:
            made = min(max(missing, _LEAST), _MOST)
            pieces.append(self._make(made))
            missing -= made
        together = np.concatenate(pieces, axis=1)
        self._left = together[:, count:].copy()
        a, b_0, b_1, c_0, c_1 = np.ascontiguousarray(together[:, :count])
        return Fork(a, (b_0, b_1), (c_0, c_1))

    def _make(self, words: int) -> Ring:
        if self._first:
            sent, received = self._send(words), self._receive(words)
        else:
            received, sent = self._receive(words), self._send(words)
        zeros, b = sent[:2], sent[:2] ^ sent[2:]
        a, strings = received[:1], received[1:]
        return np.concatenate([a, b, (a & b) ^ zeros ^ strings])

    def _send(self, words: int) -> Ring:
        """The two lowest bits of the first strings, and of the second."""
        pair = self._sender.random(64 * words, 1)
        return np.stack([low_bits(strings, place) for strings in pair for place in range(2)])

    def _receive(self, words: int) -> Ring:
        """The choices, and the two lowest bits of the strings received for them."""
        chosen = self._choices.elements((words,))
        choices = np.empty(64 * words, np.uint8)
        bits.unpack(chosen, choices)
        strings = self._receiver.random(choices, 1)
        return np.stack([chosen, *(low_bits(strings, place) for place in range(2))])


def low_bits(strings: Ring, place: int) -> Ring:
    """Bit ``place`` of 64 n strings, as n words."""
    out = np.zeros(len(strings) // 64, np.uint64)
    _low_bits(strings, np.uint64(place), out)
    return out


@compiled
def _low_bits(strings: Ring, place: np.uint64, out: Ring) -> None:
    count = len(out)
    for bit in range(64):
        for word in range(count):
            out[word] |= ((strings[bit * count + word, 0] >> place) & np.uint64(1)) << np.uint64(bit)

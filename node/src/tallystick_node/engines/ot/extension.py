"""Oblivious transfers in any number: random, of strings, of bits, and correlated in Z_2^64.

Each class is one side of the transfers in one direction between two parties of a session; a pair that needs both directions makes
both at either end, in mirrored order. Both ends call the same methods in the same order with the same numbers. Security, and what a
batch of transfers costs, as in :mod:`rows`: malicious with abort, under AES as an ideal permutation in the hash (:mod:`hashing`);
or as in :mod:`silent.supply`, semi-honest and with an eighth of a byte each, where that gives the rows. What is sent besides rows:

| method | bytes for each transfer, from the sender |
|---|---|
| ``random`` | 0 |
| ``send`` of w words | 16 w |
| ``send_bits`` | 1/4 |
| ``correlated`` | 8, or 4 in Z_2^32 |
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.ot.bits import Words
from tallystick_node.engines.ot.hashing import Hash
from tallystick_node.engines.ot.rows import RowReceiver, RowSender
from tallystick_node.engines.security import SecurityStatement

MESSAGES = "ot messages"

_NOTHING = np.zeros(2, np.uint64)
_LABEL = b"transfers"

Bits = NDArray[np.uint8]
Unsigned = type[np.unsignedinteger[Any]]


def security() -> SecurityStatement:
    """What the transfers promise."""
    return SecurityStatement(
        adversary="malicious-with-abort",
        corruptions=1,
        parties=2,
        computational_bits=128,
        statistical_bits=100,
        trusted=(),
        learns={"sender": "nothing", "receiver": "nothing"},
        references=(
            "D. Masny and P. Rindal, Endemic Oblivious Transfer, CCS 2019, section 5",
            "L. Roy, SoftSpokenOT, CRYPTO 2022, figures 8 and 14",
            "C. Guo, J. Katz, X. Wang and Y. Yu, S&P 2020, section 7.4",
        ),
    )


class SomeRows(Protocol):
    """Where a sender's rows come from."""

    delta: Words

    def rows(self, count: int) -> Words:
        """The next rows, as :meth:`RowSender.rows` gives them."""


class ChosenRows(Protocol):
    """Where a receiver's rows come from."""

    def rows(self, choices: Bits) -> Words:
        """The next rows, as :meth:`RowReceiver.rows` gives them."""


class OtSender:
    """The sender's side, from ``rows``. Without any, constructing it makes the base transfers with ``peer``, about 0.1 s once."""

    def __init__(self, session: Session, peer: int, rows: SomeRows | None = None) -> None:
        self._session = session
        self._peer = peer
        self._rows: SomeRows = rows or RowSender(session, peer, _LABEL)
        self._hash = Hash(session.context, _LABEL + session.index.to_bytes(4, "big"))
        self._used = 0

    def random(self, count: int, words: int = 2) -> tuple[Words, Words]:
        """Random pairs of strings, each of shape (count, words), of which the receiver gets one of each."""
        rows, first = self._next(count)
        zeros, ones = (_masks(self._hash, rows, first, delta, words) for delta in (_NOTHING, self._rows.delta))
        return zeros, ones

    def send(self, zeros: Words, ones: Words) -> None:
        """Pairs of strings, each of shape (count, words): the receiver gets ``ones[i]`` where it chooses 1, else ``zeros[i]``."""
        if zeros.shape != ones.shape or zeros.ndim != 2:
            raise ValueError("the two messages of a transfer have the same number of words")
        rows, first = self._next(len(zeros))
        for messages, delta in ((zeros, _NOTHING), (ones, self._rows.delta)):
            masks = _masks(self._hash, rows, first, delta, messages.shape[1])
            masks ^= messages
            send_array(self._session, self._peer, masks)

    def send_bits(self, zeros: Bits, ones: Bits) -> None:
        """Pairs of bits (0 or 1)."""
        rows, first = self._next(len(zeros))
        for messages, delta in ((zeros, _NOTHING), (ones, self._rows.delta)):
            masked = _low_bits(_masks(self._hash, rows, first, delta, 1)) ^ messages
            send_array(self._session, self._peer, np.packbits(masked, bitorder="little"))

    def correlated(self, deltas: NDArray[Any]) -> NDArray[Any]:
        """Random x: the receiver gets x + c delta for its choice c, in Z_2^64, or in Z_2^32 for deltas of that type."""
        rows, first = self._next(len(deltas))
        zeros = _masks(self._hash, rows, first, _NOTHING, 1)[:, 0].astype(deltas.dtype)
        ones = _masks(self._hash, rows, first, self._rows.delta, 1)[:, 0].astype(deltas.dtype)
        send_array(self._session, self._peer, zeros + deltas - ones)
        return zeros

    def _next(self, count: int) -> tuple[Words, int]:
        first = self._used
        self._used += count
        rows = self._rows.rows(count)
        self._session.channels[self._peer].mark(MESSAGES)
        return rows, first


class OtReceiver:
    """The receiver's side, likewise. Choices are 0 or 1, as uint8."""

    def __init__(self, session: Session, peer: int, rows: ChosenRows | None = None) -> None:
        self._session = session
        self._peer = peer
        self._rows: ChosenRows = rows or RowReceiver(session, peer, _LABEL)
        self._hash = Hash(session.context, _LABEL + peer.to_bytes(4, "big"))
        self._used = 0

    def random(self, choices: Bits, words: int = 2) -> Words:
        """The chosen one of each of the sender's random pairs, of shape (count, words)."""
        rows, first = self._next(choices)
        return _masks(self._hash, rows, first, _NOTHING, words)

    def receive(self, choices: Bits, words: int) -> Words:
        """The chosen one of each of the sender's pairs of strings, of shape (count, words)."""
        rows, first = self._next(choices)
        zeros = receive_array(self._session, self._peer, (len(choices), words), MESSAGES)
        ones = receive_array(self._session, self._peer, (len(choices), words), MESSAGES)
        masks = _masks(self._hash, rows, first, _NOTHING, words)
        _choose(masks, choices, zeros, ones)
        return masks

    def receive_bits(self, choices: Bits) -> Bits:
        """The chosen one of each of the sender's pairs of bits."""
        rows, first = self._next(choices)
        size = -(-len(choices) // 8)
        zeros, ones = (receive_array(self._session, self._peer, (size,), MESSAGES, np.uint8) for _ in range(2))
        zeros, ones = (np.unpackbits(part, count=len(choices), bitorder="little") for part in (zeros, ones))
        return _low_bits(_masks(self._hash, rows, first, _NOTHING, 1)) ^ zeros ^ (choices & (zeros ^ ones))

    def correlated(self, choices: Bits, kind: Unsigned = np.uint64) -> NDArray[Any]:
        """x + c delta for the sender's random x and its delta, of the type that it has."""
        rows, first = self._next(choices)
        corrections = receive_array(self._session, self._peer, (len(choices),), MESSAGES, kind)
        corrections *= choices
        corrections += _masks(self._hash, rows, first, _NOTHING, 1)[:, 0].astype(kind)
        return corrections

    def _next(self, choices: Bits) -> tuple[Words, int]:
        first = self._used
        self._used += len(choices)
        rows = self._rows.rows(choices)
        self._session.channels[self._peer].mark(MESSAGES)
        return rows, first


def _masks(hashed: Hash, rows: Words, first: int, delta: Words, words: int) -> Words:
    lanes = [hashed(rows, first, delta, lane, min(2, words - 2 * lane)) for lane in range(-(-words // 2))]
    if len(lanes) == 1:
        return lanes[0]
    return np.concatenate(lanes, axis=1) if lanes else np.empty((len(rows), 0), np.uint64)


def _low_bits(hashes: Words) -> Bits:
    return (hashes[:, 0] & np.uint64(1)).astype(np.uint8)


@compiled
def _choose(out: Words, choices: Bits, zeros: Words, ones: Words) -> None:
    """out ^= the chosen message, without branching on the choice."""
    for row in range(len(out)):
        mask = np.uint64(0) - np.uint64(choices[row])
        for word in range(out.shape[1]):
            out[row, word] ^= zeros[row, word] ^ (mask & (zeros[row, word] ^ ones[row, word]))

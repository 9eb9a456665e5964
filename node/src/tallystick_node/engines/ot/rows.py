"""The rows that oblivious transfers are made of: one party holds delta and rows q, the other choices c and rows q ^ c delta.

SoftSpokenOT (Roy, CRYPTO 2022) with 16-leaf trees, whose corrections take 4 bytes a transfer where IKNP (CRYPTO 2003) takes 16.
From each of 32 punctured trees (:mod:`trees`) both parties expand, by AES-128-CTR, four columns of the batch: with r_x the bytes of
leaf x, the one knows u = XOR r_x and v = XOR x r_x, the other, whose missing leaf is a, w = XOR (x ^ a) r_x = v ^ a u. The
corrections make every tree's u that of the choices.

Security: malicious with abort on either side. The receiver could send corrections for different choices; the check of Roy's figure
8 stops it with certainty up to 2^-100: all columns are hashed by one linear hash that the holder of delta draws afterwards, and
must fit. The hash is GHASH, n/2^128-almost universal for n blocks; it is 128 bits and covers 128 sacrificed random choices, so that
it says nothing about the others. (Keller, Orsini and Scholl, CRYPTO 2015, check rows instead; Roy shows that their proof does not
hold.) As in every such extension a receiver that guesses bits of delta right goes unnoticed, and one that guesses wrong is caught:
what it learns costs as many bits of luck. Under AES as a pseudo-random function, SHA-256 as a random oracle, and :mod:`base`.

A batch costs 4 bytes for each transfer and 128 more for sacrificed ones, 16 bytes back, then 48: two rounds.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.ot import bits, trees
from tallystick_node.engines.ot.bits import COLUMNS, Words

DEPTH = 4
LEAVES = 1 << DEPTH
TREES = COLUMNS // DEPTH
BATCH = 1 << 19  # transfers at a time: 8 MiB of columns and as much of rows
STEP = "ot extension"
CHECK = "ot check"

_SPARE = 2  # words of sacrificed choices
_TAG = 16
_NONCE = bytes(12)


def batches(count: int) -> Iterator[int]:
    """The sizes of the batches that ``count`` transfers take."""
    for start in range(0, count, BATCH):
        yield min(BATCH, count - start)


def padded(count: int) -> int:
    """How many words of a column hold a batch of ``count``: an even number, so that blocks of 128 bits stay whole."""
    return 2 * (-(-count // 128))


class RowSender:
    """Holds delta: ``rows(n)`` are the rows q of n choices of the peer."""

    def __init__(self, session: Session, peer: int, label: bytes, *, one: int = 0) -> None:
        """Makes the trees with ``peer``. The lowest ``one`` bits of delta, at most ``DEPTH``, are those of the number 1."""
        self._session = session
        self._peer = peer
        self._scratch = _Scratch()
        session.channels[peer].mark(trees.STEP)
        missing = np.frombuffer(secrets.token_bytes(TREES), np.uint8) % np.uint8(LEAVES)
        if one:
            missing[0] = missing[0] >> one << one | 1
        known = trees.puncture(session, peer, missing, DEPTH, label)
        self._bits = ((missing[:, None] >> np.arange(DEPTH, dtype=np.uint8)) & 1).astype(np.uint8)
        self.delta: Words = np.packbits(self._bits.reshape(-1), bitorder="little").view(np.uint64)
        # Leaf x is put at place x ^ a: the missing one at 0, which no column holds.
        self._streams = [
            [Stream(leaves[place ^ int(hole)]) for place in range(1, LEAVES)] for leaves, hole in zip(known, missing, strict=True)
        ]

    def rows(self, count: int) -> Words:
        """The rows of the next ``count`` transfers, of shape (count, 2). Raises ProtocolViolation when the peer cheats."""
        out = np.empty((count, 2), np.uint64)
        start = 0
        for size in batches(count):
            self._session.channels[self._peer].mark(STEP)
            self._batch(out[start : start + size])
            start += size
        return out

    def _batch(self, out: Words) -> None:
        words = padded(len(out))
        length = words + _SPARE
        columns, leaves = self._scratch.arrays(length)
        leaves[0] = 0
        unused = np.empty(length, np.uint64)
        for tree, streams in enumerate(self._streams):
            for place, stream in enumerate(streams, start=1):
                stream.fill(leaves[place].view(np.uint8).data)
            mine = columns[tree * DEPTH : (tree + 1) * DEPTH]
            bits.fold(leaves, mine, unused)
        corrections = receive_array(self._session, self._peer, (TREES, length), STEP)
        for tree in range(TREES):
            bits.correct(columns[tree * DEPTH : (tree + 1) * DEPTH], self._bits[tree], corrections[tree])
        key = secrets.token_bytes(_TAG)
        send_array(self._session, self._peer, np.frombuffer(key, np.uint8))
        answer = receive_array(self._session, self._peer, (_TAG + 32,), CHECK, np.uint8)
        tags = _tags(key, columns)
        tags ^= answer[:_TAG][None, :] * self._bits.reshape(-1, 1)
        if not hmac.compare_digest(hashlib.sha256(tags.tobytes()).digest(), answer[_TAG:].tobytes()):
            raise ProtocolViolation(self._peer, CHECK, "its columns are not of one vector of choices")
        _write(columns, words, out)


class RowReceiver:
    """Holds choices: ``rows(c)`` are the peer's rows, each XORed with delta where c is 1."""

    def __init__(self, session: Session, peer: int, label: bytes) -> None:
        """Makes the trees with ``peer``."""
        self._session = session
        self._peer = peer
        self._scratch = _Scratch()
        session.channels[peer].mark(trees.STEP)
        self._streams = [[Stream(leaf) for leaf in leaves] for leaves in trees.grow(session, peer, TREES, DEPTH, label)]

    def rows(self, choices: NDArray[np.uint8]) -> Words:
        """The rows of as many transfers as ``choices`` (0 or 1) has, of shape (count, 2)."""
        out = np.empty((len(choices), 2), np.uint64)
        start = 0
        for size in batches(len(choices)):
            self._session.channels[self._peer].mark(STEP)
            self._batch(choices[start : start + size], out[start : start + size])
            start += size
        return out

    def _batch(self, choices: NDArray[np.uint8], out: Words) -> None:
        words = padded(len(out))
        length = words + _SPARE
        wanted = np.frombuffer(bytearray(secrets.token_bytes(8 * length)), np.uint64)
        bits.pack(np.concatenate([choices, np.zeros(64 * words - len(choices), np.uint8)]), wanted[:words])
        columns, leaves = self._scratch.arrays(length)
        corrections = np.empty((TREES, length), np.uint64)
        for tree, streams in enumerate(self._streams):
            for place, stream in enumerate(streams):
                stream.fill(leaves[place].view(np.uint8).data)
            bits.fold(leaves, columns[tree * DEPTH : (tree + 1) * DEPTH], corrections[tree])
            corrections[tree] ^= wanted
        send_array(self._session, self._peer, corrections)
        key = receive_array(self._session, self._peer, (_TAG,), CHECK, np.uint8).tobytes()
        hashed = _tags(key, wanted[None, :]) ^ _tags(key, np.zeros((1, length), np.uint64))
        digest = hashlib.sha256(_tags(key, columns).tobytes()).digest()
        send_array(self._session, self._peer, np.frombuffer(hashed.tobytes() + digest, np.uint8))
        _write(columns, words, out)


class _Scratch:
    """Memory for a batch, kept from one to the next: fresh pages would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._words = np.empty(0, np.uint64)

    def arrays(self, length: int) -> tuple[Words, Words]:
        """The columns and the leaves of a batch, ``length`` words each."""
        size = (COLUMNS + LEAVES) * length
        if len(self._words) < size:
            self._words = np.empty(size, np.uint64)
        columns, leaves = self._words[: COLUMNS * length], self._words[COLUMNS * length : size]
        return columns.reshape(COLUMNS, length), leaves.reshape(LEAVES, length)


def _tags(key: bytes, columns: Words) -> NDArray[np.uint8]:
    """A hash of each column: its GHASH under a key, XOR a constant of key and length, so that the XOR of two tags is linear in the
    columns. The nonce is the same for all because no tag authenticates anything."""
    cipher = AESGCM(key)
    tags = b"".join(cipher.encrypt(_NONCE, b"", column.view(np.uint8).data) for column in columns)
    return np.frombuffer(bytearray(tags), np.uint8).reshape(-1, _TAG)


def _write(columns: Words, words: int, out: Words) -> None:
    if len(out) == 64 * words:
        bits.transpose(columns, words, out)
        return
    rows = np.empty((64 * words, 2), np.uint64)
    bits.transpose(columns, words, rows)
    out[:] = rows[: len(out)]

"""Pseudo-random secret sharing for three parties (Cramer, Damgard and Ishai, TCC 2005), by streams of AES-128 in counter mode.

Seed K_i is known to parties i and i - 1 (mod 3): each party draws one seed and sends it to the party before it. Both holders of a
seed draw the same bytes in the same order, so that they share randomness, and all three share zero, without a message.

Security: what one party draws from the seed it does not hold is indistinguishable from random under AES as a pseudo-random
permutation; one seed may give far fewer than 2^64 blocks, where nothing would be left of that; no session comes near.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session, receive_block
from tallystick_node.engines.mpc.ring import Ring

SEED = 16  # bytes
BLOCK = 1 << 14  # elements worked on at a time: a few arrays of 128 KiB stay in the cache of one core
_PIECE = 1 << 17  # bytes encrypted at a time: the zeros and the output stay in cache
_ZEROS = memoryview(bytes(_PIECE))
_HEAD = 32  # bytes of the first two counters of an epoch
_EPOCH = 1 << 36  # bytes of 2^32 counters

Unsigned = type[np.unsignedinteger[Any]]


class Stream:
    """The bytes of one seed, in order: the encryptions of 0, 1, 2, ... as big-endian blocks.

    They are taken from AES-GCM (NIST SP 800-38D), which encrypts with the counters from 2 on that follow 96 bits of its own. For it
    OpenSSL has code that works on several blocks at once: it makes twice as many bytes in a second as that of the plain counter
    mode, although it also authenticates what nobody asks for."""

    def __init__(self, seed: bytes) -> None:
        self._key = algorithms.AES128(seed)
        self._scratch = np.empty(0, np.uint8)
        self._epoch = -1
        self._head = b""
        self._left = 0
        self._begin()

    def _begin(self) -> None:
        """The next epoch."""
        self._epoch += 1
        upper = self._epoch.to_bytes(12, "big")
        self._head = Cipher(self._key, modes.CTR(upper + bytes(4))).encryptor().update(bytes(_HEAD))
        self._encryptor = Cipher(self._key, modes.GCM(upper)).encryptor()
        self._left = _EPOCH - _HEAD

    def fill(self, out: memoryview) -> None:
        """The next ``len(out)`` bytes."""
        done = 0
        while done < len(out):
            if self._head:
                head = self._head[: len(out) - done]
                out[done : done + len(head)] = head
                self._head = self._head[len(head) :]
                done += len(head)
                continue
            if not self._left:
                self._begin()
                continue
            part = out[done : done + min(_PIECE, self._left)]
            self._encryptor.update_into(_ZEROS[: len(part)], part)
            self._left -= len(part)
            done += len(part)

    def elements(self, shape: tuple[int, ...], kind: Unsigned = np.uint64) -> NDArray[Any]:
        """Uniform elements of an unsigned type."""
        out = np.empty(shape, kind)
        if out.size:
            self.fill(out.reshape(-1).view(np.uint8).data)
        return out

    def passing(self, count: int, kind: Unsigned = np.uint64) -> NDArray[Any]:
        """``count`` uniform elements in memory that the next call of this method writes over: to be used up at once."""
        size = count * np.dtype(kind).itemsize
        if len(self._scratch) < size:
            self._scratch = np.empty(size, np.uint8)
        out = self._scratch[:size]
        self.fill(out.data)
        return out.view(kind)


class Prss:
    """The two streams that one of three parties holds: ``own`` of K_i, shared with party i - 1, and ``after`` of K_{i+1}."""

    def __init__(self, session: Session) -> None:
        if session.parties != 3:
            raise ValueError("replicated sharing is for three parties")
        before, after = (session.index - 1) % 3, (session.index + 1) % 3
        session.mark("prss")
        seed = secrets.token_bytes(SEED)
        session.channels[before].send(seed)
        self.own = Stream(seed)
        self.after = Stream(receive_block(session.channels[after], SEED, "prss"))

    def zero(self, shape: tuple[int, ...]) -> Ring:
        """This party's part of a fresh sharing of zero: F(K_i) - F(K_{i+1})."""
        out: Ring = self.own.elements(shape)
        flat = out.reshape(-1)
        for block in blocks(flat.size):
            flat[block] -= self.after.passing(block.stop - block.start)
        return out


def blocks(size: int, length: int = BLOCK) -> Iterator[slice]:
    """The slices of an array, ``length`` elements each."""
    for start in range(0, size, length):
        yield slice(start, min(start + length, size))

"""Pseudo-random secret sharing for three parties (Cramer, Damgard and Ishai, TCC 2005), by AES-128-CTR streams.

Seed K_i is known to parties i and i - 1 (mod 3): each party draws one seed and sends it to the party before it. Both holders of a
seed draw the same bytes in the same order, so that they share randomness, and all three share zero, without a message.

Security: what one party draws from the seed it does not hold is indistinguishable from random under AES as a pseudo-random
permutation; 2^64 blocks of one seed are the limit, which no session reaches.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session, receive_block
from tallystick_node.engines.mpc.ring import Ring

SEED = 16  # bytes
_PIECE = 1 << 17  # bytes encrypted at a time: the zeros and the output stay in cache
_ZEROS = bytes(_PIECE)


class Stream:
    """The bytes of one seed, in order."""

    def __init__(self, seed: bytes) -> None:
        self._encryptor = Cipher(algorithms.AES128(seed), modes.CTR(bytes(16))).encryptor()

    def fill(self, out: memoryview) -> None:
        """The next ``len(out)`` bytes."""
        for start in range(0, len(out), _PIECE):
            part = out[start : start + _PIECE]
            self._encryptor.update_into(_ZEROS[: len(part)], part)

    def elements(self, shape: tuple[int, ...], kind: type[np.unsignedinteger[Any]] = np.uint64) -> NDArray[Any]:
        """Uniform elements of an unsigned type."""
        out = np.empty(shape, kind)
        if out.size:
            self.fill(out.reshape(-1).view(np.uint8).data)
        return out


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
        self.after = Stream(receive_block(session.channels[after], SEED, "seed"))

    def zero(self, shape: tuple[int, ...]) -> Ring:
        """This party's part of a fresh sharing of zero: F(K_i) - F(K_{i+1})."""
        own: Ring = self.own.elements(shape)
        own -= self.after.elements(shape)
        return own

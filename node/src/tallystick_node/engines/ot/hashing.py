"""The hash that breaks the correlation of rows: TMMO(x, i) = pi(pi(x) ^ i) ^ pi(x) with pi AES-128 under one public key.

Guo, Katz, Wang and Yu ("Efficient and secure multiparty computation from fixed-key block ciphers", S&P 2020, section 7.4): a
tweakable circular correlation-robust hash when pi is an ideal permutation, which is what extensions secure against malicious
parties need. No two transfers of a pair of parties use one tweak. The key is a digest of the session's context, so that no two runs
share a permutation.
"""

from __future__ import annotations

import hashlib

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.ot.bits import Words

_PIECE = 1 << 12  # blocks at a time: 64 KiB
_SLACK = 1  # blocks: OpenSSL's binding wants up to 15 bytes more than it fills


class Hash:
    """Hashes rows of 128 bits; row i of a call has tweak ``first + i``, or (``first + i``, ``lane``) for further lanes."""

    def __init__(self, context: bytes, label: bytes) -> None:
        key = hashlib.sha256(b"tallystick/ot/hash/v1" + len(context).to_bytes(4, "big") + context + label).digest()[:16]
        self._cipher = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()  # noqa: S305 - a permutation, not encryption
        self._given, self._once, self._twice = (np.empty((_PIECE + _SLACK, 2), np.uint64) for _ in range(3))

    def __call__(self, rows: Words, first: int, delta: Words, lane: int = 0, words: int = 2) -> Words:
        """The hashes of the rows XOR ``delta``, or their first words, of shape (count, words)."""
        out = np.empty((len(rows), words), np.uint64)
        for start in range(0, len(rows), _PIECE):
            size = min(_PIECE, len(rows) - start)
            piece = rows[start : start + size]
            _add(piece, delta, self._given)
            self._permute(self._given, self._once, size)
            _tweak(self._once, np.uint64(first + start), np.uint64(lane), self._given, size)
            self._permute(self._given, self._twice, size)
            _join(self._once, self._twice, out[start : start + size])
        return out

    def _permute(self, source: Words, target: Words, size: int) -> None:
        self._cipher.update_into(source[:size].view(np.uint8).data, target[: size + _SLACK].view(np.uint8).data)


@compiled
def _add(rows: Words, delta: Words, out: Words) -> None:
    first, second = delta[0], delta[1]
    for row in range(len(rows)):
        out[row, 0] = rows[row, 0] ^ first
        out[row, 1] = rows[row, 1] ^ second


@compiled
def _tweak(rows: Words, number: np.uint64, lane: np.uint64, out: Words, size: int) -> None:
    for row in range(size):
        out[row, 0] = rows[row, 0] ^ (number + np.uint64(row))
        out[row, 1] = rows[row, 1] ^ lane


@compiled
def _join(left: Words, right: Words, out: Words) -> None:
    for row in range(len(out)):
        for word in range(out.shape[1]):
            out[row, word] = left[row, word] ^ right[row, word]

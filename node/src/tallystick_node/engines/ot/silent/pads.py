"""Pads of two bits from the blocks of a supply, as planes of bits.

H(x) = pi(x) + x with pi AES-128 under a public key from the session's context is correlation robust when pi is an ideal permutation
(Guo, Katz, Wang and Yu, S&P 2020, section 7.2), which is what parties that follow the protocol need: the two lowest bits of
H(q + x delta) are random to who knows the block for another x. Block i makes bit i % 64 of word i // 64 of a plane.
"""

from __future__ import annotations

import hashlib

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.ot.silent.field import Words

PLANES = 2

_PIECE = 1 << 12  # blocks at a time: 64 KiB
_SLACK = 1  # blocks: OpenSSL's binding wants up to 15 bytes more than it fills
_NOTHING = np.zeros((1, 2), np.uint64)


class Pads:
    """The pads of the blocks that one party sends."""

    def __init__(self, context: bytes, sender: int) -> None:
        domain = len(context).to_bytes(4, "big") + context + sender.to_bytes(4, "big")
        key = hashlib.sha256(b"tallystick/ot/silent/pads/v1" + domain).digest()[:16]
        self._cipher = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()  # noqa: S305 - a permutation, not encryption
        self._given, self._made = (np.empty((_PIECE + _SLACK, 2), np.uint64) for _ in range(2))

    def __call__(self, blocks: Words, shifts: Words = _NOTHING) -> Words:
        """The pads of 64 w blocks plus each of the shifts, of shape (shifts, 2, w)."""
        words = len(blocks) // 64
        out = np.empty((len(shifts), PLANES, words), np.uint64)
        for start in range(0, len(blocks), _PIECE):
            piece = blocks[start : start + _PIECE]
            size = len(piece)
            given, made = self._given[:size].view(np.uint8).data, self._made[: size + _SLACK].view(np.uint8).data
            for shift, planes in zip(shifts, out, strict=True):
                _shift(piece, shift, self._given)
                self._cipher.update_into(given, made)
                _low_bits(self._given, self._made, planes[:, start // 64 : (start + size) // 64])
        return out


def lowest_bits(blocks: Words, bits: int) -> Words:
    """The ``bits`` lowest bits of 64 w blocks as planes, of shape (bits, w)."""
    out = np.empty((bits, len(blocks) // 64), np.uint64)
    _lowest_bits(blocks, out)
    return out


@compiled
def _shift(blocks: Words, shift: Words, out: Words) -> None:
    first, second = shift[0], shift[1]
    for i in range(len(blocks)):
        out[i, 0] = blocks[i, 0] ^ first
        out[i, 1] = blocks[i, 1] ^ second


@compiled
def _low_bits(given: Words, made: Words, out: Words) -> None:
    """The two lowest bits of given + made into planes."""
    one = np.uint64(1)
    for word in range(out.shape[1]):
        first = second = np.uint64(0)
        for bit in range(64):
            hashed = given[64 * word + bit, 0] ^ made[64 * word + bit, 0]
            first |= (hashed & one) << np.uint64(bit)
            second |= ((hashed >> one) & one) << np.uint64(bit)
        out[0, word], out[1, word] = first, second


@compiled
def _lowest_bits(blocks: Words, out: Words) -> None:
    for word in range(out.shape[1]):
        for plane in range(len(out)):
            total = np.uint64(0)
            for bit in range(64):
                total |= ((blocks[64 * word + bit, 0] >> np.uint64(plane)) & np.uint64(1)) << np.uint64(bit)
            out[plane, word] = total

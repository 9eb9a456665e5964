"""Between shares of two parties and garbled values (ABY: Demmler, Schneider and Zohner, NDSS 2015, section V).

Arithmetic shares add up to the secret in Z_2^64, one part at each party; Boolean shares XOR to it. Garbled values take 16 bytes a
bit, 1 KiB for a 64-bit secret, at each party: work on some thousands of rows at a time.

Security: that of :mod:`two_party`, semi-honest; nothing is opened but a sum masked by fresh randomness (:func:`to_shares`).
"""

from __future__ import annotations

import secrets

import numpy as np

from tallystick_node.engines.garbling.arithmetic import adder, subtractor
from tallystick_node.engines.garbling.circuit import Bits, bits_of, words_of
from tallystick_node.engines.garbling.two_party import Garbled, Yao
from tallystick_node.engines.mpc.protocol import Binary, Shares, word_type
from tallystick_node.engines.mpc.ring import BITS


def from_shares(yao: Yao, secret: Shares) -> Garbled:
    """Arithmetic to Yao: both parties put their part in, and a garbled adder adds them. 63 ANDs each.

    Rows are the elements in order. Raises ValueError unless each party holds one part.
    """
    (total,) = yao.evaluate(adder(BITS), *_both(yao, bits_of(_part(secret).reshape(-1), BITS)))
    return total


def to_shares(yao: Yao, secret: Garbled) -> Shares:
    """Yao to arithmetic: the garbler subtracts a random part of its own, and the evaluator learns the difference, its part.

    Values of fewer than 64 bits are unsigned. A vector of shares. 63 ANDs each.
    """
    if secret.width < BITS:
        nothing = yao.public(np.zeros((BITS - secret.width, secret.rows), np.uint8))
        secret = Garbled(np.concatenate([secret.labels, nothing.labels]))
    mask = np.frombuffer(secrets.token_bytes(8 * secret.rows), np.uint64) if yao.garbles else None
    part = yao.share(yao.garbler, BITS, secret.rows, None if mask is None else bits_of(mask, BITS))
    (difference,) = yao.evaluate(subtractor(BITS), secret, part)
    opened = yao.reveal(difference, to=[1 - yao.garbler])
    if mask is not None:
        return Shares((mask,))
    assert opened is not None
    return Shares((words_of(opened),))


def from_binary(yao: Yao, secret: Binary) -> Garbled:
    """Boolean to Yao: both parties put their part in, and labels are XORed. No ANDs. Rows are the words in order."""
    left, right = _both(yao, bits_of(_part(secret).reshape(-1), secret.width))
    return left ^ right


def to_binary(secret: Garbled) -> Binary:
    """Yao to Boolean, without a message: the labels' colours XOR to the bits. A vector of words of at most 64 bits.

    Raises ValueError for more bits.
    """
    words = words_of(secret.colours())
    return Binary((words.astype(word_type(secret.width)),), secret.width)


def _both(yao: Yao, part: Bits) -> tuple[Garbled, Garbled]:
    """The parts of party 0 and party 1."""
    width, rows = part.shape
    left, right = (yao.share(owner, width, rows, part if owner == yao.session.index else None) for owner in (0, 1))
    return left, right


def _part(secret: Shares | Binary) -> np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]]:
    if len(secret.parts) != 1:
        raise ValueError("each of the two parties holds one part")
    return secret.parts[0]

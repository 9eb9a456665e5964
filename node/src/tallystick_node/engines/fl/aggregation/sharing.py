"""Secrets of 32 bytes, shared so that a threshold of the holders gives them back and fewer have nothing.

Shamir's scheme (CACM 1979) over the field of 2^61 - 1, on pieces of seven bytes. More shares than the threshold are checked against
one another: wrong ones are found while they are at most half of the surplus (see :mod:`tallystick_node.engines.mpc.shamir.code`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tallystick_node.engines.mpc.shamir import code, field

SECRET = 32  # bytes
_PIECE = 7  # bytes: below 2^56, so an element
_PIECES = 5
SHARE = 8 * _PIECES  # bytes


class Unrecoverable(Exception):  # noqa: N818 - a verdict on shares
    """The shares are too few, are no elements of the field, or do not belong together."""


def split(secret: bytes, threshold: int, holders: Sequence[int]) -> list[bytes]:
    """A share for each holder, a number of its own from 0 up; any ``threshold`` of them have the secret."""
    padded = secret.ljust(_PIECES * _PIECE, b"\0")
    pieces = [int.from_bytes(padded[at : at + _PIECE], "little") for at in range(0, len(padded), _PIECE)]
    values = np.array(pieces, np.uint64)
    if threshold == 1:
        return [values.tobytes() for _ in holders]
    return [share.tobytes() for share in code.deal(values, threshold - 1, [holder + 1 for holder in holders])]


def join(shares: Mapping[int, bytes], threshold: int) -> tuple[bytes, tuple[int, ...]]:
    """The secret that shares, by holder, stand for, and the holders whose shares were wrong. Raises Unrecoverable."""
    words = {holder + 1: np.frombuffer(share, np.uint64) for holder, share in shares.items()}
    if not all(len(word) == _PIECES and field.are_elements(word) for word in words.values()):
        raise Unrecoverable("a share is not five elements of the field")
    try:
        found = code.reconstruct(words, threshold - 1)
    except code.Inconsistent as error:
        raise Unrecoverable(f"{len(words)} shares where {threshold} have the secret do not belong together") from error
    pieces = [int(value) for value in found.values]
    if any(piece >> (8 * _PIECE) for piece in pieces):
        raise Unrecoverable("what was shared is not 32 bytes")
    padded = b"".join(piece.to_bytes(_PIECE, "little") for piece in pieces)
    if any(padded[SECRET:]):
        raise Unrecoverable("what was shared is not 32 bytes")
    return padded[:SECRET], tuple(point - 1 for point in found.wrong)

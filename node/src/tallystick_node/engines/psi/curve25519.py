"""Curve25519 on u-coordinates: hashing items to the curve, and multiplying many points by one secret scalar.

Hashing is the map of RFC 9380's suite ``curve25519_XMD:SHA-512_ELL2_NU_`` (Elligator 2) without the clearing of the
cofactor: the scalars are clamped (RFC 7748), so multiples of 8, which clears it. Hash output used as u directly
would not do: half of all u belong to the twist, and which half shows through any scalar, one bit of every item. NU
reaches about half of the curve's points, non-uniformly, which the argument for masking does not mind: the map is a
random oracle composed with an invertible map.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from numpy.typing import NDArray

P = 2**255 - 19
POINT = 32  # bytes of a u-coordinate, little-endian

Points = NDArray[np.uint8]  # of shape (n, 32)

_A = 486662
_SUITE = b"tallystick-V01-CS01-with-curve25519_XMD:SHA-512_ELL2_NU_"


def random_scalar() -> bytes:
    """A secret scalar, clamped: a multiple of 8 between 2^254 and 2^255."""
    scalar = bytearray(secrets.token_bytes(32))
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    return bytes(scalar)


def hash_to_curve(items: Sequence[bytes], salt: bytes, suite: bytes = _SUITE) -> Points:
    """The u-coordinates of the points that ``salt || item`` hash to; multiply them by clamped scalars only."""
    return map_to_curve(hash_to_field([salt + item for item in items], suite))


def hash_to_field(messages: Sequence[bytes], suite: bytes) -> list[int]:
    """RFC 9380, section 5.2 with ``expand_message_xmd`` over SHA-512, L = 48, one element for each message."""
    suffix = suite + len(suite).to_bytes(1, "big")
    start = hashlib.sha512(bytes(128))
    middle = (48).to_bytes(2, "big") + b"\0" + suffix
    end = b"\1" + suffix
    elements = []
    for message in messages:
        state = start.copy()
        state.update(message + middle)
        elements.append(int.from_bytes(hashlib.sha512(state.digest() + end).digest()[:48], "big") % P)
    return elements


def map_to_curve(elements: Sequence[int]) -> Points:
    """Elligator 2 (RFC 9380, section 6.7.1) with Z = 2: u = -A/(1 + 2 e^2), or -u - A if that is not on the curve."""
    denominators = [(1 + 2 * e * e) % P for e in elements]  # never 0: -1/2 is not a square
    packed = bytearray()
    for inverse in _inverses(denominators):
        u = -_A * inverse % P
        if pow(u * (u * (u + _A) + 1), (P - 1) // 2, P) == P - 1:
            u = (-u - _A) % P
        packed += u.to_bytes(POINT, "little")
    return np.frombuffer(bytes(packed), np.uint8).reshape(-1, POINT)


def multiply(points: Points, scalar: bytes) -> Points:
    """X25519 (RFC 7748) of each point with one scalar; a row of zeros for a point of low order."""
    key = X25519PrivateKey.from_private_bytes(scalar)
    out = np.zeros(points.shape, np.uint8)
    for row, point in zip(out, points, strict=True):
        try:
            shared = key.exchange(X25519PublicKey.from_public_bytes(point.tobytes()))
        except ValueError:
            continue
        row[:] = np.frombuffer(shared, np.uint8)
    return out


def _inverses(elements: list[int]) -> list[int]:
    """Montgomery's trick: one inversion for all."""
    products = [1]
    for each in elements:
        products.append(products[-1] * each % P)
    inverse = pow(products[-1], -1, P)
    out = [0] * len(elements)
    for index in range(len(elements) - 1, -1, -1):
        out[index] = products[index] * inverse % P
        inverse = inverse * elements[index] % P
    return out

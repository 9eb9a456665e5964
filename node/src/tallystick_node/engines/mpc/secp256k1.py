"""The group of secp256k1 with its point at infinity, over libsecp256k1, which itself has no name for infinity."""

from __future__ import annotations

import secrets

from coincurve import PublicKey

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ENCODED = 33  # bytes of a point

Point = PublicKey | None  # None is infinity


def random_scalar() -> int:
    """Uniform in [1, ORDER)."""
    return 1 + secrets.randbelow(ORDER - 1)


def base(scalar: int) -> Point:
    """``scalar`` times the generator."""
    scalar %= ORDER
    return PublicKey.from_valid_secret(scalar.to_bytes(32, "big")) if scalar else None


def multiply(point: Point, scalar: int) -> Point:
    """``scalar`` times ``point``."""
    scalar %= ORDER
    return None if point is None or not scalar else point.multiply(scalar.to_bytes(32, "big"))


def neg(point: Point) -> Point:
    """The inverse of ``point``."""
    if point is None:
        return None
    packed = bytearray(point.format())
    packed[0] ^= 1
    return PublicKey(bytes(packed))


def add(left: Point, right: Point) -> Point:
    """The group sum."""
    if left is None:
        return right
    if right is None:
        return left
    a, b = left.format(), right.format()
    if a[1:] == b[1:] and a[0] != b[0]:
        return None
    return PublicKey.combine_keys([left, right])


def encode(point: Point) -> bytes:
    """33 bytes: SEC1 compressed, or zeros for infinity."""
    return bytes(ENCODED) if point is None else point.format()


def decode(packed: bytes) -> Point:
    """The point of :func:`encode`'s bytes. Raises ``ValueError`` for anything else."""
    if len(packed) != ENCODED:
        raise ValueError("a point of secp256k1 takes 33 bytes")
    return None if not any(packed) else PublicKey(packed)

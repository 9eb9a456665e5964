"""Pedersen commitments to vectors over BN254: C = sum v_k G_k + rho H (Pedersen, CRYPTO 1991, section 3).

Perfectly hiding: with a uniform ``rho`` the point says nothing about the values. Computationally binding: two
openings of one point give a relation between the generators, which is as hard as discrete logarithms in BN254 (about
100 bits, see :mod:`.bn254`). Additively homomorphic: commitments add up to the commitment to the sums, which the
chain checks with one point addition per party.

The generators are nothing-up-my-sleeve numbers: SHA-256 over a domain tag, the generator's index and a counter,
tried until an x of the curve comes out; the hash's last bit picks y. Nobody knows a relation between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from tallystick.commitments.bn254 import P, Point, msm

_DOMAIN = b"tallystick/v1/pedersen-bn254\0"


class OpeningMismatch(ValueError):  # noqa: N818 - named by ADR 2
    """The values and the blinding do not open the commitment."""


def generators(n: int) -> tuple[list[Point], Point]:
    """The first ``n`` value generators G_0..G_{n-1}, and the blinding generator H."""
    if n < 0:
        raise ValueError("a number of generators is not negative")
    return [generator(b"G", index) for index in range(n)], _generator(b"H")


def generator(family: bytes, index: int) -> Point:
    """Generator number ``index`` of a family: ``b"G"`` for values; range proofs have one for digits."""
    return _generator(family + index.to_bytes(8, "big"))


def commit(values: Sequence[int], blinding: int) -> Point:
    """The commitment to ``values`` under ``blinding``; any integers, taken modulo ``ORDER``.

    Hiding needs ``blinding`` uniform in [0, ORDER), used once.
    """
    points, blind = generators(len(values))
    return msm([*points, blind], [*values, blinding])


def verify_opening(point: Point, values: Sequence[int], blinding: int) -> None:
    """Raise :class:`OpeningMismatch` unless ``point`` commits to ``values`` under ``blinding``.

    Values that agree modulo ``ORDER`` open the same point, and so do vectors that differ in trailing zeros: a caller
    checks ranges and length by the task.
    """
    if commit(values, blinding) != point:
        raise OpeningMismatch("the values and the blinding do not open the commitment")


@lru_cache(maxsize=1 << 16)
def _generator(label: bytes) -> Point:
    for attempt in range(1 << 16):
        # 512 bits, so that reducing modulo P leaves no bias worth mentioning.
        seed = _DOMAIN + label + attempt.to_bytes(2, "big")
        wide = hashlib.sha256(seed + b"\0").digest() + hashlib.sha256(seed + b"\1").digest()
        x = int.from_bytes(wide, "big") % P
        square = (x * x * x + 3) % P
        y = pow(square, (P + 1) // 4, P)
        if y * y % P == square:
            return (x, y) if y & 1 == wide[-1] & 1 else (x, P - y)
    raise AssertionError("2^16 attempts without a point: the chance is 2^-65536")

"""KZG commitments to vectors of field elements (Kate, Zaverucha and Goldberg, ASIACRYPT 2010), in the form of EIP-4844.

A vector of at most 4096 elements of the scalar field of BLS12-381 (r its order) is read as the values of a polynomial p of degree
below 4096 at the 4096th roots of unity, in bit-reversed order; places that a shorter vector does not fill are zero. Its commitment
is the point p(s) G1, 48 bytes, where nobody knows s: it is that of Ethereum's public ceremony of 2023, whose set-up is unknown to
everybody if one of its participants forgot its part. The powers of s come with ``eth-account``, and are compared with a digest
here.

An opening at z is y = p(z) with the point ((p(s) - y) / (s - z)) G1, which a pairing checks: `verify_kzg_proof` of EIP-4844, and
the precompile of a chain from Cancun on. Evaluation binding: two openings of one commitment at one z to different values break the
strong Diffie-Hellman assumption for 4096 powers; and in the algebraic group model whoever opens knows the polynomial. About 120
bits.

**Hiding.** A commitment alone hides nothing that can be guessed, and an opening shows p(z). Whoever publishes a commitment and one
opening puts uniformly random elements into two places of the vector (:func:`hidden`). The commitment is p(s) G1, and p(s) and p(z)
are the vector's part plus an invertible linear map of the two elements: its determinant is that of two Lagrange polynomials at s
and at z, and vanishes only if s = z or one of them is a root of unity. So (p(s), p(z)) is uniform whatever the vector, and the
opening's point follows from both: what is published can be simulated perfectly. One element is not enough: given y it is a function
of a guess at the vector, which the commitment then confirms. One pair serves one opening; who opens at a second point needs a third
element.

Arithmetic is that of ``ckzg``, the Ethereum Foundation's bindings of c-kzg. Loading the set-up takes some seconds, once a process,
in which no other thread of it runs; whatever needs it first raises :class:`SetupRefused` where it is another.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import ckzg

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
SIZE = 4096  # elements of a vector
BLINDS = 2  # of them, where one opening is published
POINT = 48  # bytes
SCALAR = 32
_SETUP = ("typed_transactions", "blob_transactions", "kzg_trusted_setup.txt")
_SETUP_DIGEST = "d39b9f2d047cc9dca2de58f264b6a09448ccd34db967881a6713eacacf0f26b7"
_LOADING = threading.Lock()


class OpeningRefused(ValueError):  # noqa: N818 - as OpeningMismatch
    """The opening does not show the value, or what should be a point is none."""


class SetupRefused(Exception):  # noqa: N818 - as OpeningRefused; no ValueError, for it says nothing about a peer's bytes
    """The ceremony's powers are not installed as this release knows them."""


@dataclass(frozen=True)
class Opening:
    """The value of a committed polynomial at a point, and the point of the curve that shows it."""

    value: int
    proof: bytes


def commit(elements: Sequence[int]) -> bytes:
    """The commitment, a compressed point. Raises ValueError for more than 4096 elements, or one that is not from 0 to r - 1.

    Hides the elements only as :func:`hidden` says.
    """
    return bytes(ckzg.blob_to_kzg_commitment(_blob(elements), _setup()))


def hidden(elements: Sequence[int], blinds: Sequence[int]) -> list[int]:
    """The vector with two uniformly random elements in its last places. Raises ValueError when it is too long for them."""
    if len(elements) > SIZE - BLINDS:
        raise ValueError(f"a hidden vector has at most {SIZE - BLINDS} elements, not {len(elements)}: cut it into several")
    if len(blinds) != BLINDS:
        raise ValueError(f"a vector is hidden by {BLINDS} random elements")
    return [*elements, *[0] * (SIZE - BLINDS - len(elements)), *blinds]


def draw_blinds() -> tuple[int, ...]:
    """Two uniformly random elements."""
    return tuple(secrets.randbelow(ORDER) for _ in range(BLINDS))


def open_at(elements: Sequence[int], z: int) -> Opening:
    """The value at z and its proof. Raises ValueError as :func:`commit`."""
    proof, value = ckzg.compute_kzg_proof(_blob(elements), _scalar(z), _setup())
    return Opening(int.from_bytes(value, "big"), bytes(proof))


def verify(commitment: bytes, z: int, opening: Opening) -> None:
    """Raise :class:`OpeningRefused` unless the commitment opens to the value at z; also for bytes that are no points of the
    group."""
    if not 0 <= opening.value < ORDER:
        raise OpeningRefused("an evaluation is not below the field's order")
    if len(commitment) != POINT or len(opening.proof) != POINT:
        raise OpeningRefused(f"a point has {POINT} bytes")
    setup = _setup()
    try:
        holds = ckzg.verify_kzg_proof(commitment, _scalar(z), _scalar(opening.value), opening.proof, setup)
    except RuntimeError:  # the library's only error for bytes that are no point of the group
        raise OpeningRefused("a commitment or a proof is no point of the group") from None
    if not holds:
        raise OpeningRefused("the commitment does not open to the value")


def require_setup() -> None:
    """Load the ceremony's powers now. Raises :class:`SetupRefused`."""
    _setup()


def _scalar(value: int) -> bytes:
    if not 0 <= value < ORDER:
        raise ValueError("an element is not from 0 to the field's order - 1")
    return value.to_bytes(SCALAR, "big")


def _blob(elements: Sequence[int]) -> bytes:
    if len(elements) > SIZE:
        raise ValueError(f"a vector has at most {SIZE} elements, not {len(elements)}")
    return b"".join(map(_scalar, elements)).ljust(SIZE * SCALAR, b"\0")


def _setup() -> Any:
    with _LOADING:  # else threads that need it first at the same time each load it
        return _load()


@cache
def _load() -> Any:
    """The ceremony's powers. Raises :class:`SetupRefused` when the file is not the one that this release knows."""
    shipped = resources.files("eth_account").joinpath(*_SETUP)
    try:
        content = shipped.read_bytes()
    except OSError:
        raise SetupRefused("eth-account ships no trusted set-up where this release looks for the ceremony's") from None
    if hashlib.sha256(content).hexdigest() != _SETUP_DIGEST:
        raise SetupRefused("eth-account ships another trusted set-up than the ceremony's")
    with resources.as_file(shipped) as path:
        return ckzg.load_trusted_setup(str(path), 0)

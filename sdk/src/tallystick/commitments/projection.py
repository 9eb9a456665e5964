"""Projections of long vectors to four random points of a field: a check that a committed vector is the sum of others.

P_j(v) = sum of v_k c_j^(k+1) mod p, k from 0, p = 2^61 - 1, for entries 0 <= v_k < p. P_j is linear, so for Y = y_1 +
... + y_n the projections add up, P_j(y_1) + ... + P_j(y_n) = P_j(Y) mod p. A vector that is not the sum differs from it
by a non-zero polynomial of degree at most d, the number of entries, which has at most d roots: at a point that nobody
could foresee the projections differ, but for d of p cases (Schwartz 1980; a polynomial hash as in Carter and Wegman
1981).

The points follow from the commitments to all vectors, as Fiat and Shamir (CRYPTO 1986) make a proof non-interactive:
each vector is committed to by a root before anybody knows the points. In the random-oracle model one choice of roots
passes with a false sum with probability at most (9 d / 2^64)^4, about (1.13 d / p)^4, since a 64-bit word modulo p
takes a value with probability at most 9 / 2^64; who tries t choices gains a factor t.

A projection is a linear function of its vector and hides nothing: four of them determine four entries when the others
are known. A vector whose projections are published ends with four entries drawn uniformly from the field, the aggregate
with their sums modulo p. Then the projections are uniform (the points are distinct and not zero but for a chance of
2^-57), and the root, as a random oracle, says nothing about the other entries either.

This is the definition, in plain Python; a node projects the same in compiled code.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice, repeat
from operator import mul

from tallystick.ethereum import abi_encode, keccak

MODULUS = (1 << 61) - 1
POINTS = 4
ENTRY_BYTES = 8
BLOCK = 1024  # entries that are multiplied by the same powers, which are computed once
_TAG = keccak(b"tallystick/projection/v1")
_ROOT = b"tallystick/v1/projection\0"

Projection = tuple[int, int, int, int]
ZERO: Projection = (0, 0, 0, 0)


def challenge(context: bytes, roots: Sequence[bytes], aggregate_root: bytes) -> bytes:
    """The hash that the points follow from, as ``ProjectionVerifier.challenge`` computes it.

    ``context`` and every root have 32 bytes; ``roots`` are the parties', in the proposal's order, zero for a party
    without input.
    """
    return keccak(abi_encode(["bytes32", "bytes32", "bytes32[]", "bytes32"], [_TAG, context, list(roots), aggregate_root]))


def points(challenge_hash: bytes) -> Projection:
    """c_1 to c_4: the four 64-bit words of the hash, most significant first, modulo p."""
    a, b, c, d = (word % MODULUS for word in struct.unpack(">4Q", challenge_hash))
    return a, b, c, d


def project(entries: Iterable[int], at: Projection) -> Projection:
    """The projections of one vector to the points ``at``. Raises ValueError for an entry that is not from 0 to p - 1."""
    powers = [list(accumulate(repeat(point, BLOCK), lambda a, b: a * b % MODULUS)) for point in at]
    sums, shifts, rest = [0] * POINTS, [1] * POINTS, iter(entries)
    while block := list(islice(rest, BLOCK)):
        if min(block) < 0 or max(block) >= MODULUS:
            raise ValueError("an entry of a vector is not from 0 to 2^61 - 2")
        for j in range(POINTS):
            sums[j] = (sums[j] + shifts[j] * sum(map(mul, block, powers[j]))) % MODULUS
            shifts[j] = shifts[j] * powers[j][-1] % MODULUS
    a, b, c, d = sums
    return a, b, c, d


def add(projections: Iterable[Projection]) -> Projection:
    """The sum of projections, modulo p."""
    a, b, c, d = (sum(column) % MODULUS for column in zip(ZERO, *projections, strict=True))
    return a, b, c, d


def encode(entries: Iterable[int]) -> bytes:
    """The bytes of a vector: eight for each entry, little-endian."""
    return b"".join(entry.to_bytes(ENTRY_BYTES, "little") for entry in entries)


def root(content: Iterable[bytes]) -> bytes:
    """The commitment to a vector whose bytes are the pieces in ``content``, one after the other: SHA-256 under a domain tag."""
    state = hashlib.sha256(_ROOT)
    for piece in content:
        state.update(piece)
    return state.digest()


def project_content(content: Iterable[bytes], at: Projection) -> tuple[bytes, Projection]:
    """Root and projections of a vector from its bytes, in one pass.

    Raises ValueError when the bytes are not whole entries, each from 0 to p - 1.
    """
    state = hashlib.sha256(_ROOT)

    def entries() -> Iterator[int]:
        rest = b""
        for piece in content:
            state.update(piece)
            whole = rest + piece
            count, left = divmod(len(whole), ENTRY_BYTES)
            yield from struct.unpack_from(f"<{count}Q", whole)
            rest = whole[len(whole) - left :]
        if rest:
            raise ValueError("a vector's bytes are not a multiple of eight")

    projections = project(entries(), at)
    return state.digest(), projections

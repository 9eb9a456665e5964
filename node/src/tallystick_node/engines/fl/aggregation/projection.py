"""Is a long vector the sum of vectors that others committed to? Compared at four random points, not entry by entry.

Each party publishes the root of its vector y_i of d words, and the aggregator that of the sum Y, in whole numbers that do not wrap
around. From all roots follow four points c_j of the field of p = 2^61 - 1 (Fiat and Shamir, CRYPTO 1986). With

    P_j(v) = sum over k of v_k c_j^(k+1) mod p

the sum of the P_j(y_i) must be P_j(Y): four field elements from each party, added up by the others or by a contract
(``ProjectionVerifier``). P_j is linear, so true sums always pass.

Soundness: for a false Y the difference is a polynomial of degree d that is not zero, for every entry is below 2^48 < p. Four 64-bit
words of the hash, modulo p, hit a root of it with probability at most (9 d / 2^64)^4: 2^-163 for d = 2^20, 2^-139 for d = 2^26. Who
tries t sets of roots gains a factor t. The hash is a random oracle, the roots (BLAKE3) resist collisions: 128 bits.

Which cheaters it catches: an aggregator that drops, changes, repeats or invents a vector, for the sum of what was committed no
longer fits. What it does not: a party that commits to another vector than its data give; and a party that announces another
projection than its vector's, which only whoever has that vector sees. So an aggregator with an accomplice among the parties can
pass off any sum as one in which the accomplice's vector is another; :mod:`.commitment` binds in that case too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, repeat
from typing import Any

import numpy as np
from blake3 import blake3
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.shamir import field

ORDER = field.ORDER
POINTS = 4
ENTRY = 1 << 48  # entries of an aggregate are below
NO_ROOT = bytes(32)  # of a party without input
TAG = keccak(b"tallystick/projection/v1")
_ROOT = "tallystick/v1/projection/root"
_BLOCK = 1 << 11  # entries: 2^11 products of 32 and 21 bits stay below 2^64
_LIMB = 21  # bits
_LIMBS = 3

Points = tuple[int, ...]
Projection = tuple[int, ...]  # one element for each point


class Accused(ValueError):  # noqa: N818 - a verdict
    """Roots, projections and aggregate do not fit. ``party``: the position of the party that it is about, None for the
    aggregate."""

    def __init__(self, party: int | None, rule: str) -> None:
        super().__init__(rule if party is None else f"party {party}: {rule}")
        self.party = party


class Root:
    """The root of one party's vector, or of the aggregate: of its pieces in order. ``label`` says whose it is, in which task or
    round: a root that is shown again elsewhere fits nothing."""

    def __init__(self, label: bytes) -> None:
        self._hash = blake3(
            blake3(label).digest(), derive_key_context=_ROOT
        )  # of one length, so that nothing runs into the entries

    def update(self, piece: NDArray[Any]) -> None:
        """The next entries, as little-endian words of the array's type."""
        self._hash.update(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)

    def digest(self) -> bytes:
        """32 bytes."""
        return bytes(self._hash.digest())


def root(label: bytes, vector: NDArray[Any]) -> bytes:
    """The root of a vector in one piece."""
    whole = Root(label)
    whole.update(vector)
    return whole.digest()


def challenge(context: bytes, roots: Sequence[bytes], aggregate_root: bytes) -> bytes:
    """The hash that the points come from, as the contract computes it: keccak256(abi.encode(TAG, context, roots, aggregateRoot)).

    All are 32 bytes; ``roots`` in the order of the parties, zeros for one without input. Raises ValueError for other lengths.
    """
    if any(len(each) != 32 for each in (context, *roots, aggregate_root)):
        raise ValueError("the context and the roots have 32 bytes each")
    return bytes(keccak(abi_encode(["bytes32", "bytes32", "bytes32[]", "bytes32"], [TAG, context, list(roots), aggregate_root])))


def points(hashed: bytes) -> Points:
    """The points of a challenge: its four 64-bit words, most significant first, modulo p."""
    return tuple(int.from_bytes(hashed[at : at + 8], "big") % ORDER for at in range(0, 8 * POINTS, 8))


class Projector:
    """Projects vectors at the points of a challenge, piece after piece: the pieces of a vector are its entries in order."""

    def __init__(self, at: Points) -> None:
        if len(at) != POINTS or not all(0 <= point < ORDER for point in at):
            raise ValueError(f"a projection is at {POINTS} elements of the field")
        self._steps = [pow(point, _BLOCK, ORDER) for point in at]
        powers = [list(accumulate(repeat(point, _BLOCK), lambda a, b: a * b % ORDER)) for point in at]
        shifts = np.arange(0, _LIMB * _LIMBS, _LIMB, dtype=np.uint64)[:, None]
        mask = np.uint64((1 << _LIMB) - 1)
        self._limbs = ((np.array(powers, np.uint64)[:, None, :] >> shifts) & mask).astype(np.uint32)
        self._at = at

    def project(self, pieces: Iterable[NDArray[Any]]) -> Projection:
        """The projection of the vector that the pieces, flat arrays of words or of whole numbers below 2^48, make up. Raises
        Accused for a greater number."""
        total, start = [0] * POINTS, 0
        for piece in pieces:
            found = self._piece(piece)
            shifts = [pow(point, start, ORDER) for point in self._at]
            total = [(sum_ + shift * part) % ORDER for sum_, shift, part in zip(total, shifts, found, strict=True)]
            start += len(piece)
        return tuple(total)

    def _piece(self, piece: NDArray[Any]) -> list[int]:
        if piece.dtype == np.uint32:
            return self._words(piece)
        if piece.size and int(piece.max()) >= ENTRY:
            raise Accused(None, f"an entry of the aggregate is not below 2^{ENTRY.bit_length() - 1}")
        low = self._words(piece.astype(np.uint32))
        high = self._words((piece >> np.uint64(32)).astype(np.uint32))
        return [(a + (b << 32)) % ORDER for a, b in zip(low, high, strict=True)]

    def _words(self, words: NDArray[np.uint32]) -> list[int]:
        sums = np.zeros((-(-len(words) // _BLOCK), POINTS, _LIMBS), np.uint64)
        _blocks(sums, np.ascontiguousarray(words), self._limbs)
        sums %= np.uint64(ORDER)
        parts = field.combine([[1, 1 << _LIMB, 1 << (2 * _LIMB)]], [sums[:, :, limb] for limb in range(_LIMBS)])[0]
        total = [0] * POINTS
        for row in parts[::-1].tolist():
            total = [(value * step + part) % ORDER for value, step, part in zip(total, self._steps, row, strict=True)]
        return total


def verify(roots: Sequence[bytes], projections: Sequence[Projection], aggregate: Projection) -> None:
    """What the contract checks of the numbers themselves. Raises Accused unless there are as many projections as roots, of elements
    of the field, zero where the root is, and they add up to the aggregate's."""
    if len(roots) != len(projections):
        raise Accused(None, "there is not one projection for each root")
    for party, (committed, projection) in enumerate(zip(roots, projections, strict=True)):
        if len(projection) != POINTS or not all(0 <= each < ORDER for each in projection):
            raise Accused(party, f"its projection is not {POINTS} elements of the field")
        if committed == NO_ROOT and any(projection):
            raise Accused(party, "it has no root and yet a projection")
    if aggregate != tuple(sum(column) % ORDER for column in zip(*projections, strict=True)):
        raise Accused(None, "the projections do not add up to the aggregate's: it is not the sum of what was committed")


def proof_bytes(roots: Sequence[bytes], aggregate_root: bytes, projections: Sequence[Projection], aggregate: Projection) -> bytes:
    """What the contract takes: abi.encode(bytes32[] roots, bytes32 aggregateRoot, uint256[4][] projections, uint256[4]
    aggregate)."""
    kinds = ["bytes32[]", "bytes32", f"uint256[{POINTS}][]", f"uint256[{POINTS}]"]
    return bytes(abi_encode(kinds, [list(roots), aggregate_root, [list(each) for each in projections], list(aggregate)]))


@compiled
def _blocks(sums: NDArray[np.uint64], words: NDArray[np.uint32], limbs: NDArray[np.uint32]) -> None:
    """The inner products of each block of words with the limbs of the powers of each point."""
    for block in range(len(sums)):
        piece = words[block * _BLOCK : (block + 1) * _BLOCK]
        for place in range(POINTS):
            low, middle, high = np.uint64(0), np.uint64(0), np.uint64(0)
            for k in range(len(piece)):
                word = np.uint64(piece[k])
                low += word * np.uint64(limbs[place, 0, k])
                middle += word * np.uint64(limbs[place, 1, k])
                high += word * np.uint64(limbs[place, 2, k])
            sums[block, place, 0], sums[block, place, 1], sums[block, place, 2] = low, middle, high

"""Merkle trees: RFC 9162 (section 2.1) over SHA-256 for logs and rows, OpenZeppelin's sorted-pair tree over keccak-256.

Verifiers raise :class:`VerificationFailed` (rule 0: the caller's rule, if it has one, is the caller's to name) and
return nothing. Leaves are byte strings; the trees hash them, except :class:`SortedPairTree`, whose leaves are already
hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tallystick.ethereum import keccak
from tallystick.protocol.errors import VerificationFailed


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf)."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The greatest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def root_of_hashes(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes; of none, SHA-256 of the empty string.

    Linear time, logarithmic memory besides the input.
    """
    if not hashes:
        return hashlib.sha256(b"").digest()
    level = list(hashes)
    while len(level) > 1:
        # Pairing neighbours and carrying an odd last node up gives the RFC's left-full shape.
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) & ~1 :]
    return level[0]


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH(leaves), RFC 9162 section 2.1.1."""
    return root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(index, leaves), RFC 9162 section 2.1.3.1. Raises IndexError when there is no such leaf."""
    return InclusionProofs(leaves).path(index)


class InclusionProofs:
    """All inclusion proofs of one tree: linear time to build, logarithmic for each. ``hashed``: the leaves' hashes are given."""

    def __init__(self, leaves: Sequence[bytes], *, hashed: bool = False) -> None:
        self._levels = [list(leaves) if hashed else [leaf_hash(leaf) for leaf in leaves]]
        while len(level := self._levels[-1]) > 1:
            paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            self._levels.append(paired + level[len(level) & ~1 :])

    def path(self, index: int) -> list[bytes]:
        """The proof of one leaf, from the leaf up. Raises IndexError."""
        if not 0 <= index < len(self._levels[0]):
            raise IndexError(f"leaf {index} of {len(self._levels[0])}")
        siblings = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):  # an odd last node goes up without a partner
                siblings.append(level[sibling])
            index >>= 1
        return siblings


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> None:
    """RFC 9162 section 2.1.3.2.

    Raises :class:`VerificationFailed` unless ``leaf`` is number ``index`` of ``size`` under ``expected``.
    """
    if not 0 <= index < size:
        _fail("the leaf's index is outside the tree")
    position, last, current = index, size - 1, leaf_hash(leaf)
    for sibling in proof:
        if last == 0 or len(sibling) != 32:
            _fail("the inclusion proof is too long, or not of hashes")
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            current = node_hash(current, sibling)
        position >>= 1
        last >>= 1
    if last != 0 or current != expected:
        _fail("the inclusion proof leads to another root")


def consistency_proof(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """PROOF(old, leaves), RFC 9162 section 2.1.4.1, for 0 < old <= len(leaves). Raises IndexError otherwise."""
    if not 0 < old <= len(leaves):
        raise IndexError(f"size {old} of {len(leaves)}")
    return _subproof(old, [leaf_hash(leaf) for leaf in leaves], complete=True)


def _subproof(old: int, hashes: Sequence[bytes], *, complete: bool) -> list[bytes]:
    if old == len(hashes):
        return [] if complete else [root_of_hashes(hashes)]
    middle = _split(len(hashes))
    if old <= middle:
        return [*_subproof(old, hashes[:middle], complete=complete), root_of_hashes(hashes[middle:])]
    return [*_subproof(old - middle, hashes[middle:], complete=False), root_of_hashes(hashes[:middle])]


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """RFC 9162 section 2.1.4.2.

    Raises :class:`VerificationFailed` unless the tree of ``new`` leaves extends that of ``old``.
    """
    if not 0 < old <= new:
        _fail("the old tree is empty or larger than the new one")
    if old == new:
        if proof or old_root != new_root:
            _fail("trees of the same size differ")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path or any(len(each) != 32 for each in path):
        _fail("the consistency proof is empty, or not of hashes")
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            _fail("the consistency proof is too long")
        if position & 1 or position == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            second = node_hash(second, sibling)
        position >>= 1
        last >>= 1
    if last != 0 or first != old_root or second != new_root:
        _fail("the consistency proof leads to other roots")


def _fail(message: str) -> None:
    raise VerificationFailed(message, rule=0, remedy="get the tree's head and the proof again from the log's owner")


class SortedPairTree:
    """OpenZeppelin's tree (``MerkleProof.sol``, ``@openzeppelin/merkle-tree``): keccak-256 over sorted pairs, leaves
    sorted.

    Leaves are 32-byte hashes that were hashed twice from their data, so that no inner node can pose as a leaf.
    """

    def __init__(self, leaves: Sequence[bytes]) -> None:
        if not leaves or any(len(leaf) != 32 for leaf in leaves):
            raise ValueError("a sorted-pair tree needs at least one leaf, each of 32 bytes")
        count = len(leaves)
        # The heap layout of @openzeppelin/merkle-tree: the root first, the sorted leaves last and reversed.
        self._nodes = [b""] * (2 * count - 1)
        for position, leaf in enumerate(sorted(leaves)):
            self._nodes[len(self._nodes) - 1 - position] = leaf
        for position in range(len(self._nodes) - 1 - count, -1, -1):
            self._nodes[position] = self._pair(self._nodes[2 * position + 1], self._nodes[2 * position + 2])
        self._count = count

    @staticmethod
    def _pair(a: bytes, b: bytes) -> bytes:
        return keccak(min(a, b) + max(a, b))

    @property
    def root(self) -> bytes:
        """The root."""
        return self._nodes[0]

    def proof(self, leaf: bytes) -> list[bytes]:
        """The siblings from ``leaf`` to the root. Raises KeyError when it is not a leaf."""
        first = len(self._nodes) - self._count
        position = next((i for i in range(first, len(self._nodes)) if self._nodes[i] == leaf), 0)
        if position < first or self._nodes[position] != leaf:
            raise KeyError(leaf.hex())
        path = []
        while position > 0:
            path.append(self._nodes[position + 1 if position & 1 else position - 1])
            position = (position - 1) // 2
        return path

    @classmethod
    def verify(cls, leaf: bytes, proof: Sequence[bytes], expected: bytes) -> None:
        """Raise :class:`VerificationFailed` unless ``leaf`` is in the tree with root ``expected``."""
        current = leaf
        for sibling in proof:
            current = cls._pair(current, sibling)
        if current != expected:
            _fail("the Merkle proof leads to another root")

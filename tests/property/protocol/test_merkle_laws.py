"""Laws of the Merkle trees, for every size and position."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.protocol import merkle
from tallystick.protocol.errors import VerificationFailed
from tallystick.protocol.merkle import SortedPairTree

LEAVES = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


def defined(leaves: Sequence[bytes]) -> bytes:
    """MTH as RFC 9162, section 2.1.1, defines it."""
    if len(leaves) == 1:
        return merkle.leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(defined(leaves[:split]), defined(leaves[split:]))


@settings(max_examples=100)
@given(LEAVES)
def test_the_root_is_the_definition(leaves: list[bytes]) -> None:
    assert merkle.root(leaves) == defined(leaves)


@settings(max_examples=100)
@given(LEAVES, st.data())
def test_inclusion(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, proof = merkle.root(leaves), merkle.inclusion_proof(leaves, index)
    merkle.verify_inclusion(leaves[index], index, len(leaves), proof, root)
    with pytest.raises(VerificationFailed):
        merkle.verify_inclusion(leaves[index] + b"x", index, len(leaves), proof, root)
    with pytest.raises(VerificationFailed):
        merkle.verify_inclusion(leaves[index], index, len(leaves), [*proof, root], root)
    if proof:
        damaged = list(proof)
        position = data.draw(st.integers(0, len(proof) - 1))
        damaged[position] = bytes([damaged[position][0] ^ 1]) + damaged[position][1:]
        with pytest.raises(VerificationFailed):
            merkle.verify_inclusion(leaves[index], index, len(leaves), damaged, root)


@settings(max_examples=100)
@given(LEAVES, st.data())
def test_consistency(leaves: list[bytes], data: st.DataObject) -> None:
    old = data.draw(st.integers(1, len(leaves)))
    before, after = merkle.root(leaves[:old]), merkle.root(leaves)
    proof = merkle.consistency_proof(leaves, old)
    merkle.verify_consistency(old, len(leaves), proof, before, after)
    rewritten = merkle.root([leaves[0] + b"x", *leaves[1:old]])
    with pytest.raises(VerificationFailed):
        merkle.verify_consistency(old, len(leaves), proof, rewritten, after)


@settings(max_examples=100)
@given(st.sets(st.binary(min_size=32, max_size=32), min_size=1, max_size=20))
def test_sorted_pair_trees(leaves: set[bytes]) -> None:
    given_order = sorted(leaves)
    tree = SortedPairTree(given_order)
    assert SortedPairTree(given_order[::-1]).root == tree.root
    for leaf in given_order:
        SortedPairTree.verify(leaf, tree.proof(leaf), tree.root)

"""Merkle trees against published vectors: Certificate Transparency's and OpenZeppelin's."""

from __future__ import annotations

import hashlib

import pytest
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from tallystick.protocol import merkle
from tallystick.protocol.errors import VerificationFailed
from tallystick.protocol.merkle import SortedPairTree

# google/certificate-transparency, merkletree tests; the tree of RFC 6962, which RFC 9162 keeps.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_roots_of_certificate_transparency(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]


def test_the_worked_example_of_the_rfc() -> None:
    """RFC 9162, section 2.1.5: the paths of d0, d3, d4, d6 in a tree of seven, in terms of its inner nodes."""
    leaves = [bytes([n]) for n in range(7)]
    a, b, c, d, e, f, j = (merkle.leaf_hash(leaf) for leaf in leaves)
    node = merkle.node_hash
    g, h, i = node(a, b), node(c, d), node(e, f)
    k, m = node(g, h), node(i, j)
    assert merkle.root(leaves) == node(k, m)
    assert merkle.inclusion_proof(leaves, 0) == [b, h, m]
    assert merkle.inclusion_proof(leaves, 3) == [c, g, m]
    assert merkle.inclusion_proof(leaves, 4) == [f, j, k]
    assert merkle.inclusion_proof(leaves, 6) == [i, k]
    assert merkle.consistency_proof(leaves, 3) == [c, d, g, m]
    assert merkle.consistency_proof(leaves, 4) == [m]
    assert merkle.consistency_proof(leaves, 6) == [i, j, k]


def test_openzeppelin_published_root() -> None:
    """The example of the README of @openzeppelin/merkle-tree."""
    rows = [("0x" + "11" * 20, 5 * 10**18), ("0x" + "22" * 20, 25 * 10**17)]
    leaves = [keccak(keccak(abi_encode(["address", "uint256"], row))) for row in rows]
    tree = SortedPairTree(leaves)
    assert tree.root.hex() == "d4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77"
    assert tree.proof(leaves[0])[0].hex() == "b92c48e9d7abe27fd8dfd6b5dfdbfb1c9a463f80c712b66f3a5180a090cccafc"


def test_out_of_range() -> None:
    for index in (-1, 3):
        with pytest.raises(IndexError):
            merkle.inclusion_proof([b"a", b"b", b"c"], index)
    for old in (0, 4):
        with pytest.raises(IndexError):
            merkle.consistency_proof([b"a", b"b", b"c"], old)


def test_hostile_proofs() -> None:
    root, leaf = merkle.root(LEAVES), LEAVES[3]
    proof = merkle.inclusion_proof(LEAVES, 3)
    for index, size, given in (
        (3, 8, proof[:-1]),
        (3, 8, [*proof, proof[0]]),
        (8, 8, proof),
        (-1, 8, proof),
        (3, 0, []),
    ):
        with pytest.raises(VerificationFailed):
            merkle.verify_inclusion(leaf, index, size, given, root)
    with pytest.raises(VerificationFailed):
        merkle.verify_inclusion(leaf, 3, 8, [proof[0][:-1], *proof[1:]], root)
    for old, new, given in ((0, 8, []), (9, 8, []), (3, 8, []), (8, 8, [root]), (4, 8, [root] * 9), (3, 8, [b"x"])):
        with pytest.raises(VerificationFailed):
            merkle.verify_consistency(old, new, given, merkle.root(LEAVES[:old]), root)
    with pytest.raises(VerificationFailed):
        merkle.verify_consistency(8, 8, [], hashlib.sha256(b"").digest(), root)


def test_sorted_pair_trees_refuse() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        SortedPairTree([])
    with pytest.raises(ValueError, match="32 bytes"):
        SortedPairTree([b"short"])
    tree = SortedPairTree([bytes(32), b"\1" * 32, b"\2" * 32])
    with pytest.raises(KeyError):
        tree.proof(b"\3" * 32)
    with pytest.raises(VerificationFailed):
        SortedPairTree.verify(b"\3" * 32, tree.proof(bytes(32)), tree.root)

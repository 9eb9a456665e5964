"""Many punctured trees at once: one party has every leaf of t trees, the other all but one of each.

Half-trees (Guo, Yang, Wang, Zhang, Xie, Liu and Zhao, EUROCRYPT 2023): on every level but the last the two children of x are H(x)
and x + H(x), so that all nodes of a level add up to delta. The grower sends the sum of the left children under one row of an
extension (:mod:`tallystick_node.engines.ot.rows`), and the other party, whose row holds delta or not, gets the sum of the children
beside its path: 16 bytes for each level, and half the hashes of other trees. On the last level children are made by two other
hashes, so that leaves have nothing to do with delta, and both sums are sent, each under a hash of a row.

H(x) = pi(s(x)) + s(x) with pi AES-128 under a public key from the session's context and s(a, b) = (a + b, a): a circular
correlation-robust hash when pi is an ideal permutation (Guo, Katz, Wang and Yu, S&P 2020, section 7.3).

Security: the sums of a malicious grower are checked by whoever uses the leaves, not here. The other party sends nothing.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.ot.hashing import Hash
from tallystick_node.engines.ot.silent.field import Words
from tallystick_node.engines.ot.silent.shape import Shape

STEP = "silent trees"

_PIECE = 1 << 12  # nodes at a time: 64 KiB
_SLACK = 1  # blocks: OpenSSL's binding wants up to 15 bytes more than it fills
ALL = np.uint64((1 << 64) - 1)
_NOTHING = np.zeros(2, np.uint64)

Holes = NDArray[np.int64]


class Room:
    """Memory for forests one after another, which write over what was there: fresh pages would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._arrays = [np.empty(0, np.uint64) for _ in range(2)]

    def nodes(self, trees: int, level: int, depth: int) -> Words:
        """Room for the nodes of a level, the root's children being level 0: never where those of the level before are."""
        size, turn = trees << level + 2, (depth - level) % 2
        if len(self._arrays[turn]) < size:
            self._arrays[turn] = np.empty(size, np.uint64)
        return self._arrays[turn][:size].reshape(trees, -1, 2)


class Forests:
    """One party's side of the trees between two parties of a session."""

    def __init__(self, session: Session, peer: int, label: bytes, grower: int, room: Room) -> None:
        """``grower`` is the index of the party that has all leaves; no two trees of one delta have the same ``label`` twice. Leaves
        are in ``room``."""
        self._session, self._peer, self._room = session, peer, room
        domain = session.context + grower.to_bytes(4, "big") + label
        self._hash = Hash(domain, b"silent sums")
        self._inner, self._left, self._right = (_permutation(domain, label) for label in (b"inner", b"left", b"right"))
        self._given, *self._made = (np.empty((_PIECE + _SLACK, 2), np.uint64) for _ in range(3))
        self._used = 0

    def grow(self, shape: Shape, rows: Words, delta: Words, keep: np.uint64 = ALL) -> Words:
        """All leaves, of shape (size, 2), from a row for each level of each tree, of shape (trees, depth, 2); of their first words
        only the bits of ``keep``."""
        trees, depth = shape.trees, shape.depth
        nodes = np.frombuffer(bytearray(secrets.token_bytes(16 * trees)), np.uint64).reshape(trees, 1, 2)
        sums = np.empty((trees, depth + 1, 2), np.uint64)
        sums[:, 0] = rows[:, 0] ^ nodes[:, 0]
        nodes = np.concatenate([nodes, nodes ^ delta], axis=1)
        for level in range(1, depth - 1):
            nodes = self._level(nodes, self._room.nodes(trees, level, depth))
            sums[:, level] = rows[:, level] ^ total(nodes, 0, 2)
        leaves = self._leaves(nodes, keep, self._room.nodes(trees, depth - 1, depth))
        for side, shift in enumerate((_NOTHING, delta)):
            masks = self._hash(rows[:, depth - 1], self._used, shift)
            sums[:, depth - 1 + side] = masks ^ total(leaves, side, 2)
        self._used += trees
        send_array(self._session, self._peer, sums)
        return leaves.reshape(-1, 2)

    def puncture(self, shape: Shape, rows: Words, holes: Holes, keep: np.uint64 = ALL) -> Words:
        """The leaves but for number ``holes[i]`` of tree i, which is zero. The rows are those of :func:`sides`."""
        trees, depth = shape.trees, shape.depth
        sums = receive_array(self._session, self._peer, (trees, depth + 1, 2), STEP)
        beside = 1 - sides(holes, depth).astype(np.int64)  # where the known children are
        each = np.arange(trees)
        totals = sums[:, :depth] ^ rows
        chosen = self._hash(rows[:, depth - 1], self._used, _NOTHING)
        totals[:, depth - 1] = chosen ^ sums[each, depth - 1 + beside[:, depth - 1]]
        self._used += trees
        nodes = np.zeros((trees, 2, 2), np.uint64)
        path = np.zeros(trees, np.int64)
        for level in range(depth):
            if level:
                out = self._room.nodes(trees, level, depth)
                nodes = self._level(nodes, out) if level < depth - 1 else self._leaves(nodes, keep, out)
            known = 2 * path + beside[:, level]
            path = 2 * path + 1 - beside[:, level]
            nodes[each, path] = nodes[each, known] = 0
            _complete(nodes, beside[:, level].copy(), known, totals[:, level].copy())
        return nodes.reshape(-1, 2)

    def _level(self, nodes: Words, out: Words) -> Words:
        """The children of every node."""
        flat, given, (made, _) = nodes.reshape(-1, 2), self._given, self._made
        for start in range(0, len(flat), _PIECE):
            piece = flat[start : start + _PIECE]
            _spread(piece, given)
            _permute(self._inner, given, made, len(piece))
            _half(piece, given, made, out.reshape(-1, 2)[2 * start : 2 * (start + len(piece))])
        return out

    def _leaves(self, nodes: Words, keep: np.uint64, out: Words) -> Words:
        flat, given, (left, right) = nodes.reshape(-1, 2), self._given, self._made
        for start in range(0, len(flat), _PIECE):
            size = len(flat[start : start + _PIECE])
            _spread(flat[start : start + size], given)
            _permute(self._left, given, left, size)
            _permute(self._right, given, right, size)
            _both(given, left, right, keep, out.reshape(-1, 2)[2 * start : 2 * (start + size)])
        return out


def sides(holes: Holes, depth: int) -> NDArray[np.uint8]:
    """On which side of every level the path to a hole goes, from the root, of shape (trees, depth): the choices of the rows are
    these, the other way round."""
    return ((holes[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8)


def total(nodes: Words, first: int, step: int) -> Words:
    """The sum over every tree, of shape (trees, n, 2), of every ``step``-th node from number ``first``."""
    out = np.zeros((len(nodes), 2), np.uint64)
    _total(nodes, first, step, out)
    return out


def _permutation(domain: bytes, label: bytes) -> CipherContext:
    key = hashlib.sha256(b"tallystick/ot/silent/tree/v1" + len(domain).to_bytes(4, "big") + domain + label).digest()[:16]
    return Cipher(algorithms.AES128(key), modes.ECB()).encryptor()  # noqa: S305 - a permutation, not encryption


def _permute(cipher: CipherContext, given: Words, made: Words, size: int) -> None:
    cipher.update_into(given[:size].view(np.uint8).data, made[: size + _SLACK].view(np.uint8).data)


@compiled
def _spread(nodes: Words, out: Words) -> None:
    for i in range(len(nodes)):
        out[i, 0] = nodes[i, 0] ^ nodes[i, 1]
        out[i, 1] = nodes[i, 0]


@compiled
def _half(nodes: Words, given: Words, made: Words, out: Words) -> None:
    for i in range(len(nodes)):
        first, second = given[i, 0] ^ made[i, 0], given[i, 1] ^ made[i, 1]
        out[2 * i, 0], out[2 * i, 1] = first, second
        out[2 * i + 1, 0], out[2 * i + 1, 1] = first ^ nodes[i, 0], second ^ nodes[i, 1]


@compiled
def _both(given: Words, left: Words, right: Words, keep: np.uint64, out: Words) -> None:
    for i in range(len(out) // 2):
        out[2 * i, 0] = (given[i, 0] ^ left[i, 0]) & keep
        out[2 * i, 1] = given[i, 1] ^ left[i, 1]
        out[2 * i + 1, 0] = (given[i, 0] ^ right[i, 0]) & keep
        out[2 * i + 1, 1] = given[i, 1] ^ right[i, 1]


@compiled
def _total(nodes: Words, start: int, step: int, out: Words) -> None:
    for tree in range(len(nodes)):
        first = second = np.uint64(0)
        for i in range(start, nodes.shape[1], step):
            first ^= nodes[tree, i, 0]
            second ^= nodes[tree, i, 1]
        out[tree, 0], out[tree, 1] = first, second


@compiled
def _complete(nodes: Words, side: NDArray[np.int64], known: Holes, totals: Words) -> None:
    """The node beside the path: what the others on its side lack of the total."""
    for tree in range(len(nodes)):
        first, second = totals[tree, 0], totals[tree, 1]
        for i in range(side[tree], nodes.shape[1], 2):
            first ^= nodes[tree, i, 0]
            second ^= nodes[tree, i, 1]
        nodes[tree, known[tree], 0] = first
        nodes[tree, known[tree], 1] = second

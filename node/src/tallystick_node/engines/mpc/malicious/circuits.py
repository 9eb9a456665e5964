"""Adding three numbers whose bits are known to two parties each, with conjunctions that are checked.

Words lie in planes: plane j holds bit j of 64 elements a word, so that a shift is a slice and a level of a prefix tree is a few
rows. x_0 + x_1 + x_2 becomes two numbers by one layer of full adders (carry save); then carries are joined pairwise (Brent and
Kung, 1982) for the top bit alone: 241 conjunctions of bits an element, 8 rounds. All sum bits take a prefix tree (Sklansky,
1960): 63 + 63 + 314 conjunctions at most, 8 rounds."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.malicious.conjunctions import Conjunctions
from tallystick_node.engines.mpc.ring import BITS, Ring

Pair = tuple[Ring, Ring]  # the two parts of shared words


def planes(words: Ring) -> Ring:
    """(64, words / 64, rounded up) from a vector: bit e of word w of plane j is bit j of element 64 w + e."""
    out = np.empty((BITS, -(-words.size // BITS)), np.uint64)
    full = words.size // BITS * BITS
    _transpose(words[:full], out[:, : full // BITS])
    if full < words.size:
        rest = np.zeros(BITS, np.uint64)
        rest[: words.size - full] = words[full:]
        _transpose(rest, out[:, full // BITS :])
    return out


def words(given: Ring, count: int) -> Ring:
    """The vector of ``count`` elements whose planes these are."""
    out = np.empty(given.shape[1] * BITS, np.uint64)
    _transpose_back(given, out)
    return out[:count]


def xor(a: Pair, b: Pair) -> Pair:
    """Bit by bit, without a message."""
    return a[0] ^ b[0], a[1] ^ b[1]


def majority(gates: Conjunctions, a: Pair, b: Pair, c: Pair) -> Pair:
    """The carry of a full adder, by one conjunction."""
    return xor(gates.multiply(xor(a, c), xor(b, c)), c)


def top(gates: Conjunctions, a: Pair, b: Pair, c: Pair) -> Pair:
    """Bit 63 of a + b + c, as words of 64 elements."""
    total, carries = xor(xor(a, b), c), majority(gates, *(_rows(each, 0, BITS - 1) for each in (a, b, c)))
    # places 1 to 62 of total and of the carries moved up by one; nothing comes out of place 0
    left, right = _rows(total, 1, BITS - 1), _rows(carries, 0, BITS - 2)
    generate, propagate = gates.multiply(left, right), xor(left, right)
    while generate[0].shape[0] > 1:
        generate, propagate = _joined(gates, generate, propagate)
    sign = xor(xor(_rows(total, BITS - 1, BITS), _rows(carries, BITS - 2, BITS - 1)), generate)
    return sign[0][0], sign[1][0]


def add(gates: Conjunctions, a: Pair, b: Pair, c: Pair) -> Pair:
    """The 64 sum bits of a + b + c, as planes."""
    total, carries = xor(xor(a, b), c), majority(gates, *(_rows(each, 0, BITS - 1) for each in (a, b, c)))
    left, right = _rows(total, 1, BITS - 1), _rows(carries, 0, BITS - 2)
    generate, propagate = gates.multiply(left, right), xor(left, right)
    reach = 1
    while reach < BITS - 2:
        generate, propagate = _prefixed(gates, generate, propagate, reach)
        reach *= 2
    parts = []
    for sums, moved, carried in zip(total, carries, generate, strict=True):
        out = sums.copy()
        out[1:] ^= moved
        out[2:] ^= carried
        parts.append(out)
    return parts[0], parts[1]


def _rows(pair: Pair, start: int, stop: int) -> Pair:
    return pair[0][start:stop], pair[1][start:stop]


def _joined(gates: Conjunctions, generate: Pair, propagate: Pair) -> tuple[Pair, Pair]:
    """Neighbours joined: the lowest pair needs no propagate, for nothing comes in below."""
    count = generate[0].shape[0]
    even = count // 2 * 2
    high, low = slice(1, even, 2), slice(0, even, 2)
    needed = slice(3, even, 2), slice(2, even, 2)  # the pairs whose propagate is asked for
    left = tuple(np.concatenate([p[high], p[needed[0]]]) for p in propagate)
    right = tuple(np.concatenate([g[low], p[needed[1]]]) for g, p in zip(generate, propagate, strict=True))
    both = gates.multiply((left[0], left[1]), (right[0], right[1]))
    pairs = count // 2
    generates, propagates = [], []
    for part, g, p in zip(both, generate, propagate, strict=True):
        generates.append(np.concatenate([g[high] ^ part[:pairs], g[even:]]))
        propagates.append(np.concatenate([p[:1], part[pairs:], p[even:]]))
    return (generates[0], generates[1]), (propagates[0], propagates[1])


def _prefixed(gates: Conjunctions, generate: Pair, propagate: Pair, reach: int) -> tuple[Pair, Pair]:
    """Every place whose bit ``reach`` is set takes in the block below it."""
    places = np.arange(generate[0].shape[0])
    upper = places[(places & reach) != 0]
    lower = upper // reach * reach - 1
    wanted = upper >= 2 * reach  # below, the carry is final
    left = tuple(np.concatenate([p[upper], p[upper[wanted]]]) for p in propagate)
    right = tuple(np.concatenate([g[lower], p[lower[wanted]]]) for g, p in zip(generate, propagate, strict=True))
    both = gates.multiply((left[0], left[1]), (right[0], right[1]))
    generates, propagates = [], []
    for part, g, p in zip(both, generate, propagate, strict=True):
        g, p = g.copy(), p.copy()
        g[upper] ^= part[: len(upper)]
        p[upper[wanted]] = part[len(upper) :]
        generates.append(g)
        propagates.append(p)
    return (generates[0], generates[1]), (propagates[0], propagates[1])


@compiled
def _turn(block: Ring) -> None:
    """The transpose of a 64 by 64 matrix of bits, in place (Warren, Hacker's Delight, section 7-3)."""
    distance = 32
    mask = np.uint64(0xFFFFFFFF)
    while distance:
        shift = np.uint64(distance)
        for start in range(0, 64, 2 * distance):
            for k in range(start, start + distance):
                swap = ((block[k] >> shift) ^ block[k + distance]) & mask
                block[k] ^= swap << shift
                block[k + distance] ^= swap
        distance >>= 1
        mask ^= mask << np.uint64(distance)


@compiled
def _transpose(given: Ring, out: Ring) -> None:
    block = np.empty(64, np.uint64)
    for word in range(out.shape[1]):
        for k in range(64):
            block[k] = given[64 * word + k]
        _turn(block)
        for k in range(64):
            out[k, word] = block[k]


@compiled
def _transpose_back(given: Ring, out: Ring) -> None:
    block = np.empty(64, np.uint64)
    for word in range(given.shape[1]):
        for k in range(64):
            block[k] = given[k, word]
        _turn(block)
        for k in range(64):
            out[64 * word + k] = block[k]

"""Adding three numbers whose bits are known to two parties each, with conjunctions that are checked.

Words lie in planes: plane j holds bit j of 64 elements a word, so that a shift is a slice and a level of a tree is a few rows.
x_0 + x_1 + x_2 becomes two numbers a and b by one layer of full adders (carry save). With p = a ^ b the carry out of a place is c
where p, and a where not p; so places need no conjunction of their own, and two neighbours join to P = p' p and A = a' ^ p' (a ^
a'). Only the lowest place generates: nothing comes in below, and what joins to it is the carry itself, by one conjunction.

The top bit alone takes 181 conjunctions of bits an element in 7 rounds (the tree of Brent and Kung, 1982), all bits take 63 + 1 +
315 at most in 8 rounds (Sklansky, 1960). :func:`interval`'s three bits take 225 for numbers of 53
bits, in 14 rounds."""

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
    _, left, right = _saved(gates, a, b, c)
    propagate = xor(left, right)
    lowest = _row(left, 0), _row(right, 0)  # nothing comes out of place 0, and their conjunction out of place 1
    carry, _ = _carried(gates, lowest, None, _rows(left, 1, -1), _rows(propagate, 1, -1), _rows(left, 0, 0))
    sign = xor(_row(propagate, -1), carry)
    return sign[0][0], sign[1][0]


def interval(gates: Conjunctions, a: Pair, b: Pair, c: Pair, place: int) -> tuple[Pair, Pair, Pair]:
    """Of t = a + b + c, as planes of as many bits as are given: whether t < 0, whether 0 <= t < 2^(place + 1), and whether
    0 <= t < 2^place; as words of 64 elements. For a place from 3 to that before the last but one.

    That the bits of a sum from a place on are zero needs no carry but the one that comes in there, c: then the lowest place has p =
    c, and each other has p equal to a | b of the place below."""
    _, left, right = _saved(gates, a, b, c)
    propagate = xor(left, right)  # row i belongs to place i + 1
    made = gates.multiply(_stacked(_row(left, 0), _rows(left, place, -1)), _stacked(_row(right, 0), _rows(right, place, -1)))
    below = xor(_rows(made, 1, None), _rows(propagate, place, -1))  # a | b of the places that have one above
    equal = _inverted(gates, xor(_rows(propagate, place + 1, None), below))
    carry, equal = _passed(gates, _row(made, 0), _rows(left, 1, place - 1), _rows(propagate, 1, place - 1), equal)
    bit = xor(_row(propagate, place - 1), carry)
    # the next carry is `carry` where p is set, and a where it is not
    carry = xor(gates.multiply(_row(propagate, place - 1), xor(_row(left, place - 1), carry)), _row(left, place - 1))
    equal = _stacked(equal, _inverted(gates, xor(_row(propagate, place), carry)))
    carry, equal = _passed(gates, carry, _rows(left, place, -1), _rows(propagate, place, -1), equal)
    while equal[0].shape[0] > 1:
        equal = _halved(equal, gates.multiply(_every(equal, slice(0, -1, 2)), _every(equal, slice(1, None, 2))))
    upper = gates.multiply(equal, bit)
    sign, inside, lower = xor(_row(propagate, -1), carry), equal, xor(equal, upper)
    return (sign[0][0], sign[1][0]), (inside[0][0], inside[1][0]), (lower[0][0], lower[1][0])


def add(gates: Conjunctions, a: Pair, b: Pair, c: Pair) -> Pair:
    """The 64 sum bits of a + b + c, as planes."""
    total, left, carries = _saved(gates, a, b, c)
    right = _rows(carries, 0, -1)
    left = _rows(left, 0, -1)
    lowest = gates.multiply(_row(left, 0), _row(right, 0))
    outgoing, propagate = _stacked(lowest, _rows(left, 1, None)), xor(left, right)
    reach = 1
    while reach < BITS - 2:
        outgoing, propagate = _prefixed(gates, outgoing, propagate, reach)
        reach *= 2
    parts = []
    for sums, moved, carried in zip(total, carries, outgoing, strict=True):
        out = sums.copy()
        out[1:] ^= moved
        out[2:] ^= carried
        parts.append(out)
    return parts[0], parts[1]


def _saved(gates: Conjunctions, a: Pair, b: Pair, c: Pair) -> tuple[Pair, Pair, Pair]:
    """a + b + c as two numbers, by one layer of full adders: the sum without carries, its places from 1 on, and the carries that
    belong to them. In place 0 nothing is added."""
    total, carries = xor(xor(a, b), c), majority(gates, *(_rows(each, 0, -1) for each in (a, b, c)))
    return total, _rows(total, 1, None), carries


def _rows(pair: Pair, start: int, stop: int | None) -> Pair:
    return pair[0][start:stop], pair[1][start:stop]


def _row(pair: Pair, place: int) -> Pair:
    return _rows(pair, place, place + 1 or None)


def _stacked(*pairs: Pair) -> Pair:
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def _every(pair: Pair, rows: slice) -> Pair:
    return pair[0][rows], pair[1][rows]


def _inverted(gates: Conjunctions, pair: Pair) -> Pair:
    ones = gates.constant()
    return pair[0] ^ ones[0], pair[1] ^ ones[1]


def _halved(pair: Pair, made: Pair) -> Pair:
    """``made`` of the neighbours, and the row without one."""
    return _stacked(made, _every(pair, slice(2 * made[0].shape[0], None)))


def _carried(
    gates: Conjunctions, lowest: tuple[Pair, Pair], change: Pair | None, outgoing: Pair, propagate: Pair, others: Pair
) -> tuple[Pair, Pair]:
    """The carry out of the highest place. At each level ``lowest`` is conjoined, and XORed with ``change``, to the carry out of the
    lowest block; the blocks above are joined to their neighbours, and one without stays as it is. In the same rounds ``others``
    become fewer rows with the same conjunction of all."""
    while True:
        even, fewer = outgoing[0].shape[0] // 2 * 2, others[0].shape[0] // 2 * 2
        low, high = slice(0, even, 2), slice(1, even, 2)
        p, a = _every(propagate, high), _every(outgoing, high)
        left = _stacked(lowest[0], p, p, _every(others, slice(0, fewer, 2)))
        right = _stacked(lowest[1], xor(a, _every(outgoing, low)), _every(propagate, low), _every(others, slice(1, fewer, 2)))
        made, pairs = gates.multiply(left, right), even // 2
        carry = _row(made, 0) if change is None else xor(_row(made, 0), change)
        outgoing = _halved(outgoing, xor(_rows(made, 1, 1 + pairs), a))
        propagate = _halved(propagate, _rows(made, 1 + pairs, 1 + 2 * pairs))
        others = _halved(others, _rows(made, 1 + 2 * pairs, None))
        if not outgoing[0].shape[0]:
            return carry, others
        change = _row(outgoing, 0)
        lowest = xor(carry, change), _row(propagate, 0)
        outgoing, propagate = _rows(outgoing, 1, None), _rows(propagate, 1, None)


def _passed(gates: Conjunctions, carry: Pair, outgoing: Pair, propagate: Pair, others: Pair) -> tuple[Pair, Pair]:
    """Like :func:`_carried`, for a carry that comes in below."""
    change = _row(outgoing, 0)
    lowest = xor(carry, change), _row(propagate, 0)
    return _carried(gates, lowest, change, _rows(outgoing, 1, None), _rows(propagate, 1, None), others)


def _prefixed(gates: Conjunctions, outgoing: Pair, propagate: Pair, reach: int) -> tuple[Pair, Pair]:
    """Every place whose bit ``reach`` is set takes in the block below it."""
    places = np.arange(outgoing[0].shape[0])
    upper = places[(places & reach) != 0]
    lower = upper // reach * reach - 1
    wanted = upper >= 2 * reach  # below, the carry is final
    left = tuple(np.concatenate([p[upper], p[upper[wanted]]]) for p in propagate)
    right = tuple(np.concatenate([a[upper] ^ a[lower], p[lower[wanted]]]) for a, p in zip(outgoing, propagate, strict=True))
    made = gates.multiply((left[0], left[1]), (right[0], right[1]))
    results, propagates = [], []
    for part, a, p in zip(made, outgoing, propagate, strict=True):
        result, passed = a.copy(), p.copy()
        result[upper] ^= part[: len(upper)]
        passed[upper[wanted]] = part[len(upper) :]
        results.append(result)
        propagates.append(passed)
    return (results[0], results[1]), (propagates[0], propagates[1])


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

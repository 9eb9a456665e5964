"""Truncation, and ways between arithmetic and Boolean sharing, out of conjunctions and checked random bits.

Each part x_j of x = x_0 + x_1 + x_2 is known to two parties, so its bits are shared by XOR without a message, and nobody could
share others. (That one party knows x_0 + x_1 makes honest parties faster, but what it shares of that sum no product check can
confirm.)

Truncation by m bits of u = x + 2^62 < 2^63: the integers u_j add up to u + 2^64 w, and only the wraps w in {0, 1, 2} are missing
locally. Let h_j and l_j be bits 63 and 62 of u_j, and k the majority of l_0, l_1, l_2. For u < 2^63 the sum of the numbers 2 h_j
+ l_j lies in [4 w - 2, 4 w + 1], so that w = floor((h_0 + h_1 + h_2 + k + 1) / 2), and 2 w = h_0 + h_1 + h_2 + k + (h_0 ^ h_1 ^
h_2 ^ k). One conjunction of bits makes k; k and the parity become arithmetic by a random bit each, modulo 2^32, for w 2^(64-m) is
needed modulo 2^64 only. The carry out of the low bits is 0, 1 or 2: with one added, the error is -1, 0 or 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.malicious import circuits
from tallystick_node.engines.mpc.malicious.agreement import Agreement
from tallystick_node.engines.mpc.malicious.bits import Bits, RandomBits, arithmetic
from tallystick_node.engines.mpc.malicious.circuits import Pair, words, xor
from tallystick_node.engines.mpc.malicious.conjunctions import Conjunctions
from tallystick_node.engines.mpc.protocol import Binary, Words
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

_OFFSET = np.uint64(1 << 62)
_PLACES = 1 << 18  # elements whose planes are worked on at a time


class Conversions:
    """What one party converts, with the gates and random bits of its protocol."""

    def __init__(self, seat: Seat, agreement: Agreement, gates: Conjunctions, random: RandomBits) -> None:
        self._seat = seat
        self._agreement = agreement
        self._gates = gates
        self._random = random

    def truncate(self, secret: Pair, bits: int) -> Pair:
        """Shifted right by 1 to 31 bits; three rounds and the making of two random bits an element."""
        if not 1 <= bits <= 31:
            raise ValueError("secrets are shifted by 1 to 31 bits")
        seat, shape = self._seat, secret[0].shape
        parts = [np.ascontiguousarray(part).reshape(-1) for part in secret]
        count = parts[0].size
        if not count:
            return secret
        held = (seat.index, (seat.index + 1) % 3)
        parts = [part + _OFFSET if number == 0 else part for part, number in zip(parts, held, strict=True)]
        tops = [packed(part, 63) for part in parts]
        seconds = [packed(part, 62) for part in parts]
        lows = [_held(seconds, seat.index, number) for number in range(3)]
        middle = circuits.majority(self._gates, lows[0], lows[1], lows[2])
        parity = xor((tops[0], tops[1]), middle)
        flags = tuple(np.concatenate([unpacked(m, count), unpacked(p, count)]) for m, p in zip(middle, parity, strict=True))
        flagged = arithmetic(seat, self._agreement, self._random.take(2 * count, np.uint32), (flags[0], flags[1]))
        out = []
        for part, flag, number in zip(parts, flagged, held, strict=True):
            result = np.empty(count, np.uint64)
            constant = np.uint64((1 - (1 << (62 - bits))) % 2**64 if number == 0 else 0)
            _shifted(part, flag[:count], flag[count:], np.uint64(bits), constant, result)
            out.append(result.reshape(shape))
        return out[0], out[1]

    def conjunction(self, left: Binary, right: Binary) -> Binary:
        """Bit by bit, of words of one width: bits are packed, others fill words of 64 bits as they lie in memory."""
        width, shape, kind = left.width, left.shape, left.parts[0].dtype
        x, y = ([self._filled(part, width) for part in each.parts] for each in (left, right))
        parts = []
        for made in self._gates.multiply((x[0], x[1]), (y[0], y[1])):
            if width == 1:
                parts.append(unpacked(made, left.size).reshape(shape))
            else:
                parts.append((made.view(kind)[: left.size] & kind.type((1 << width) - 1)).reshape(shape))
        return Binary((parts[0], parts[1]), width)

    def _filled(self, part: Words, width: int) -> Ring:
        """Words of any width as words of 64 bits."""
        flat = np.ascontiguousarray(part).reshape(-1)
        given = np.packbits(flat, bitorder="little") if width == 1 else flat.view(np.uint8)
        return np.concatenate([given, np.zeros(-given.size % 8, np.uint8)]).view(np.uint64)

    def to_arithmetic(self, bits: tuple[Bits, Bits]) -> Pair:
        """Bits (uint8) as ring elements: one round and the making of a random bit each."""
        shape = bits[0].shape
        first, second = (np.ascontiguousarray(part).reshape(-1) for part in bits)
        if not first.size:
            return np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
        made = arithmetic(self._seat, self._agreement, self._random.take(first.size, np.uint64), (first, second))
        return made[0].reshape(shape), made[1].reshape(shape)

    def negative(self, secret: Pair) -> tuple[Bits, Bits]:
        """The top bits (uint8)."""
        shape = secret[0].shape
        out = [np.empty(secret[0].size, np.uint8) for _ in secret]
        for place, parts in self._pieces(secret):
            signs = circuits.top(self._gates, *self._shared(parts))
            for part, sign in zip(out, signs, strict=True):
                part[place] = unpacked(sign, place.stop - place.start)
        return out[0].reshape(shape), out[1].reshape(shape)

    def interval(self, secret: Pair, place: int) -> list[tuple[Bits, Bits]]:
        """Bits (uint8): whether x < -2^place, whether -2^place <= x < 2^place, whether -2^place <= x < 0; of secrets below 2^62.

        Limits are met to 3 / 1024 of 2^place, since low bits are cut from each part, and exactly where ``place`` is below 11."""
        shape, cut = secret[0].shape, max(0, place - 10)
        out = [(np.empty(secret[0].size, np.uint8), np.empty(secret[0].size, np.uint8)) for _ in range(3)]
        moved = [np.uint64(1 << place) if self._seat.index == holder else np.uint64(0) for holder in (0, 2)]
        for at, parts in self._pieces(secret):
            zeroth, middle, last = (
                (pair[0][cut:], pair[1][cut:]) for pair in self._shared((parts[0] + moved[0], parts[1] + moved[1]))
            )
            for bits, found in zip(out, circuits.interval(self._gates, zeroth, middle, last, place - cut), strict=True):
                for part, word in zip(bits, found, strict=True):
                    part[at] = unpacked(word, at.stop - at.start)
        return [(first.reshape(shape), second.reshape(shape)) for first, second in out]

    def decompose(self, secret: Pair) -> Pair:
        """All bits, as words."""
        shape = secret[0].shape
        out = [np.empty(secret[0].size, np.uint64) for _ in secret]
        for place, parts in self._pieces(secret):
            sums = circuits.add(self._gates, *self._shared(parts))
            for part, total in zip(out, sums, strict=True):
                part[place] = words(total, place.stop - place.start)
        return out[0].reshape(shape), out[1].reshape(shape)

    def compose(self, given: Binary) -> Pair:
        """Words as ring elements x: y_0 and y_1 are drawn, and y_2 = x - y_0 - y_1, computed on bits, is opened to parties 1 and
        2. Each bit of y_2 is masked by one of y_0 that party 1 does not know, and by one of y_1 that party 2 does not know,
        whatever carries in."""
        seat, shape, count = self._seat, given.shape, given.size
        first, second = (np.ascontiguousarray(part).reshape(-1).astype(np.uint64) for part in given.parts)
        drawn = [stream.elements((count,)) for stream in (seat.prss.own, seat.prss.after)]
        for place, parts in self._pieces((first, second)):
            minus = [circuits.planes(np.uint64(0) - each[place]) for each in drawn]
            masks = [_held(minus, seat.index, part) for part in (0, 1)]
            word = circuits.planes(parts[0]), circuits.planes(parts[1])
            sums = [words(part, place.stop - place.start) for part in circuits.add(self._gates, word, masks[0], masks[1])]
            third = self._agreement.reveal(sums[0], sums[1], (1, 2))
            if third is not None:
                drawn[0 if seat.index == 2 else 1][place] = sums[0] ^ sums[1] ^ third
        return drawn[0].reshape(shape), drawn[1].reshape(shape)

    def _pieces(self, secret: Pair) -> Iterator[tuple[slice, Pair]]:
        """Slices of the elements, and their parts as vectors."""
        first, second = (np.ascontiguousarray(part).reshape(-1) for part in secret)
        for start in range(0, first.size, _PLACES):
            place = slice(start, min(start + _PLACES, first.size))
            yield place, (first[place], second[place])

    def _shared(self, parts: Pair) -> tuple[Pair, Pair, Pair]:
        """The bits of x_0, x_1 and x_2, in planes, each shared."""
        first, second = circuits.planes(parts[0]), circuits.planes(parts[1])
        zeroth, middle, last = (_held([first, second], self._seat.index, part) for part in range(3))
        return zeroth, middle, last


def _held(given: list[Ring], index: int, part: int) -> Pair:
    """A sharing of words known to the holders of ``part``, of which ``given`` are this party's two."""
    nothing = np.zeros_like(given[0])
    return (given[0] if index == part else nothing), (given[1] if (index + 1) % 3 == part else nothing)


def packed(part: Ring, place: int) -> Ring:
    """Bit ``place`` of every element, 64 to a word."""
    out = np.zeros(-(-part.size // 64), np.uint64)
    _pack(part, np.uint64(place), out)
    return out


def unpacked(given: Ring, count: int) -> Bits:
    """The bits of words, one to a byte."""
    return np.unpackbits(given.view(np.uint8), count=count, bitorder="little")


@compiled
def _pack(part: Ring, place: np.uint64, out: Ring) -> None:
    one = np.uint64(1)
    for word in range(out.size):
        start = 64 * word
        total = np.uint64(0)
        for k in range(min(64, part.size - start)):
            total |= ((part[start + k] >> place) & one) << np.uint64(k)
        out[word] = total


@compiled
def _shifted(
    part: Ring, middle: NDArray[np.uint32], parity: NDArray[np.uint32], bits: np.uint64, constant: np.uint64, out: Ring
) -> None:
    lift = np.uint64(63) - bits
    for i in range(out.size):
        wraps = (part[i] >> np.uint64(63)) + np.uint64(middle[i]) + np.uint64(parity[i])
        out[i] = (part[i] >> bits) - (wraps << lift) + constant

"""Comparison of two parties' private numbers, digit by digit, by 1-of-16 transfers (Rathee et al., "CrypTFlow2", CCS 2020, section
3), which cost next to nothing but their tables (as in Huang et al., "Cheetah", USENIX Security 2022, section 4).

One party has a, the other b, both below 2^63. For each digit of four bits the party of a makes a table of what every digit of the
other would give: whether a's digit is larger, and whether both are equal, each XORed with a random bit that it keeps. The party of
b gets the entry of its digit. A transfer is one silent correlation over GF(2^4) (:mod:`tallystick_node.engines.ot.silent.supply`):
q at the one, q + u delta and u at the other. The party of b tells its digit less u; so the entry for digit v is padded by a hash of
q + (v + digit + u) delta, and the other knows the pads of its own digit alone. The pads of digit 0 make the random bits, and
nothing is sent for it.

All is done on planes of bits, 64 numbers in a word. For each number 16 correlations, 8 bytes from the party of b, and from the
other 56: 2 bits for 15 entries of each digit, but for 7 of the highest, whose fourth bit is 0, and 1 bit in the lowest, which need
not tell what is equal. The result is shared by XOR, one bit of each for a digit.
"""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.beaver import planes
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.ot.silent.pads import Pads, lowest_bits
from tallystick_node.engines.ot.silent.supply import SupplyReceiver, SupplySender

DIGITS = 16
STEP = "digits"

_WIDTH = 4  # bits of a digit
_VALUES = 1 << _WIDTH
_TOGETHER = 1 << 20  # correlations at a time


def offer(session: Session, peer: int, supply: SupplySender, pads: Pads, a: Ring) -> tuple[Ring, Ring]:
    """The part, of the party of ``a``, of whether each digit of a is larger and whether it is equal: planes of shape (16, w),
    lowest digit first."""
    own = planes.of_numbers(a)
    words = own.shape[1]
    out = np.zeros((2, DIGITS, words), np.uint64)
    supply.expect(64 * words * DIGITS)
    for start, stop in _groups(words):
        blocks = supply.take(64 * words * (stop - start)).reshape(stop - start, -1, 2)
        session.channels[peer].mark(STEP)
        told = receive_array(session, peer, (stop - start, _WIDTH, words), STEP)
        for digit in range(start, stop):
            table = pads(blocks[digit - start], supply.multiples)
            _tabulate(own[_WIDTH * digit : _WIDTH * (digit + 1)], told[digit - start], table)
            out[:, digit] = table[0]
            send_array(session, peer, table[_sent(digit)])
    out[1, 0] = 0
    return out[0], out[1]


def choose(session: Session, peer: int, supply: SupplyReceiver, pads: Pads, b: Ring) -> tuple[Ring, Ring]:
    """The part of the party of ``b``."""
    own = planes.of_numbers(b)
    words = own.shape[1]
    out = np.zeros((2, DIGITS, words), np.uint64)
    supply.expect(64 * words * DIGITS)
    for start, stop in _groups(words):
        blocks = supply.take(64 * words * (stop - start)).reshape(stop - start, -1, 2)
        session.channels[peer].mark(STEP)
        mine = own[_WIDTH * start : _WIDTH * stop].reshape(stop - start, _WIDTH, words)
        told = np.stack([lowest_bits(each, _WIDTH) for each in blocks])
        told ^= mine
        send_array(session, peer, told)
        for digit in range(start, stop):
            part = _sent(digit)
            size = len(range(*part[0].indices(_VALUES))), len(range(*part[1].indices(2))), words
            entries = receive_array(session, peer, size, STEP)
            found = pads(blocks[digit - start])[0]
            _choose(mine[digit - start], entries, found)
            out[: size[1], digit] = found[: size[1]]
    return out[0], out[1]


def _sent(digit: int) -> tuple[slice, slice]:
    """The entries, and of both bits those, that are sent for a digit."""
    return slice(1, _VALUES if digit < DIGITS - 1 else _VALUES // 2), slice(0, 1 if digit == 0 else 2)


def _groups(words: int) -> list[tuple[int, int]]:
    """Digits that are transferred together."""
    size = max(1, min(DIGITS, _TOGETHER // (64 * words))) if words else DIGITS
    return [(start, min(start + size, DIGITS)) for start in range(0, DIGITS, size)]


@compiled
def _tabulate(digit: Ring, told: Ring, table: Ring) -> None:
    """Of pads for every u: entries for every digit of the other, XORed with entry 0, which stays; 64 numbers at once."""
    for word in range(table.shape[2]):
        for bit in range(4):
            swap = told[bit, word]
            for low in range(16):
                if low >> bit & 1 == 0:
                    for kind in range(2):
                        moved = (table[low, kind, word] ^ table[low | 1 << bit, kind, word]) & swap
                        table[low, kind, word] ^= moved
                        table[low | 1 << bit, kind, word] ^= moved
        larger, none = np.uint64(0), ~np.uint64(0)
        for value in range(15, -1, -1):  # larger: whether the digit is above the value
            equal = none
            for bit in range(4):
                plane = digit[bit, word]
                equal &= plane if value >> bit & 1 else ~plane
            table[value, 0, word] ^= larger
            table[value, 1, word] ^= equal
            larger |= equal
        for value in range(1, 16):
            table[value, 0, word] ^= table[0, 0, word]
            table[value, 1, word] ^= table[0, 1, word]


@compiled
def _choose(digit: Ring, entries: Ring, out: Ring) -> None:
    """The entry of every number's digit, onto the pads in ``out``: none for digit 0, and entries from digit 1 on."""
    for word in range(out.shape[1]):
        for value in range(1, len(entries) + 1):
            equal = ~np.uint64(0)
            for bit in range(4):
                plane = digit[bit, word]
                equal &= plane if value >> bit & 1 else ~plane
            for kind in range(entries.shape[1]):
                out[kind, word] ^= entries[value - 1, kind, word] & equal

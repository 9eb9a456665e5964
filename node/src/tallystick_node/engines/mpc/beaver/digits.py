"""Comparison of two parties' private numbers, digit by digit, by 1-of-16 transfers (Rathee et al., "CrypTFlow2", CCS 2020, section
3).

One party has a, the other b, both of 64 bits. For each digit of four bits the party of a makes a table of what every digit of the
other would give: whether a's digit is larger, and whether both are equal, each XORed with a random bit that it keeps. The party of
b gets the entry of its digit. Table and masks are made from four random 1-of-2 transfers, one for each bit of b's digit (Naor and
Pinkas, STOC 1999): entry v is masked by the XOR of the four strings that v's bits choose. Of every string 32 bits are used, two for
each of the 16 entries, so no two masks have a bit in common that a wrong entry would need.

For each number 64 transfers and 64 bytes; the result is shared by XOR as planes, one bit of each for a digit.
"""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.beaver import planes
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.ot.extension import OtReceiver, OtSender

DIGITS = 16
STEP = "digits"

_WIDTH = 4  # bits of a digit
_TOGETHER = 1 << 20  # transfers at a time
_LARGER = np.uint32(0x55555555)  # the bits of a table that say so; the others say equal
# Bit j of an entry's number: the mask of the entries where it is 1.
_ENTRIES = np.array([0xCCCCCCCC, 0xF0F0F0F0, 0xFF00FF00, 0xFFFF0000], np.uint32)


def offer(session: Session, peer: int, transfers: OtSender, a: Ring) -> tuple[Ring, Ring]:
    """The part, of the party of ``a``, of whether each digit of a is larger and whether it is equal: planes of shape (16, w),
    lowest digit first."""
    count = 64 * -(-a.size // 64)
    numbers = np.zeros(count, np.uint64)
    numbers[: a.size] = a
    stream = Stream(secrets.token_bytes(SEED))
    larger, equal = stream.elements((DIGITS, count // 64)), stream.elements((DIGITS, count // 64))
    for start, stop in _groups(count):
        zeros, ones = transfers.random((stop - start) * _WIDTH * count, 1)
        tables = np.empty((stop - start, count), np.uint32)
        for digit in range(start, stop):
            used = slice((digit - start) * _WIDTH * count, (digit - start + 1) * _WIDTH * count)
            masks = planes.to_bits(larger[digit], count), planes.to_bits(equal[digit], count)
            _tables(numbers, np.uint64(_WIDTH * digit), *masks, zeros[used], ones[used], _ENTRIES, tables[digit - start])
        session.channels[peer].mark(STEP)
        send_array(session, peer, tables)
    return larger, equal


def choose(session: Session, peer: int, transfers: OtReceiver, b: Ring) -> tuple[Ring, Ring]:
    """The part of the party of ``b``."""
    count = 64 * -(-b.size // 64)
    places = planes.of_numbers(b)
    larger, equal = np.empty((DIGITS, count // 64), np.uint64), np.empty((DIGITS, count // 64), np.uint64)
    for start, stop in _groups(count):
        choices = np.stack([planes.to_bits(places[place], count) for place in range(_WIDTH * start, _WIDTH * stop)])
        strings = transfers.random(choices.reshape(-1), 1).reshape(stop - start, _WIDTH * count, 1)
        session.channels[peer].mark(STEP)
        tables = receive_array(session, peer, (stop - start, count), STEP, np.uint32)
        for digit in range(start, stop):
            entries = np.empty((2, count), np.uint8)
            chosen = choices[_WIDTH * (digit - start) : _WIDTH * (digit - start + 1)]
            _entries(tables[digit - start], chosen, strings[digit - start], entries)
            larger[digit], equal[digit] = planes.of_bits(entries[0]), planes.of_bits(entries[1])
    return larger, equal


def _groups(count: int) -> list[tuple[int, int]]:
    """Digits that are transferred together."""
    size = max(1, min(DIGITS, _TOGETHER // (_WIDTH * count))) if count else DIGITS
    return [(start, min(start + size, DIGITS)) for start in range(0, DIGITS, size)]


@compiled
def _tables(
    numbers: Ring,
    place: np.uint64,
    larger: NDArray[np.uint8],
    equal: NDArray[np.uint8],
    zeros: Ring,
    ones: Ring,
    entries: NDArray[np.uint32],
    out: NDArray[np.uint32],
) -> None:
    count = len(numbers)
    low = np.uint32(_LARGER)
    for i in range(count):
        double = np.uint64(2) * ((numbers[i] >> place) & np.uint64(15))
        bit = np.uint64(1) << double
        table = (bit - np.uint64(1)) & np.uint64(low) | bit << np.uint64(1)
        table ^= (np.uint64(0) - np.uint64(larger[i])) & np.uint64(low)
        table ^= (np.uint64(0) - np.uint64(equal[i])) & ~np.uint64(low)
        for j in range(4):
            chosen = np.uint64(entries[j])
            table ^= (ones[j * count + i, 0] & chosen) ^ (zeros[j * count + i, 0] & ~chosen)
        out[i] = np.uint32(table)


@compiled
def _entries(tables: NDArray[np.uint32], choices: NDArray[np.uint8], strings: Ring, out: NDArray[np.uint8]) -> None:
    count = len(tables)
    for i in range(count):
        table = np.uint64(tables[i])
        digit = np.uint64(0)
        for j in range(4):
            table ^= strings[j * count + i, 0]
            digit |= np.uint64(choices[j, i]) << np.uint64(j)
        entry = table >> (np.uint64(2) * digit)
        out[0, i] = np.uint8(entry & np.uint64(1))
        out[1, i] = np.uint8((entry >> np.uint64(1)) & np.uint64(1))

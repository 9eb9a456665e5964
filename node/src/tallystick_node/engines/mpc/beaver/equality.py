"""Whether two parties' private numbers agree in each digit of four bits, by 1-of-16 transfers like those of :mod:`digits`.

The party of a makes a table for each digit of what every digit of the other gives: whether it is the same, XORed with a random bit
that it keeps. The other gets the entry of its digit. For each digit of a number one silent correlation over GF(2^4), 4 bits from
the party of b and 15 from the other. The result is shared by XOR. Four bits compared by ANDs instead would take six correlations.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.prss import blocks
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.ot.silent.pads import Pads, lowest_bits
from tallystick_node.engines.ot.silent.supply import SupplyReceiver, SupplySender

WIDTH = 4  # bits of a digit
STEP = "equality"

_VALUES = 1 << WIDTH
_TOGETHER = 1 << 20  # correlations at a time


def offer(session: Session, peer: int, supply: SupplySender, pads: Pads, a: Ring) -> Ring:
    """The part, of the party of ``a``, of whether digits are the same: planes of shape (d, w), of a's of shape (4 d, w)."""
    out = np.empty((len(a) // WIDTH, a.shape[1]), np.uint64)
    supply.expect(64 * out.size)
    for some in _groups(out):
        correlations = supply.take(64 * out[some].size).reshape(len(out[some]), -1, 2)
        session.channels[peer].mark(STEP)
        told = receive_array(session, peer, (len(correlations), WIDTH, out.shape[1]), STEP)
        for digit, theirs, each in zip(range(some.start, some.stop), told, correlations, strict=True):
            table = np.ascontiguousarray(pads(each, supply.multiples)[:, 0])
            _tabulate(a[WIDTH * digit : WIDTH * (digit + 1)], theirs, table)
            out[digit] = table[0]
            send_array(session, peer, table[1:])
    return out


def choose(session: Session, peer: int, supply: SupplyReceiver, pads: Pads, b: Ring) -> Ring:
    """The part of the party of ``b``."""
    out = np.empty((len(b) // WIDTH, b.shape[1]), np.uint64)
    supply.expect(64 * out.size)
    for some in _groups(out):
        correlations = supply.take(64 * out[some].size).reshape(len(out[some]), -1, 2)
        session.channels[peer].mark(STEP)
        mine = b[WIDTH * some.start : WIDTH * some.stop].reshape(-1, WIDTH, out.shape[1])
        send_array(session, peer, np.stack([lowest_bits(each, WIDTH) for each in correlations]) ^ mine)
        for digit, own, each in zip(range(some.start, some.stop), mine, correlations, strict=True):
            entries = receive_array(session, peer, (_VALUES - 1, out.shape[1]), STEP)
            out[digit] = pads(each)[0, 0]
            _choose(own, entries, out[digit])
    return out


def _groups(out: Ring) -> Iterator[slice]:
    """Digits that are transferred together."""
    return blocks(len(out), max(1, _TOGETHER // (64 * max(1, out.shape[1]))))


@compiled
def _tabulate(digit: Ring, told: Ring, table: Ring) -> None:
    """Of pads for every u: entries for every digit of the other, XORed with entry 0, which stays; 64 numbers at once."""
    for word in range(table.shape[1]):
        for bit in range(4):
            swap = told[bit, word]
            for low in range(16):
                if low >> bit & 1 == 0:
                    moved = (table[low, word] ^ table[low | 1 << bit, word]) & swap
                    table[low, word] ^= moved
                    table[low | 1 << bit, word] ^= moved
        for value in range(16):
            same = ~np.uint64(0)
            for bit in range(4):
                plane = digit[bit, word]
                same &= plane if value >> bit & 1 else ~plane
            table[value, word] ^= same
        for value in range(1, 16):
            table[value, word] ^= table[0, word]


@compiled
def _choose(digit: Ring, entries: Ring, out: Ring) -> None:
    """The entry of every number's digit, onto the pads in ``out``: none for digit 0, and entries from digit 1 on."""
    for word in range(len(out)):
        for value in range(1, 16):
            same = ~np.uint64(0)
            for bit in range(4):
                plane = digit[bit, word]
                same &= plane if value >> bit & 1 else ~plane
            out[word] ^= entries[value - 1, word] & same

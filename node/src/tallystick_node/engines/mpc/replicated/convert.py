"""Between arithmetic and Boolean sharing of replicated secrets.

Both ways use that party 0 knows one operand and parties 1 and 2 the other: of x = a + b with a = x_0 + x_1 and b = x_2, of a
Boolean secret w = c ^ d with c = w_0 ^ w_1 and d = w_2.

Privacy: what party 0 sends to party 2 is masked by bytes of K_1; what parties 1 and 2 exchange, by bytes of K_1 and K_0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.mpc.protocol import Binary
from tallystick_node.engines.mpc.prss import Unsigned
from tallystick_node.engines.mpc.replicated import adder
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

NARROW = 14  # bits of a word up to which 8 (width + 3) bytes are fewer than a subtraction's

Pair = tuple[Ring, Ring]


def decompose(seat: Seat, secret: Pair) -> Pair:
    """The bits of ring elements, as XOR-shared words: see :mod:`adder`."""
    first, second = adder.add(seat, (_flat(secret[0]), _flat(secret[1])))
    return first.reshape(secret[0].shape), second.reshape(secret[0].shape)


def compose(seat: Seat, words: Binary) -> Pair:
    """The ring elements that words are: by subtraction (see :mod:`adder`), or bit by bit where that takes fewer bytes."""
    wide = words.parts[0].astype(np.uint64), words.parts[1].astype(np.uint64)
    if words.width <= NARROW:
        return _by_bits(seat, wide, words.width)
    first, second = adder.subtract(seat, (_flat(wide[0]), _flat(wide[1])))
    return first.reshape(words.shape), second.reshape(words.shape)


def _by_bits(seat: Seat, words: Pair, width: int) -> Pair:
    """c ^ d = c + d - 2 (c & d): party 0 shares c, and each bit of it, between parties 1 and 2, who add up what d selects."""
    shape = words[0].shape
    if seat.index == 0:
        c = words[0] ^ words[1]
        _send_masked(seat, np.stack([c, *((c >> np.uint64(place)) & np.uint64(1) for place in range(width))]))
        return seat.prss.own.elements(shape), seat.prss.after.elements(shape)
    d = words[1 if seat.index == 1 else 0]
    total, *bits = _given(seat, (width + 1, *shape))
    if seat.index == 1:
        total += d
    for place, bit in enumerate(bits):
        total -= (bit * ((d >> np.uint64(place)) & np.uint64(1))) << np.uint64(place + 1)
    return rejoin(seat, total)


def to_arithmetic(
    seat: Seat, bits: tuple[NDArray[Any], NDArray[Any]], kind: Unsigned = np.uint64
) -> tuple[NDArray[Any], NDArray[Any]]:
    """c ^ d = (1 - 2 d) c + d, with c shared between parties 1 and 2; modulo 2 to the size of ``kind``."""
    shape = bits[0].shape
    if seat.index == 0:
        _send_masked(seat, (bits[0] ^ bits[1]).astype(kind))
        return seat.prss.own.elements(shape, kind), seat.prss.after.elements(shape, kind)
    second = seat.index == 1
    d = bits[1 if second else 0].astype(kind)
    total = _given(seat, shape, kind) * (kind(1) - (d << kind(1)))
    if second:
        total += d
    return rejoin(seat, total)


def rejoin(seat: Seat, part: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """From parts at parties 1 and 2 to a replicated sharing whose parts 0 and 1 are bytes of the seeds, which party 0 draws too:
    each sends the other its part less bytes that the other does not know."""
    second = seat.index == 1
    kept = (seat.prss.own if second else seat.prss.after).elements(part.shape, part.dtype.type)
    part = part - kept
    other = 2 if second else 1
    total = part + seat.exchange(other, part, other)
    return (kept, total) if second else (total, kept)


def _send_masked(seat: Seat, values: NDArray[Any]) -> None:
    seat.send(2, values - seat.prss.after.elements(values.shape, values.dtype.type))


def _given(seat: Seat, shape: tuple[int, ...], kind: Unsigned = np.uint64) -> NDArray[Any]:
    """A party's part of what party 0 shares between parties 1 and 2."""
    return seat.prss.own.elements(shape, kind) if seat.index == 1 else seat.receive(0, shape, kind)


def _flat(part: Ring) -> Ring:
    return np.ascontiguousarray(part).reshape(-1)

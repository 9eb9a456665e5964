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
from tallystick_node.engines.mpc.replicated.boolean import conjunction
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

Pair = tuple[Ring, Ring]


def decompose(seat: Seat, secret: Pair) -> Binary:
    """The bits of x = a + b: a carry by parallel prefix (Kogge and Stone, 1973)."""
    shape, nothing = secret[0].shape, np.zeros(secret[0].shape, np.uint64)
    if seat.index == 0:
        mask = seat.prss.after.elements(shape)
        masked = (secret[0] + secret[1]) ^ mask
        seat.send(2, masked)
        a, b = Binary((masked, mask), 64), Binary((nothing, nothing), 64)
    elif seat.index == 1:
        a, b = Binary((seat.prss.own.elements(shape), nothing), 64), Binary((nothing, secret[1]), 64)
    else:
        a, b = Binary((nothing, seat.receive(0, shape)), 64), Binary((secret[0], nothing), 64)
    total = a ^ b
    propagate, generate = total, conjunction(seat, a, b)
    for distance in (1, 2, 4, 8, 16, 32):
        lower = [_moved_up(each, distance) for each in (generate, propagate)]
        both = conjunction(seat, _stacked(propagate, propagate), _stacked(*lower))
        generate, propagate = generate ^ both[0], both[1]
    return total ^ _moved_up(generate, 1)


def compose(seat: Seat, words: Binary) -> Pair:
    """c ^ d = c + d - 2 (c & d): party 0 shares c, and each bit of it, between parties 1 and 2, who add up what d selects."""
    shape, width = words.shape, words.width
    if seat.index == 0:
        c = (words.parts[0] ^ words.parts[1]).astype(np.uint64)
        _send_masked(seat, c)
        for place in range(width):
            _send_masked(seat, (c >> np.uint64(place)) & np.uint64(1))
        return seat.prss.own.elements(shape), seat.prss.after.elements(shape)
    second = seat.index == 1
    d = words.parts[1 if second else 0].astype(np.uint64)
    total = _given(seat, shape)
    if second:
        total = total + d
    for place in range(width):
        total -= (_given(seat, shape) * ((d >> np.uint64(place)) & np.uint64(1))) << np.uint64(place + 1)
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


def _moved_up(words: Binary, places: int) -> Binary:
    return words.map(lambda part: part << np.uint64(places))


def _stacked(first: Binary, second: Binary) -> Binary:
    return Binary(tuple(np.stack(parts) for parts in zip(first.parts, second.parts, strict=True)), first.width)

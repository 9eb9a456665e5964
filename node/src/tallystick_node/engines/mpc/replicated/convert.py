"""Between arithmetic and Boolean sharing of replicated secrets.

Both ways use that party 0 knows one operand and parties 1 and 2 the other: of x = a + b with a = x_0 + x_1 and b = x_2, of a
Boolean secret w = c ^ d with c = w_0 ^ w_1 and d = w_2.

Privacy: what party 0 sends to party 2 is masked by bytes of K_1; what parties 1 and 2 exchange, by bytes of K_1 and K_0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.protocol import Binary
from tallystick_node.engines.mpc.prss import Unsigned, blocks
from tallystick_node.engines.mpc.replicated import adder
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

NARROW = 14  # bits of a word up to which 8 (width + 3) bytes are fewer than a subtraction's

Bits = NDArray[np.uint8]
Pair = tuple[Ring, Ring]
Part = NDArray[Any]  # of uint64 or uint32


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


def to_arithmetic(seat: Seat, bits: tuple[Bits, Bits], kind: Unsigned = np.uint64) -> tuple[Part, Part]:
    """c ^ d = d + (1 - 2 d) c, with c shared between parties 1 and 2; modulo 2 to the size of ``kind``."""
    shape, prss = bits[0].shape, seat.prss
    x, y = (np.ascontiguousarray(part).reshape(-1) for part in bits)
    out, kept = np.empty(shape, kind), np.empty(shape, kind)
    flat, flat_kept = out.reshape(-1), kept.reshape(-1)
    if seat.index == 0:
        for block in blocks(flat.size):
            _mask_bits(x[block], y[block], prss.after.passing(block.stop - block.start, kind), flat[block])
        seat.send(2, out)
        return prss.own.elements(shape, kind), prss.after.elements(shape, kind)
    second = seat.index == 1
    given = _given(seat, shape, kind).reshape(-1)
    for block in blocks(flat.size):
        flat_kept[block] = (prss.own if second else prss.after).passing(block.stop - block.start, kind)
        _choose((y if second else x)[block], given[block], flat_kept[block], kind(second), flat[block])
    return _exchanged(seat, out, kept)


def rejoin(seat: Seat, part: Part) -> tuple[Part, Part]:
    """From parts at parties 1 and 2, which it changes, to a replicated sharing whose parts 0 and 1 are bytes of the seeds, which
    party 0 draws too: each sends the other its part less bytes that the other does not know."""
    kept = (seat.prss.own if seat.index == 1 else seat.prss.after).elements(part.shape, part.dtype.type)
    part -= kept
    return _exchanged(seat, part, kept)


def _exchanged(seat: Seat, part: Part, kept: Part) -> tuple[Part, Part]:
    other = 2 if seat.index == 1 else 1
    total = seat.exchange(other, part, other)
    total += part
    return (kept, total) if seat.index == 1 else (total, kept)


def _send_masked(seat: Seat, values: NDArray[Any]) -> None:
    seat.send(2, values - seat.prss.after.elements(values.shape, values.dtype.type))


def _given(seat: Seat, shape: tuple[int, ...], kind: Unsigned = np.uint64) -> NDArray[Any]:
    """A party's part of what party 0 shares between parties 1 and 2."""
    return seat.prss.own.elements(shape, kind) if seat.index == 1 else seat.receive(0, shape, kind)


def _flat(part: Ring) -> Ring:
    return np.ascontiguousarray(part).reshape(-1)


@compiled
def _mask_bits(x: Bits, y: Bits, mask: Part, out: Part) -> None:
    for i in range(out.size):
        out[i] = np.uint64(x[i] ^ y[i]) - np.uint64(mask[i])


@compiled
def _choose(d: Bits, given: Part, mask: Part, one: np.unsignedinteger[Any], out: Part) -> None:
    """A part of c, or of 1 - c where d is set, less the mask; ``one`` is that part of 1."""
    for i in range(out.size):
        out[i] = (given[i] if d[i] == 0 else one - given[i]) - mask[i]

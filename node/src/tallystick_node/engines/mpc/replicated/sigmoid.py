"""The logistic function of replicated fixed-point numbers, by a Fourier series whose angles two sides know.

On [-8, 8], 1 / (1 + e^-x) is within 5.4e-4 of 1/2 + x / 16 + sum over k = 1..5 of c_k sin(2 pi k x / 16). The linear term takes the
sawtooth out, so that five sines of period 16 are enough and the series ends in 0 and 1; the c_k are the minimax fit (Lawson's
iteration on 801 Chebyshev points). Outside, the result is 0 or 1, off by at most 3.4e-4.

A period of 16 is 2^(fraction + 4) units, which divides 2^64: of x = a + b mod 2^64, party 0 takes a = x_0 + x_1 and parties 1 and
2 take b = x_2 to angles of their own, and sin k(a + b) = sin ka cos kb + cos ka sin kb. Party 0 shares its sines and cosines
between parties 1 and 2, who weigh them with theirs. This is done modulo 2^32, with 13 bits for what party 0 knows, 17 for c_k
times what the others know, and 30 for the sum; rounding adds at most 5.7e-5. Clipping keeps the sum where -8 <= x < 8, and the
result becomes 64 bits wide on its way to ``fraction`` bits.

Error: at most 6e-4 and 2 units in the last place, for every |x| < 2^62 - 2^(fraction + 3).

Parties 1 and 2 must weigh alike to the last bit: their sines are sums and products of IEEE-754 single precision in one fixed order,
which no machine may round differently (compiled without contraction), and no library function.

Cost over all parties, an element: 40 bytes of sines and cosines, 8 to rejoin them, 101.75 of two comparisons, 24 of two conversions
of bits, 12 of a product, 32 to widen: 217.75 bytes; 13 rounds, for every 2^18 elements anew.

Privacy: party 2 gets sines, cosines, and later the shifted sum, less bytes of K_1; parties 1 and 2 exchange parts masked by bytes
of K_1 and K_0; comparisons, conversions and products as in their modules. Nothing is opened, so each message is uniform to its
receiver, and no branch or length depends on a value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled, inlined
from tallystick_node.engines.mpc.prss import blocks
from tallystick_node.engines.mpc.replicated.arithmetic import product
from tallystick_node.engines.mpc.replicated.compare import negative
from tallystick_node.engines.mpc.replicated.convert import rejoin, to_arithmetic
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.replicated.truncation import OFFSET
from tallystick_node.engines.mpc.ring import Ring

HARMONICS = (0.249879, 0.067137, 0.019354, 0.005705, 0.001753)
LINEAR = 4  # the linear term is x / 2^4
EDGE = 8
SCALE = 30  # fraction bits of the sum modulo 2^32
PIECE = 1 << 18  # elements that share the rounds: some twenty arrays of so many stay in the cache of a socket
GIVEN = 13  # of them, those of party 0's sines and cosines

Halves = NDArray[np.uint32]
Pair = tuple[Ring, Ring]
HalfPair = tuple[Halves, Halves]
PartPair = tuple[NDArray[Any], NDArray[Any]]  # of one of these types

_WEIGHTS = np.array(HARMONICS, np.float32) * np.float32(1 << (SCALE - GIVEN))


def sigmoid(seat: Seat, secret: Pair, fraction: int) -> Pair:
    """1 / (1 + e^-x) for 1 to 24 fraction bits."""
    if not 1 <= fraction <= 24:
        raise ValueError("the logistic function takes numbers of 1 to 24 fraction bits")
    shape = secret[0].shape
    flat = np.ascontiguousarray(secret[0]).reshape(-1), np.ascontiguousarray(secret[1]).reshape(-1)
    out = np.empty(flat[0].size, np.uint64), np.empty(flat[0].size, np.uint64)
    for block in blocks(flat[0].size, PIECE):
        out[0][block], out[1][block] = _piece(seat, (flat[0][block], flat[1][block]), fraction)
    return out[0].reshape(shape), out[1].reshape(shape)


def _piece(seat: Seat, secret: Pair, fraction: int) -> Pair:
    curve = _curve(seat, secret, fraction)
    inside, below = _clip(seat, secret, fraction)
    part = product(seat, inside, curve)
    kept = part, seat.reshare(part)
    # The result less 1/2: the curve inside, 1/2 above, -1/2 below.
    one, half = np.uint32(1 << SCALE), np.uint32(1 << (SCALE - 1))
    centred = _plus(seat, (kept[0] - below[0] * one, kept[1] - below[1] * one), half)
    widened = _widen(seat, centred, SCALE - fraction)
    return _plus(seat, widened, np.uint64(1 << (fraction - 1)))


def _curve(seat: Seat, secret: Pair, fraction: int) -> HalfPair:
    """1/2 + x / 16 + the sines, modulo 2^32 with ``SCALE`` fraction bits; what it is outside [-8, 8] does not matter."""
    terms, size = 2 * len(HARMONICS), secret[0].size
    angle = np.uint64(32 - LINEAR - fraction)  # moves a period to 32 bits
    if seat.index == 0:
        for block in blocks(size):
            count = block.stop - block.start
            message = seat.prss.after.passing(terms * count, np.uint32).reshape(terms, count)
            _give_sines(secret[0][block], secret[1][block], angle, np.float32(1 << GIVEN), message)
            seat.send(2, message)
        waves = seat.prss.own.elements((size,), np.uint32), seat.prss.after.elements((size,), np.uint32)
    else:
        second = seat.index == 1
        b = secret[1] if second else secret[0]
        total = np.empty(size, np.uint32)
        for block in blocks(size):
            shape = terms, block.stop - block.start
            given = (
                seat.prss.own.passing(shape[0] * shape[1], np.uint32).reshape(shape)
                if second
                else seat.receive(0, shape, np.uint32)
            )
            _weigh_sines(b[block], angle, given, _WEIGHTS, total[block])
        waves = rejoin(seat, total)
    slope = np.uint32(1 << (SCALE - LINEAR - fraction))
    line = [part.astype(np.uint32) * slope for part in secret]
    return _plus(seat, (waves[0] + line[0], waves[1] + line[1]), np.uint32(1 << (SCALE - 1)))


def _clip(seat: Seat, secret: Pair, fraction: int) -> tuple[HalfPair, HalfPair]:
    """Whether -8 <= x < 8, and whether x < 8, as 0 and 1 modulo 2^32."""
    edge, size = np.uint64(EDGE << fraction), secret[0].size
    moved = np.empty((2, 2, size), np.uint64)  # part, edge, element
    for part, holds, sums in zip(secret, (seat.index == 0, seat.index == 2), moved, strict=True):
        np.add(part, edge if holds else np.uint64(0), out=sums[0])
        np.subtract(part, edge if holds else np.uint64(0), out=sums[1])
    bits = negative(seat, (moved[0].reshape(-1), moved[1].reshape(-1)))
    for signs in bits:
        signs[:size] ^= signs[size:]
    ones = to_arithmetic(seat, bits, np.uint32)
    return (ones[0][:size], ones[1][:size]), (ones[0][size:], ones[1][size:])


def _widen(seat: Seat, secret: HalfPair, bits: int) -> Pair:
    """Secrets modulo 2^32 and below 2^30 in magnitude, shifted right by ``bits``, in 64 bits; the error is 0 or -1.

    As in truncation: of a and b moved up by 2^30, a + b wraps unless neither has its top bit, so that the shifted sum is
    (a >> m) + (b >> m) - 2^(32-m) (1 - n_a n_b), but for a carry.
    """
    shape, shift, lift = secret[0].shape, np.uint64(bits), np.uint64(32 - bits)
    if seat.index == 0:
        a = (secret[0] + secret[1]).astype(np.uint64)
        message = np.stack([a >> shift, np.uint64(1) - (a >> np.uint64(31))])
        masks = seat.prss.after.elements(message.shape)
        message -= masks
        seat.send(2, message)
        kept = seat.prss.own.elements(shape), seat.prss.after.elements(shape)
        return message[0] + (kept[0] << lift), masks[0] + (kept[1] << lift)
    second = seat.index == 1
    b = (secret[1 if second else 0] + np.uint32(OFFSET >> 32)).astype(np.uint64)
    given, crossed = seat.prss.own.elements((2, *shape)) if second else seat.receive(0, (2, *shape))
    crossed *= np.uint64(1) - (b >> np.uint64(31))
    shifted = (b >> shift) - (np.uint64(1) << lift) - np.uint64(1 << (SCALE - bits))
    mine, theirs = rejoin(seat, crossed)
    if second:
        return given + (mine << lift), shifted + (theirs << lift)
    return shifted + (mine << lift), given + (theirs << lift)


def _plus(seat: Seat, secret: PartPair, constant: np.unsignedinteger[Any]) -> PartPair:
    """A public constant added: to part 0."""
    first, second = secret
    return first + constant if seat.index == 0 else first, second + constant if seat.index == 2 else second


@inlined
def _circle(turned: np.uint64) -> tuple[np.float32, np.float32]:
    """Sine and cosine of an angle, as a fraction of the circle in the low 32 bits: Taylor polynomials at half the angle, off by at
    most 6e-7, and the doubling formulas."""
    half = np.float32(np.int32(turned)) * np.float32(np.pi / (1 << 32))
    square = half * half
    sine = np.float32(-1 / 39916800) * square + np.float32(1 / 362880)
    sine = sine * square + np.float32(-1 / 5040)
    sine = sine * square + np.float32(1 / 120)
    sine = sine * square + np.float32(-1 / 6)
    sine = (sine * square + np.float32(1)) * half
    cosine = np.float32(1 / 479001600) * square + np.float32(-1 / 3628800)
    cosine = cosine * square + np.float32(1 / 40320)
    cosine = cosine * square + np.float32(-1 / 720)
    cosine = cosine * square + np.float32(1 / 24)
    cosine = cosine * square + np.float32(-1 / 2)
    cosine = cosine * square + np.float32(1)
    return np.float32(2) * sine * cosine, cosine * cosine - sine * sine


@compiled
def _give_sines(first: Ring, second: Ring, angle: np.uint64, scale: np.float32, message: NDArray[np.uint32]) -> None:
    """Party 0's sines and cosines of the multiples of its angle, less the masks that ``message`` holds."""
    size = first.size
    waves = np.empty((4, size), np.float32)
    sine, cosine, s, c = waves[0], waves[1], waves[2], waves[3]
    for i in range(size):
        s[i], c[i] = sine[i], cosine[i] = _circle((first[i] + second[i]) << angle)
    for k in range(0, message.shape[0], 2):
        sines, cosines = message[k], message[k + 1]
        for i in range(size):
            sines[i] = np.uint32(np.int32(np.rint(s[i] * scale))) - sines[i]
            cosines[i] = np.uint32(np.int32(np.rint(c[i] * scale))) - cosines[i]
            s[i], c[i] = s[i] * cosine[i] + c[i] * sine[i], c[i] * cosine[i] - s[i] * sine[i]


@compiled
def _weigh_sines(b: Ring, angle: np.uint64, given: NDArray[np.uint32], weights: NDArray[np.float32], total: Halves) -> None:
    """A part of sum over k of c_k (sin ka cos kb + cos ka sin kb), from a part of party 0's sines and cosines."""
    size = b.size
    waves = np.empty((4, size), np.float32)
    sine, cosine, s, c = waves[0], waves[1], waves[2], waves[3]
    for i in range(size):
        s[i], c[i] = sine[i], cosine[i] = _circle(b[i] << angle)
        total[i] = np.uint32(0)
    for k in range(weights.size):
        sines, cosines, weight = given[2 * k], given[2 * k + 1], weights[k]
        for i in range(size):
            total[i] += sines[i] * np.uint32(np.int32(np.rint(c[i] * weight)))
            total[i] += cosines[i] * np.uint32(np.int32(np.rint(s[i] * weight)))
            s[i], c[i] = s[i] * cosine[i] + c[i] * sine[i], c[i] * cosine[i] - s[i] * sine[i]

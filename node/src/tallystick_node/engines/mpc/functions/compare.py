"""Comparisons of integers or fixed-point numbers below 2^62 in magnitude: exact, as bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.mpc.functions.batch import element, elementwise, stack
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares


@elementwise
def is_negative(protocol: Protocol, secret: Shares) -> Binary:
    """Whether each number is below 0. One comparison."""
    return protocol.negative(secret)


@elementwise
def less(protocol: Protocol, left: Shares, right: Shares) -> Binary:
    """left < right. One comparison."""
    return protocol.negative(left - right)


@elementwise
def less_equal(protocol: Protocol, left: Shares, right: Shares) -> Binary:
    """left <= right. One comparison."""
    return protocol.not_(protocol.negative(right - left))


@elementwise
def is_zero(protocol: Protocol, secret: Shares) -> Binary:
    """Whether each number is 0; exact but for -2^63. Two comparisons in the rounds of one: at most one of x and -x is negative."""
    sides = protocol.negative(stack([secret, -secret]))
    return protocol.not_(sides[0] ^ sides[1])


@elementwise
def equal(protocol: Protocol, left: Shares, right: Shares) -> Binary:
    """left == right. Two comparisons in the rounds of one."""
    return is_zero(protocol, left - right)


@elementwise
def not_equal(protocol: Protocol, left: Shares, right: Shares) -> Binary:
    """left != right. Two comparisons in the rounds of one."""
    return protocol.not_(is_zero(protocol, left - right))


@elementwise
def is_in(protocol: Protocol, secret: Shares, *, values: Sequence[float], fraction: int = 0) -> Binary:
    """Whether each number is one of a public set, as fixed point holds it. Two comparisons for each value, in the rounds of one."""
    encoded = sorted({round(value * (1 << fraction)) for value in values})
    if not encoded:
        return protocol.public_binary(np.zeros(secret.shape, np.uint8), 1)
    public = np.repeat(np.array([element(value) for value in encoded], np.uint64)[:, None], secret.size, axis=1)
    matches = is_zero(protocol, stack([secret] * len(encoded)) - protocol.public(public))
    return matches.map(lambda part: np.bitwise_xor.reduce(part, axis=0))  # the values differ, so at most one matches


def one_hot(protocol: Protocol, secret: Shares, *, size: int, fraction: int = 0) -> Shares:
    """For whole numbers: a last axis of ``size`` integers, 1 at the number's place and 0 elsewhere; all 0 for a number outside
    0..size-1 (and, with fraction bits, a number counts as its floor).

    size + 1 comparisons in the rounds of one, and ``size`` conversions.
    """
    if size < 1:
        raise ValueError("a one-hot vector has one place or more")
    flat = secret.reshape(-1)
    steps = np.array([element(place << fraction) for place in range(size + 1)], np.uint64)
    below = protocol.negative(
        stack([flat] * (size + 1)) - protocol.public(np.repeat(steps[:, None], flat.size, axis=1))
    )  # monotone along the first axis: 0..0 1..1
    places = protocol.to_arithmetic(below[:-1] ^ below[1:])
    return places.map(lambda part: np.ascontiguousarray(part.T)).reshape(*secret.shape, size)

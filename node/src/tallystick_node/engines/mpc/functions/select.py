"""Choosing by a secret bit: select, absolute value, sign, minimum, maximum, clip."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick_node.engines.mpc.functions.batch import constant, elementwise, plus, stack, times
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares


@elementwise
def lift(protocol: Protocol, bits: Binary, *, fraction: int = 0) -> Shares:
    """Bits as the numbers 0 and 1. Exact. One conversion."""
    return times(protocol.to_arithmetic(bits), 1 << fraction)


@elementwise
def select(protocol: Protocol, condition: Binary, yes: Shares, no: Shares) -> Shares:
    """``yes`` where the bit is 1, ``no`` elsewhere. Exact for every ring element. One conversion and one multiplication."""
    return no + protocol.multiply(protocol.to_arithmetic(condition), yes - no)


def select_many(protocol: Protocol, condition: Binary, pairs: Sequence[tuple[Shares, Shares]]) -> list[Shares]:
    """:func:`select` from many pairs of arrays of the condition's shape by one condition, in the rounds of one."""
    weight = protocol.to_arithmetic(condition)
    gaps = protocol.multiply(stack([weight] * len(pairs)), stack([yes - no for yes, no in pairs]))
    return [no + gaps[number] for number, (_, no) in enumerate(pairs)]


@elementwise
def or_(protocol: Protocol, left: Binary, right: Binary) -> Binary:
    """Bit by bit. One AND."""
    return left ^ right ^ protocol.and_(left, right)


@elementwise
def absolute(protocol: Protocol, secret: Shares) -> Shares:
    """Magnitudes of integers or fixed-point numbers. Exact. One comparison, conversion and multiplication."""
    return protocol.multiply(secret, _direction(protocol, protocol.negative(secret)))


@elementwise
def relu(protocol: Protocol, secret: Shares) -> Shares:
    """The larger of each number and 0. Exact. One comparison, conversion and multiplication."""
    return protocol.multiply(secret, protocol.to_arithmetic(protocol.not_(protocol.negative(secret))))


@elementwise
def sign(protocol: Protocol, secret: Shares, *, fraction: int = 0) -> Shares:
    """-1, 0 or 1. Exact below 2^63 in magnitude. Two comparisons in the rounds of one, and two conversions."""
    negative, positive = _lifted(protocol, protocol.negative(stack([secret, -secret])))
    return times(positive - negative, 1 << fraction)


@elementwise
def maximum(protocol: Protocol, left: Shares, right: Shares) -> Shares:
    """The larger of two. Exact below 2^62. One comparison, conversion and multiplication."""
    return select(protocol, protocol.negative(left - right), right, left)


@elementwise
def minimum(protocol: Protocol, left: Shares, right: Shares) -> Shares:
    """The smaller of two. Exact below 2^62. One comparison, conversion and multiplication."""
    return select(protocol, protocol.negative(left - right), left, right)


@elementwise
def clip(protocol: Protocol, secret: Shares, *, low: float | None = None, high: float | None = None, fraction: int = 0) -> Shares:
    """Numbers held between public bounds, low <= high; None is no bound. Exact below 2^62.

    One comparison, conversion and multiplication for each bound, in the rounds of one.
    """
    bounds = [None if bound is None else round(bound * (1 << fraction)) for bound in (low, high)]
    below, above = bounds
    if below is not None and above is not None and below > above:
        raise ValueError("the lower bound is above the upper one")
    if below is None and above is None:
        return secret
    # Each gap is to be added where it is on the wrong side: x < low, or x > high.
    gaps = []
    crossed = []
    if below is not None:
        gaps.append(constant(protocol, secret.shape, below) - secret)
        crossed.append(plus(protocol, secret, -below))
    if above is not None:
        gaps.append(constant(protocol, secret.shape, above) - secret)
        crossed.append(gaps[-1])
    weights = protocol.to_arithmetic(protocol.negative(stack(crossed)))
    return secret + protocol.multiply(weights, stack(gaps)).sum(axis=0)


def _direction(protocol: Protocol, negative: Binary) -> Shares:
    """-1 where the bit is 1, 1 elsewhere."""
    return plus(protocol, times(protocol.to_arithmetic(negative), -2), 1)


def _lifted(protocol: Protocol, bits: Binary) -> list[Shares]:
    weights = protocol.to_arithmetic(bits)
    return [weights[number] for number in range(bits.shape[0])]

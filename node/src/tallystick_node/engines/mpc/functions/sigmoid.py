"""The logistic function and the hyperbolic tangent."""

from __future__ import annotations

import typing

import numpy as np

from tallystick_node.engines.mpc.functions.batch import elementwise, plus, require_fraction, shift, stack, times
from tallystick_node.engines.mpc.functions.series import expand, fit
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares

EDGE = 8  # beyond it the result is 0 or 1, off by at most 3.4e-4
_BITS = 24
_CURVE = fit(lambda u: 0.5 * np.tanh((u + 1) * EDGE / 4), 7)  # sigmoid(x) - 1/2 for x = (u + 1) 4 in [0, 8]: off by 2.7e-4


@typing.runtime_checkable
class OffersSigmoid(typing.Protocol):
    """A protocol with a faster way of its own. It keeps the bound of :func:`sigmoid`."""

    def sigmoid_fixed(self, secret: Shares, fraction: int) -> Shares:
        """1 / (1 + e^-x) of fixed-point numbers below 2^62, off by at most 1e-3 and 2 ulps."""


@elementwise
def sigmoid(protocol: Protocol, secret: Shares, *, fraction: int) -> Shares:
    """1 / (1 + e^-x), of fixed-point numbers below 2^62 - 2^(fraction + 3). Any such number: 0 and 1 are where it saturates.

    The error is at most 1e-3 plus 2 ulps, whatever x. Three comparisons in the rounds of one, one AND, three conversions, a
    polynomial of degree 7 (four products and two truncations in five levels), two multiplications; or what the protocol offers.
    """
    require_fraction(fraction, least=1)
    if isinstance(protocol, OffersSigmoid):
        return protocol.sigmoid_fixed(secret, fraction)
    edge = EDGE << fraction
    signs = protocol.negative(stack([secret, plus(protocol, secret, -edge), plus(protocol, secret, edge)]))
    inside = signs[1] ^ signs[2]
    return pieced(protocol, secret, signs[2], inside, protocol.and_(signs[0], inside), fraction)


def pieced(protocol: Protocol, secret: Shares, below: Binary, inside: Binary, lower: Binary, fraction: int) -> Shares:
    """The logistic function of secrets x, given bits: whether x < -8, whether -8 <= x < 8, and whether -8 <= x < 0. Limits may be
    met to 1/16 only: the curve is good for as much beyond. Three conversions, the polynomial, two multiplications."""
    lifted = protocol.to_arithmetic(stack([below, inside, lower]))
    direction = lifted[1] - times(lifted[2], 2)  # -1 or 1 inside, 0 outside
    outside = -times(lifted[0], 2) - lifted[1]  # -1 inside, -2 below, 0 above
    size = protocol.multiply(secret, direction)  # |x| below 8, or 0
    unit = plus(protocol, shift(protocol, size, fraction + 2 - _BITS), -(1 << _BITS))
    curve = shift(protocol, expand(protocol, unit, _CURVE, _BITS, _BITS), 2 * _BITS - fraction)
    return protocol.multiply(direction, curve) + times(plus(protocol, outside, 2), 1 << (fraction - 1))


@elementwise
def tanh(protocol: Protocol, secret: Shares, *, fraction: int) -> Shares:
    """The hyperbolic tangent, 2 sigmoid(2 x) - 1: off by at most 2e-3 plus 4 ulps. Domain and cost: :func:`sigmoid`'s for 2 x."""
    return plus(protocol, times(sigmoid(protocol, times(secret, 2), fraction=fraction), 2), -(1 << fraction))

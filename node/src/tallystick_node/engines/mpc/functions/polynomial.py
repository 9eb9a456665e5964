"""Polynomials with public coefficients, and powers with public exponents."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick_node.engines.mpc.functions.batch import constant, elementwise, require_fraction, shift, stack, times
from tallystick_node.engines.mpc.functions.divide import reciprocal
from tallystick_node.engines.mpc.functions.exponential import exp, log
from tallystick_node.engines.mpc.functions.root import inverse_square_root, square_root
from tallystick_node.engines.mpc.functions.series import expand
from tallystick_node.engines.mpc.protocol import Protocol, Shares


@elementwise
def polynomial(protocol: Protocol, secret: Shares, *, coefficients: Sequence[float], fraction: int) -> Shares:
    """sum_i coefficients[i] x^i, lowest first.

    Domain: every power of x and every partial sum below 2^(61 - 2 fraction). The error is that of fixed point: each power is off by
    at most (2 + 2 |x|) times what the one before it is, at least one ulp, and counts with its coefficient. Baby steps and giant
    steps (Paterson and Stockmeyer 1973): about 2 sqrt(degree) multiplications in ceil(log2(degree)) + 2 levels.
    """
    require_fraction(fraction, least=1)
    if not coefficients:
        return constant(protocol, secret.shape, 0)
    return shift(protocol, expand(protocol, secret, coefficients, fraction, fraction), fraction)


@elementwise
def power(protocol: Protocol, secret: Shares, *, exponent: float, fraction: int) -> Shares:
    """x to a public exponent.

    A whole exponent: by squaring, 2 log2 levels at most; domain as for a product, so |x|^exponent below 2^(61 - 2 fraction). A
    negative one: the reciprocal of that, with the saturation of :func:`reciprocal`. Halves: by square roots, x > 0. Any other
    exponent: exp(exponent log x), for x > 0, with the relative error and saturation of :func:`exp` and |exponent| times the error
    of :func:`log`. An x <= 0 counts as one ulp where roots and logarithms are taken.
    """
    require_fraction(fraction, least=1)
    if exponent == 0.5:
        return square_root(protocol, secret, fraction=fraction)
    if exponent == -0.5:
        return inverse_square_root(protocol, secret, fraction=fraction)
    if exponent != int(exponent):
        logarithm = log(protocol, secret, fraction=fraction)
        product = shift(protocol, times(logarithm, round(exponent * (1 << fraction))), fraction)
        return exp(protocol, product, fraction=fraction)
    whole = abs(int(exponent))
    result = constant(protocol, secret.shape, 1 << fraction)
    square = secret
    started = False
    while whole:
        odd, whole = whole & 1, whole >> 1
        if odd and started and whole:
            both = protocol.multiply_fixed(stack([result, square]), stack([square, square]), fraction)
            result, square = both[0], both[1]
            continue
        if odd:
            result = protocol.multiply_fixed(result, square, fraction) if started else square
            started = True
        if whole:
            square = protocol.multiply_fixed(square, square, fraction)
    return reciprocal(protocol, result, fraction=fraction) if exponent < 0 else result

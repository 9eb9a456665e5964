"""Means, variances and correlations of the columns of a matrix: rows are observations. A vector is one column."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.mpc.functions.batch import plus, stack
from tallystick_node.engines.mpc.functions.divide import divide_public
from tallystick_node.engines.mpc.functions.root import inverse_square_root
from tallystick_node.engines.mpc.functions.select import clip
from tallystick_node.engines.mpc.protocol import Protocol, Shares, concatenate

_WIDE = 52  # bits of sums: four products of numbers that the default of a division by a public number takes
BLOCK = 1 << 20  # numbers whose squared distances are taken together
ROWS = 1024  # whose products are added up before they are truncated
_FINE = 24  # fraction bits of inverse deviations
_STILL = 8  # ulps of variance that truncations alone may give


def mean(protocol: Protocol, secret: Shares, *, axis: int | None = None) -> Shares:
    """The mean along an axis, or of all, off by at most 1.6 ulps. Domain: sums below 2^52 ulps; ValueError for no numbers.

    No product; five truncations of each mean.
    """
    count = secret.size if axis is None else secret.shape[axis]
    if not count:
        raise ValueError("there is no mean of no numbers")
    return divide_public(protocol, secret.sum(axis=axis), divisor=count, bits=_WIDE)


def variance(protocol: Protocol, secret: Shares, *, axis: int | None = None, ddof: int = 0, fraction: int) -> Shares:
    """The mean squared distance from the mean along an axis, or of all, divided by n - ddof.

    Domain: squared distances below 2^(61 - 2 fraction), their sum below 2^52 ulps, n > ddof. The error is at most 6 ulps and, by
    that of the mean, 4 ulps times the mean distance from it. One product and truncation for each number, a block of numbers after
    another.
    """
    axis, secret = (0, secret.reshape(-1)) if axis is None else (axis, secret)
    count = secret.shape[axis]
    if count <= ddof:
        raise ValueError(f"a variance with ddof {ddof} is of more than {ddof} numbers")
    middle = mean(protocol, secret, axis=axis)
    rows = max(1, BLOCK // max(1, secret.size // max(1, secret.shape[0])))
    sums = []
    for start in range(0, max(1, secret.shape[0]), rows):
        block = secret[start : start + rows]
        centred = _centred(block, middle if axis == 0 else middle[start : start + rows], axis)
        sums.append(protocol.multiply_fixed(centred, centred, fraction).sum(axis=axis))
    total = concatenate(sums) if axis else stack(sums).sum(axis=0)
    return divide_public(protocol, total, divisor=count - ddof, bits=_WIDE)


def covariance(protocol: Protocol, secret: Shares, *, ddof: int = 1, fraction: int) -> Shares:
    """The covariance of each two columns of an (n, d) matrix, (d, d).

    Domain: products of distances from the mean, summed over 1024 rows, below 2^(61 - 2 fraction), and over all below 2^52 ulps;
    n > ddof. The error is at most 4 ulps, and by that of the means 4 ulps times the mean distance from them. One matrix product
    for 1024 rows, and one truncation for each of its elements.
    """
    if len(secret.shape) != 2 or secret.shape[0] <= ddof:
        raise ValueError(f"covariances with ddof {ddof} are of a matrix of more than {ddof} rows")
    middle = mean(protocol, secret, axis=0)
    products = []
    for start in range(0, secret.shape[0], ROWS):
        centred = _centred(secret[start : start + ROWS], middle, 0)
        products.append(protocol.matmul(centred.map(lambda part: np.ascontiguousarray(part.T)), centred))
    total = protocol.truncate(stack(products), fraction).sum(axis=0) if fraction else stack(products).sum(axis=0)
    return divide_public(protocol, total, divisor=secret.shape[0] - ddof, bits=_WIDE)


def correlation(protocol: Protocol, secret: Shares, *, fraction: int) -> Shares:
    """Pearson's correlation of each two columns of an (n, d) matrix, (d, d).

    A column whose variance is at most 8 ulps counts as constant: 0, but for the error of one truncation, in its row and column.

    Domain: as for :func:`covariance`, and each covariance times an inverse deviation below 2^(37 - fraction). With deviations s and
    t the error is about (8 + 6 s + 6 t) ulps over s t, and 2^-22 (s + t).
    """
    both = covariance(protocol, secret, ddof=0, fraction=fraction)
    variances = both.map(lambda part: np.diagonal(part).copy())
    inverse = inverse_square_root(protocol, variances, fraction=fraction, digits=_FINE)
    varies = protocol.to_arithmetic(protocol.negative(plus(protocol, -variances, _STILL)))
    inverse = protocol.multiply(inverse, varies)
    columns = both.shape[0]
    rows = inverse.map(lambda part: np.ascontiguousarray(np.repeat(part[:, None], columns, axis=1)))
    half = protocol.multiply_fixed(both, rows, _FINE)
    result = protocol.multiply_fixed(half, rows.map(lambda part: np.ascontiguousarray(part.T)), _FINE)
    return clip(protocol, result, low=-1.0, high=1.0, fraction=fraction)


def _centred(secret: Shares, middle: Shares, axis: int) -> Shares:
    return secret - middle.map(lambda part: np.broadcast_to(np.expand_dims(part, axis), secret.shape))

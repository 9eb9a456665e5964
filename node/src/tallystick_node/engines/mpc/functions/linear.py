"""Inner products, norms and running sums."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.mpc.functions.batch import shift
from tallystick_node.engines.mpc.functions.root import square_root
from tallystick_node.engines.mpc.protocol import Protocol, Shares


def dot(protocol: Protocol, left: Shares, right: Shares, *, fraction: int = 0) -> Shares:
    """The inner product of two vectors of one length, as a scalar; off by at most 1.5 ulps, exact for integers.

    Domain: the exact product below 2^(61 - 2 fraction). One product of a row and a column, and one truncation.
    """
    if len(left.shape) != 1 or left.shape != right.shape:
        raise ValueError("an inner product is of two vectors of one length")
    product = protocol.matmul(left.reshape(1, -1), right.reshape(-1, 1)).reshape(1)
    return shift(protocol, product, fraction).reshape()


def norm(protocol: Protocol, secret: Shares, *, fraction: int, axis: int | None = None) -> Shares:
    """The root of the sum of squares along an axis, or of all.

    Domain: that sum below 2^(61 - 2 fraction). The error is that of the sum, 1.5 ulps, under the root, and that of
    :func:`square_root`. One multiplication and truncation, and one :func:`square_root`.
    """
    squares = protocol.multiply(secret, secret).sum(axis=axis)
    total = shift(protocol, squares.reshape(-1), fraction)
    return square_root(protocol, total, fraction=fraction).reshape(*squares.shape)


def cumulative_sum(protocol: Protocol, secret: Shares, *, axis: int | None = None) -> Shares:  # noqa: ARG001 - as every function
    """Running sums along an axis, or of the flattened array. Exact while they stay below 2^62; no message."""
    flat = secret.reshape(-1) if axis is None else secret
    return flat.map(lambda part: np.cumsum(part, axis=axis or 0, dtype=np.uint64))

"""Functions on the ideal functionality, with every rounding that a real protocol may do."""

from __future__ import annotations

import numpy as np
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.mpc.clear import Clear
from tallystick_node.engines.mpc.protocol import Binary, Shares
from tallystick_node.engines.mpc.ring import FixedPoint, decode_integers

ROUNDINGS = ("exact", "up", "down", "random")


def clear(rounding: str = "exact", seed: int = 7) -> Clear:
    draw = np.random.default_rng(seed)
    errors = {
        "exact": None,
        "up": lambda shape: np.ones(shape, np.int64),
        "down": lambda shape: np.full(shape, -1, np.int64),
        "random": lambda shape: draw.integers(-1, 2, shape),
    }
    return Clear(local_sessions(1)[0], errors[rounding])


def ring(values) -> np.ndarray:
    return np.array(values, np.int64, order="C").view(np.uint64)


def opened(protocol, result, fraction: int = 0):
    """Bits as booleans; numbers as integers, or as floats when there are fraction bits."""
    if isinstance(result, tuple | list):
        return tuple(opened(protocol, each, fraction) for each in result)
    if isinstance(result, Binary):
        return protocol.reveal_binary(result).astype(bool)
    assert isinstance(result, Shares)
    whole = decode_integers(protocol.reveal(result))
    return whole / 2.0**fraction if fraction else whole


def evaluated(function, *arrays, fraction: int = 0, rounding: str = "exact", out: int | None = None, **attributes):
    """``function`` of numbers with ``fraction`` bits, on the ideal functionality; the result has ``out`` of them."""
    protocol = clear(rounding)
    encode = FixedPoint(fraction).encode if fraction else ring
    shares = [protocol.share(0, np.shape(each), encode(each)) for each in arrays]
    return opened(protocol, function(protocol, *shares, **attributes), fraction if out is None else out)


def grid(values, fraction: int) -> np.ndarray:
    """The nearest numbers that fixed point holds."""
    return np.rint(np.asarray(values, np.float64) * 2.0**fraction) / 2.0**fraction

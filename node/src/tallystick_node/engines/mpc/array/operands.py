"""Public operands: which kind they are, and how they are encoded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tallystick_node.engines.mpc.plan.kinds import BIT, INTEGER, MAX_FACTOR_FRACTION, Kind, encode, fixed
from tallystick_node.engines.mpc.ring import Ring


def kind_of(values: NDArray[Any], fraction: int) -> Kind:
    """The kind of numbers by their dtype: truth values are bits, integers integers, and floats fixed point. Raises TypeError.

    ``fraction`` 0 stands for bits that are chosen later; what is answered then is fixed point with one bit.
    """
    if values.dtype.kind == "b":
        return BIT
    if values.dtype.kind in "iu":
        return INTEGER
    if values.dtype.kind == "f":
        return fixed(fraction) if fraction else Kind("fixed")
    raise TypeError(f"numbers and truth values can be secret, not {values.dtype}")


def is_bits(values: object) -> bool:
    """Whether an operand is of truth values or secret bits."""
    kind = getattr(values, "kind", None)
    return kind == BIT if isinstance(kind, Kind) else np.asarray(values).dtype.kind == "b"


def encoded(values: ArrayLike, kind: Kind) -> Ring:
    """The ring elements of public values."""
    given = np.asarray(values)
    if kind.name == "fixed" or given.dtype.kind != "f":
        return np.ascontiguousarray(encode(given, kind)).reshape(given.shape)
    raise TypeError(f"{given.dtype} does not go with {kind}")


def factor_kind(values: NDArray[Any], least: Kind) -> Kind:
    """Fixed point for public factors: with more fraction bits where all are small, so that they keep their leading digits."""
    greatest = float(np.max(np.abs(values), initial=0.0))
    more = -math.ceil(math.log2(greatest)) if 0 < greatest < 1 else 0
    return fixed(min(least.fraction + more, MAX_FACTOR_FRACTION))

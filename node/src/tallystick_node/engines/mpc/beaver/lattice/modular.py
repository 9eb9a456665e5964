"""Arithmetic modulo primes below 2^49 in double precision, exact, as the compiler makes vectors of it.

A residue is a float64 that holds an integer. With h = a b rounded, the fused multiply-add gives l = a b - h exactly, and h - q p
exactly for q near h / p, so a b - q p is (h - q p) + l without error (Dekker 1971; Shoup's NTL uses the same). Results lie within
0.5 p + |a b| / 2^51 of zero, and must stay below 2^53 like what is added up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from tallystick_node.engines.compiled import inlined


def _fused(_typing: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """a b + c, rounded once: one instruction where the processor has it, and right where it has not."""

    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), build


fused: Any = intrinsic(_fused)


@inlined
def times(a: float, b: float, p: float, inverse: float) -> float:
    """a b mod p; ``inverse`` is 1 / p."""
    high = a * b
    low: float = fused(a, b, -high)
    rest: float = fused(-np.rint(high * inverse), p, high)
    return rest + low


@inlined
def reduced(a: float, p: float, inverse: float) -> float:
    """a mod p, within 0.51 p of zero."""
    rest: float = fused(-np.rint(a * inverse), p, a)
    return rest

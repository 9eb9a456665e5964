"""What a computation spent of a privacy budget, as integers: what a grant on chain is debited."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from fractions import Fraction

EPSILON_UNIT = 10**6
DELTA_UNIT = 10**12
_LIMIT = 1 << 64
_FORM = re.compile(rb'\{"delta_picos":"(0|[1-9]\d{0,12})","epsilon_micros":"(0|[1-9]\d{0,19})"\}')


@dataclass(frozen=True)
class Spend:
    """``epsilon_micros`` millionths of epsilon (below 2^64) and ``delta_picos`` millionths of millionths of delta (up to 1)."""

    epsilon_micros: int
    delta_picos: int

    def __post_init__(self) -> None:
        if not (0 <= self.epsilon_micros < _LIMIT and 0 <= self.delta_picos <= DELTA_UNIT):
            raise ValueError("a spend has an epsilon from 0 to below 2^64 millionths and a delta from 0 to 1")

    @classmethod
    def of(cls, epsilon: float, delta: float) -> Spend:
        """Both rounded up. Raises ``ValueError`` for what is not finite or out of range."""
        if not (math.isfinite(epsilon) and math.isfinite(delta)):
            raise ValueError("a spend is finite: a mechanism without an epsilon at this delta cannot be accounted")
        return cls(math.ceil(Fraction(epsilon) * EPSILON_UNIT), math.ceil(Fraction(delta) * DELTA_UNIT))

    def __add__(self, other: Spend) -> Spend:
        """Both in sequence (basic composition). A delta of more than 1 stays 1."""
        return Spend(self.epsilon_micros + other.epsilon_micros, min(self.delta_picos + other.delta_picos, DELTA_UNIT))

    def to_json(self) -> bytes:
        """Canonical JSON (RFC 8785) with decimal text, as budgets in grants are written."""
        document = {"delta_picos": str(self.delta_picos), "epsilon_micros": str(self.epsilon_micros)}
        return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Spend:
        """The spend of :meth:`to_json`'s bytes. Raises ``ValueError`` for anything else."""
        found = _FORM.fullmatch(data)
        if found is None:
            raise ValueError('a spend is {"delta_picos":"..","epsilon_micros":".."} in canonical form')
        return cls(int(found[2]), int(found[1]))

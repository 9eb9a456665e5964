"""What a value of a plan is: its kind and shape, and how its numbers are written exactly.

Kinds: an ``integer``, a fixed-point number ``fixed:<fraction bits>``, a ``bit``. A number of a kind is an integer n in the ring and
stands for n / 2^fraction; this has a finite decimal expansion, so that each number has exactly one text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from tallystick_node.engines.mpc.ring import MAGNITUDE, FixedPoint, Ring, encode_integers

MAX_FRACTION = 24  # of a secret: what every operation on fixed-point numbers takes
MAX_FACTOR_FRACTION = 30  # of a public factor, which is truncated away again
MAX_SIZE = 1 << 27  # elements of one array: 1 GiB of one part
MAX_AXES = 8

_KIND = re.compile(r"integer|bit|fixed:([1-9]|[12][0-9]|30)")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{0,63}[1-9])?")
_EXACT = Context(prec=200)


@dataclass(frozen=True)
class Kind:
    """``integer``, ``bit`` or ``fixed`` with ``fraction`` bits after the point."""

    name: str
    fraction: int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.fraction}" if self.name == "fixed" else self.name

    @property
    def numeric(self) -> bool:
        """Whether it is an integer or a fixed-point number: what is shared in the ring."""
        return self.name != "bit"


INTEGER = Kind("integer")
BIT = Kind("bit")


def fixed(fraction: int) -> Kind:
    """Fixed point; 1 to 30 fraction bits. Secrets have at most :data:`MAX_FRACTION`, public factors may have more."""
    if not 1 <= fraction <= MAX_FACTOR_FRACTION:
        raise ValueError(f"a fixed-point kind has 1 to {MAX_FACTOR_FRACTION} fraction bits")
    return Kind("fixed", fraction)


def parse_kind(text: object) -> Kind:
    """A kind from its text. Raises ValueError."""
    found = _KIND.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("a kind is integer, bit or fixed:<fraction bits>")
    return fixed(int(found[1])) if found[1] else Kind(found[0])


@dataclass(frozen=True)
class Type:
    """The shape and kind of an array; ``public`` for a constant, which every party knows."""

    shape: tuple[int, ...]
    kind: Kind
    public: bool = False

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def bytes_shared(self) -> int:
        """Bytes of one part of a sharing."""
        return self.size * (8 if self.kind.numeric else 1)


def check_shape(value: object) -> tuple[int, ...]:
    """A shape from a list of integers. Raises ValueError."""
    if (
        not isinstance(value, list | tuple)
        or len(value) > MAX_AXES
        or any(type(each) is not int or not 0 <= each <= MAX_SIZE for each in value)
    ):
        raise ValueError(f"a shape is a list of at most {MAX_AXES} natural numbers up to {MAX_SIZE}")
    if math.prod(value) > MAX_SIZE:
        raise ValueError(f"an array has at most {MAX_SIZE} elements")
    return tuple(value)


def encode(values: ArrayLike, kind: Kind) -> Ring:
    """Ring elements of numbers of a kind. Raises OutOfRange or TypeError."""
    if kind.name == "fixed":
        return FixedPoint(kind.fraction).encode(values)
    elements = encode_integers(values)
    if kind == BIT and np.any(elements > np.uint64(1)):
        raise ValueError("a bit is 0 or 1")
    return elements


def exact_text(element: int, fraction: int) -> str:
    """The decimal text of element / 2^fraction: exact, without exponent or needless zeros."""
    value = _EXACT.divide(Decimal(element), Decimal(1 << fraction)).normalize(_EXACT)
    return f"{value:f}" if value else "0"


def parse_exact(text: object, fraction: int) -> int:
    """The integer that :func:`exact_text` wrote. Raises ValueError for any other text, and beyond the range of secrets."""
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise ValueError("a number is written as a plain decimal text")
    scaled = Fraction(text) * (1 << fraction)
    if scaled.denominator != 1 or abs(scaled.numerator) >= MAGNITUDE or text == "-0":
        raise ValueError(f"{text} is not a number with {fraction} bits after the point")
    return scaled.numerator


def decimal_text(value: float) -> str:
    """The shortest plain decimal text that reads back as this float. Raises ValueError for NaN and infinities."""
    number = Decimal(repr(float(value)))
    if not number.is_finite():
        raise ValueError("a number is finite")
    text = f"{number.normalize(_EXACT):f}" if number else "0"
    return parse_decimal(text)


def parse_decimal(text: object) -> str:
    """A plain decimal text, checked. Raises ValueError."""
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text) or text == "-0":
        raise ValueError("a number is written as a plain decimal text of at most 20 digits before and 64 after the point")
    return text

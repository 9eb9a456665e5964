"""The secret array: an array that computes without being seen.

Kinds and results. An array is of integers, of fixed-point numbers, or of bits.

- ``+`` and ``-``, comparisons, ``maximum``: bits count as the integers 0 and 1; an integer with a fixed-point number gives fixed
  point.
- ``*`` and ``@``: integers times anything are exact and cost no truncation; fixed point times fixed point errs by at most one unit
  in the last place, 2^-fraction.
- ``*`` and ``/`` with a public number that is not whole: at most 1.6 units in the last place, for magnitudes below 2^44 units.
- ``/`` gives fixed point. Comparisons give bits, on which ``& | ^ ~`` work.
- Public operands are numbers and NumPy arrays; their dtype says which kind they are.

Range. Every secret stays below 2^62 units in the last place, 2^44 for 18 fraction bits, and so must an untruncated product of two:
the product of two fixed-point numbers stays below 2^26 there, and so does a sum of products inside ``@``. Inputs and results are
checked; what passes the range in between gives a wrong number, in this as in every engine of fixed point in a ring. Given bounds of
the inputs, :func:`~tallystick_node.engines.mpc.plan.ranges.overflows` names the steps of a plan that could, before it runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.array import operands
from tallystick_node.engines.mpc.array.indexing import normalised
from tallystick_node.engines.mpc.array.operators import bitwise, matrix_product, numeric, power, product, quotient, reshaped
from tallystick_node.engines.mpc.array.value import Value, apply, number, real
from tallystick_node.engines.mpc.plan.engine import Engine
from tallystick_node.engines.mpc.plan.kinds import BIT, INTEGER, Kind, Type, decimal_text
from tallystick_node.engines.mpc.plan.operation import ShapeMismatch

_CURRENT: ContextVar[Engine] = ContextVar("engine")


class SecretArray(Value):
    """An array of secrets of one kind. It is never changed in place, and nothing of it is seen but its shape and kind."""

    __hash__ = None  # type: ignore[assignment] # == gives a secret

    def __iter__(self) -> Iterator[SecretArray]:
        return (self[position] for position in range(len(self)))

    # -- operators

    def __add__(self, other: Any) -> SecretArray:
        return numeric("add", self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> SecretArray:
        return numeric("subtract", self, other)

    def __rsub__(self, other: Any) -> SecretArray:
        return numeric("subtract", self, other, swapped=True)

    def __mul__(self, other: Any) -> SecretArray:
        return product(self, other)

    __rmul__ = __mul__

    def __matmul__(self, other: Any) -> SecretArray:
        return matrix_product(self, other)

    def __rmatmul__(self, other: Any) -> SecretArray:
        return matrix_product(self, other, swapped=True)

    def __truediv__(self, other: Any) -> SecretArray:
        return quotient(self, other)

    def __rtruediv__(self, other: Any) -> SecretArray:
        return quotient(self, other, swapped=True)

    def __pow__(self, exponent: float) -> SecretArray:
        return power(self, exponent)

    def __neg__(self) -> SecretArray:
        return apply("negative", number(self))

    def __pos__(self) -> SecretArray:
        return self

    def __abs__(self) -> SecretArray:
        return apply("absolute", number(self))

    def __lt__(self, other: Any) -> SecretArray:
        return numeric("less", self, other)

    def __le__(self, other: Any) -> SecretArray:
        return numeric("less_equal", self, other)

    def __gt__(self, other: Any) -> SecretArray:
        return numeric("less", self, other, swapped=True)

    def __ge__(self, other: Any) -> SecretArray:
        return numeric("less_equal", self, other, swapped=True)

    def __eq__(self, other: object) -> SecretArray:  # type: ignore[override]
        return numeric("equal", self, other)

    def __ne__(self, other: object) -> SecretArray:  # type: ignore[override]
        return numeric("not_equal", self, other)

    def __and__(self, other: Any) -> SecretArray:
        return bitwise("and", self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> SecretArray:
        return bitwise("or", self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> SecretArray:
        return bitwise("xor", self, other)

    __rxor__ = __xor__

    def __invert__(self) -> SecretArray:
        return apply("not", self)

    # -- shape

    def __getitem__(self, index: Any) -> SecretArray:
        if any(isinstance(each, SecretArray) for each in (index if isinstance(index, tuple) else (index,))):
            raise TypeError("a secret is no index: use where(), or sort_by() to move what goes together")
        found = self
        for operation, attributes in normalised(index, self.shape):
            found = apply(operation, found, **attributes)
        return found

    @property
    def T(self) -> SecretArray:  # noqa: N802 - NumPy's name
        """The axes in reverse order."""
        return self.transpose()

    def transpose(self, *axes: Any) -> SecretArray:
        """The axes in another order; in reverse without arguments."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], Sequence) else axes
        chosen = [axis % self.ndim for axis in order] if order else list(range(self.ndim))[::-1]
        return self if chosen == list(range(self.ndim)) else apply("transpose", self, axes=chosen)

    def reshape(self, *shape: Any) -> SecretArray:
        """The same elements in another shape; one length may be -1."""
        wanted = list(shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape)
        if wanted.count(-1) == 1:
            rest = int(np.prod([each for each in wanted if each != -1], dtype=np.int64))
            if not rest or self.size % rest:
                raise ShapeMismatch(f"cannot reshape array of shape {self.shape} into shape {tuple(wanted)}")
            wanted[wanted.index(-1)] = self.size // rest
        return reshaped(self, tuple(wanted))

    def ravel(self) -> SecretArray:
        """All elements along one axis."""
        return self.reshape(self.size)

    flatten = ravel

    def astype(self, kind: Any) -> SecretArray:
        """``int`` from bits, ``float`` from bits and integers, ``bool`` from numbers (whether they are not 0)."""
        if kind is bool:
            return self if self.kind == BIT else self != 0
        if kind is int and self.kind.name == "fixed":
            raise TypeError("a fixed-point secret has no whole part without a computation: compare or clip instead")
        return number(self) if kind is int else real(self)

    # -- reductions

    def sum(self, axis: int | None = None) -> SecretArray:
        """The sum along an axis, or of all; of bits, how many are set."""
        return apply("sum", number(self), axis=_axis(axis, self))

    def mean(self, axis: int | None = None) -> SecretArray:
        """The arithmetic mean."""
        return apply("mean", real(self), axis=_axis(axis, self))

    def var(self, axis: int | None = None, ddof: int = 0) -> SecretArray:
        """The variance: the sum of squared deviations over their number less ``ddof``."""
        return apply("variance", real(self), axis=_axis(axis, self), ddof=ddof)

    def std(self, axis: int | None = None, ddof: int = 0) -> SecretArray:
        """The standard deviation."""
        return apply("square_root", self.var(axis, ddof))

    def min(self, axis: int | None = None) -> SecretArray:
        """The least."""
        return apply("amin", number(self), axis=_axis(axis, self))

    def max(self, axis: int | None = None) -> SecretArray:
        """The greatest."""
        return apply("amax", number(self), axis=_axis(axis, self))

    def argmin(self, axis: int | None = None) -> SecretArray:
        """The position of the least; of equal ones the first."""
        return apply("argmin", number(self), axis=_axis(axis, self))

    def argmax(self, axis: int | None = None) -> SecretArray:
        """The position of the greatest; of equal ones the first."""
        return apply("argmax", number(self), axis=_axis(axis, self))

    def cumsum(self, axis: int = 0) -> SecretArray:
        """Sums of the elements up to each."""
        return apply("cumulative_sum", number(self), axis=_axis(axis, self))

    def dot(self, other: Any) -> SecretArray:
        """``@``."""
        return matrix_product(self, other)

    def clip(self, low: float | None = None, high: float | None = None) -> SecretArray:
        """Held between public bounds."""
        array = number(self)
        if array.kind == INTEGER and any(isinstance(each, float) and each != int(each) for each in (low, high)):
            array = real(array)
        texts = [None if each is None else decimal_text(each) for each in (low, high)]
        return apply("clip", array, low=texts[0], high=texts[1])


# -- making and showing


@contextlib.contextmanager
def using(engine: Engine) -> Iterator[None]:
    """Let :func:`secret` make arrays of this engine."""
    token = _CURRENT.set(engine)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def secret(values: Any, owner: str, kind: Kind | None = None) -> SecretArray:
    """Secrets of one party, in the computation that is under way (see ``simulate``).

    Integers, truth values and other numbers of ``values`` become the kinds integer, bit and fixed point, unless ``kind`` says else.
    Raises OutOfRange for numbers that do not fit.
    """
    engine = _CURRENT.get(None)
    if engine is None or not hasattr(engine, "share"):
        raise RuntimeError("there is no computation under way: use `with simulate(...)`, or take arrays as a function's parameters")
    given = np.asarray(values)
    wanted = kind or operands.kind_of(given, engine.fraction)
    kept = Type(given.shape, wanted)
    return SecretArray(engine, engine.share(given, owner, kept), kept)


def reveal(array: SecretArray, to: Sequence[str] | None = None, name: str | None = None) -> Any:
    """Show an array to the parties of ``to``, None: to all, and to nobody else.

    In one process the numbers come back as a NumPy array. While a plan is recorded what comes back only stands for them, and
    ``name`` is what the receivers will find them under.
    """
    if isinstance(to, str):
        raise TypeError("name the receivers in a list: to=[...]")
    return array.engine.reveal(array.reference, array.type, to, name)


def _axis(axis: int | None, array: SecretArray) -> int | None:
    if axis is None:
        return None
    if not -array.ndim <= axis < array.ndim:
        raise ShapeMismatch(f"axis {axis} is out of bounds for an array of shape {array.shape}")
    return int(axis) % array.ndim

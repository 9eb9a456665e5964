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
checked; what passes the range in between gives a wrong number, in this as in every engine of fixed point in a ring.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np

from tallystick_node.engines.mpc.array import operands
from tallystick_node.engines.mpc.array.indexing import normalised
from tallystick_node.engines.mpc.plan.arithmetic import MAX_FACTOR
from tallystick_node.engines.mpc.plan.engine import Engine, Reference, infer
from tallystick_node.engines.mpc.plan.kinds import BIT, INTEGER, Kind, Type, decimal_text, fixed
from tallystick_node.engines.mpc.plan.operation import ShapeMismatch

_CURRENT: ContextVar[Engine] = ContextVar("engine")


class SecretArray:
    """An array of secrets of one kind. It is never changed in place, and nothing of it is seen but its shape and kind."""

    __array_ufunc__ = None  # NumPy leaves its operators to ours
    __hash__ = None  # type: ignore[assignment] # == gives a secret

    def __init__(self, engine: Engine, reference: Reference, given: Type) -> None:
        self.engine = engine
        self.reference = reference
        self.type = given

    # -- what is public

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.type.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.type.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.type.size

    @property
    def kind(self) -> Kind:
        """Integer, bit, or fixed point."""
        return self.type.kind

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[SecretArray]:
        return (self[position] for position in range(len(self)))

    def __repr__(self) -> str:
        return f"<secret {self.kind} of shape {self.shape}>"

    # -- what is not

    def _hidden(self, what: str = "") -> NoReturn:
        raise TypeError(f"the value is secret{what}: reveal() it, or choose with where(condition, yes, no)")

    def __bool__(self) -> bool:  # noqa: PLE0304 - it raises
        self._hidden(", so Python cannot branch on it")

    def __float__(self) -> float:
        self._hidden()

    def __int__(self) -> int:
        self._hidden()

    def __index__(self) -> int:  # noqa: PLE0305 - it raises
        self._hidden(", so it is no index")

    def __complex__(self) -> complex:
        self._hidden()

    def __array__(self, *_: Any, **__: Any) -> np.ndarray[Any, Any]:
        self._hidden(", so NumPy cannot take it; use the functions of this package")

    def __setitem__(self, *_: Any) -> None:
        raise TypeError("secret arrays do not change in place: use where() or concatenate()")

    # -- operators

    def __add__(self, other: Any) -> SecretArray:
        return _sum("add", self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> SecretArray:
        return _sum("subtract", self, other)

    def __rsub__(self, other: Any) -> SecretArray:
        return _sum("subtract", self, other, swapped=True)

    def __mul__(self, other: Any) -> SecretArray:
        return _product(self, other)

    __rmul__ = __mul__

    def __matmul__(self, other: Any) -> SecretArray:
        return _matrix_product(self, other)

    def __rmatmul__(self, other: Any) -> SecretArray:
        return _matrix_product(self, other, swapped=True)

    def __truediv__(self, other: Any) -> SecretArray:
        return _quotient(self, other)

    def __rtruediv__(self, other: Any) -> SecretArray:
        return _quotient(self, other, swapped=True)

    def __pow__(self, exponent: float) -> SecretArray:
        return _power(self, exponent)

    def __neg__(self) -> SecretArray:
        return apply("negative", number(self))

    def __pos__(self) -> SecretArray:
        return self

    def __abs__(self) -> SecretArray:
        return apply("absolute", number(self))

    def __lt__(self, other: Any) -> SecretArray:
        return _sum("less", self, other)

    def __le__(self, other: Any) -> SecretArray:
        return _sum("less_equal", self, other)

    def __gt__(self, other: Any) -> SecretArray:
        return _sum("less", self, other, swapped=True)

    def __ge__(self, other: Any) -> SecretArray:
        return _sum("less_equal", self, other, swapped=True)

    def __eq__(self, other: object) -> SecretArray:  # type: ignore[override]
        return _sum("equal", self, other)

    def __ne__(self, other: object) -> SecretArray:  # type: ignore[override]
        return _sum("not_equal", self, other)

    def __and__(self, other: Any) -> SecretArray:
        return _bits("and", self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> SecretArray:
        return _bits("or", self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> SecretArray:
        return _bits("xor", self, other)

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
        return self if tuple(wanted) == self.shape else apply("reshape", self, shape=wanted)

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
        return _matrix_product(self, other)

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


# -- steps


def apply(operation: str, *arrays: SecretArray, **attributes: Any) -> SecretArray:
    """The one result of an operation."""
    return apply_many(operation, *arrays, **attributes)[0]


def apply_many(operation: str, *arrays: SecretArray, **attributes: Any) -> tuple[SecretArray, ...]:
    """The results of an operation. Raises ShapeMismatch or KindMismatch, before anything is computed."""
    engine = arrays[0].engine
    if any(each.engine is not engine for each in arrays):
        raise ValueError("the arrays belong to different computations")
    operand_types = [each.type for each in arrays]
    read, types = infer(operation, operand_types, attributes)
    references = engine.apply(operation, [each.reference for each in arrays], read, operand_types, types)
    return tuple(SecretArray(engine, reference, found) for reference, found in zip(references, types, strict=True))


def constant(like: SecretArray, values: Any, kind: Kind) -> SecretArray:
    """Public values as an operand."""
    elements = operands.encoded(values, kind)
    return SecretArray(like.engine, like.engine.constant(elements, kind), Type(elements.shape, kind, public=True))


def number(array: SecretArray) -> SecretArray:
    """Bits as integers; numbers as they are."""
    return apply("cast", array, kind=str(INTEGER)) if array.kind == BIT else array


def real(array: SecretArray, fraction: int | None = None) -> SecretArray:
    """Fixed point, with at least ``fraction`` bits."""
    wanted = fixed(max(array.kind.fraction, fraction or 0) or array.engine.fraction)
    return array if array.kind == wanted else apply("cast", array, kind=str(wanted))


def _axis(axis: int | None, array: SecretArray) -> int | None:
    if axis is None:
        return None
    if not -array.ndim <= axis < array.ndim:
        raise ShapeMismatch(f"axis {axis} is out of bounds for an array of shape {array.shape}")
    return int(axis) % array.ndim


def together(*given: Any) -> list[SecretArray]:
    """Secrets and public values as arrays of one kind of numbers."""
    secrets = [number(each) for each in given if isinstance(each, SecretArray)]
    kinds = [each.kind for each in secrets]
    kinds += [operands.kind_of(np.asarray(each), 0) for each in given if not isinstance(each, SecretArray)]
    fraction = max(each.fraction for each in kinds)
    if any(each.name == "fixed" for each in kinds):
        fraction = fraction or secrets[0].engine.fraction
        secrets = [real(each, fraction) for each in secrets]
    found = iter(secrets)
    kind = secrets[0].kind
    return [next(found) if isinstance(each, SecretArray) else constant(secrets[0], each, kind) for each in given]


def _sum(operation: str, left: SecretArray, right: Any, *, swapped: bool = False) -> SecretArray:
    if operation in ("equal", "not_equal") and left.kind == BIT and operands.is_bits(right):
        different = _bits("xor", left, right)
        return different if operation == "not_equal" else ~different
    pair = together(left, right)
    return apply(operation, *(pair[::-1] if swapped else pair))


def _bits(operation: str, left: SecretArray, right: Any) -> SecretArray:
    if not isinstance(right, SecretArray):
        if not operands.is_bits(right):
            raise TypeError(f"{operation} takes bits: truth values, or the results of comparisons")
        right = constant(left, right, BIT)
    return apply(operation, left, right)


def _factor(left: SecretArray, right: Any) -> tuple[SecretArray, SecretArray]:
    """Both sides of a product, in kinds that a product takes."""
    if isinstance(right, SecretArray):
        left, right = number(left), number(right)
        if left.kind.fraction and right.kind.fraction:
            most = max(left.kind.fraction, right.kind.fraction)
            left, right = real(left, most), real(right, most)
        return left, right
    left, given = number(left), np.asarray(right)
    kind = operands.kind_of(given, left.kind.fraction or left.engine.fraction)
    if kind == BIT:
        return left, constant(left, given.astype(np.int64), INTEGER)
    if kind == INTEGER:
        return left, constant(left, given, INTEGER)
    if left.kind.fraction:
        kind = operands.factor_kind(given, kind)
    return left, constant(left, given, kind)


def _product(left: SecretArray, right: Any) -> SecretArray:
    if not isinstance(right, SecretArray) and np.ndim(right) == 0 and operands.kind_of(np.asarray(right), 1).name == "fixed":
        return _scaled(left, float(right))
    return apply("multiply", *_factor(left, right))


def _scaled(array: SecretArray, factor: float) -> SecretArray:
    if not math.isfinite(factor):
        raise ValueError("a public factor is finite")
    if factor == int(factor):
        return apply("multiply", *_factor(real(array), int(factor)))
    whole = int(factor) if abs(factor) >= MAX_FACTOR else 0
    rest = apply("scale", real(array), factor=decimal_text(factor - whole))
    return rest + _scaled(array, float(whole)) if whole else rest


def _matrix_product(left: SecretArray, right: Any, *, swapped: bool = False) -> SecretArray:
    first, second = (right, left) if swapped else (left, right)
    shapes = [np.shape(each) if not isinstance(each, SecretArray) else each.shape for each in (first, second)]
    if not shapes[0] or not shapes[1]:
        raise ShapeMismatch("a matrix product takes arrays with one or two axes; use * for numbers")
    lead, tail = shapes[0][:-1], shapes[1][1:]
    first = first if len(shapes[0]) > 1 else _reshaped(first, (1, *shapes[0]))
    second = second if len(shapes[1]) > 1 else _reshaped(second, (*shapes[1], 1))
    one, other = _factor(second, first) if swapped else _factor(first, second)
    return apply("matmul", *((other, one) if swapped else (one, other))).reshape(*lead, *tail)


def _reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    return array.reshape(*shape) if isinstance(array, SecretArray) else np.reshape(array, shape)


def _quotient(left: SecretArray, right: Any, *, swapped: bool = False) -> SecretArray:
    if swapped and np.ndim(right) == 0 and right == 1:
        return apply("reciprocal", real(left))
    if isinstance(right, SecretArray) or swapped:
        first, second = (constant(left, right, real(left).kind), real(left)) if swapped else (left, right)
        if not swapped:
            most = max(real(left).kind.fraction, real(right).kind.fraction)
            first, second = real(left, most), real(right, most)
        return apply("divide", first, second)
    divisor = np.asarray(right, np.float64)
    if np.any(divisor == 0):
        raise ZeroDivisionError("division by a public 0")
    return real(left) * (1 / divisor if divisor.ndim else float(1 / divisor))


def _power(array: SecretArray, exponent: float) -> SecretArray:
    if isinstance(exponent, SecretArray):
        raise TypeError("an exponent is public")
    whole = float(exponent) == int(exponent)
    if whole and exponent >= 1 and number(array).kind == INTEGER:
        result, base, left = None, number(array), int(exponent)
        while left:
            if left & 1:
                result = base if result is None else result * base
            left >>= 1
            base = base * base if left else base
        assert result is not None
        return result
    return apply("power", real(array), exponent=decimal_text(exponent))

"""Functions of secret arrays, under NumPy's names where NumPy has them. Plain numbers and arrays mix in."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.array import operands
from tallystick_node.engines.mpc.array.operators import together
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.array.value import apply, constant, number, real
from tallystick_node.engines.mpc.plan.kinds import BIT, INTEGER, decimal_text

# -- element by element


def where(condition: SecretArray, yes: Any, no: Any) -> SecretArray:
    """``yes`` where the secret bit is set, ``no`` elsewhere. Exact."""
    if condition.kind != BIT:
        raise TypeError(f"where() takes a secret bit as condition, not {condition.kind}: compare first")
    sides = [yes, no]
    if all(operands.is_bits(each) for each in sides):
        return apply("select", condition, *(_bits_like(condition, each) for each in sides))
    if not any(isinstance(each, SecretArray) for each in sides):
        kinds = [operands.kind_of(np.asarray(each), condition.engine.fraction) for each in sides]
        kind = next((each for each in kinds if each.name == "fixed"), INTEGER)
        return apply("select", condition, *(constant(condition, np.asarray(each) + 0, kind) for each in sides))
    return apply("select", condition, *together(SecretArray, *sides))


def _bits_like(like: SecretArray, value: Any) -> SecretArray:
    return value if isinstance(value, SecretArray) else constant(like, value, BIT)


def maximum(left: Any, right: Any) -> SecretArray:
    """The greater of two. Exact."""
    return apply("maximum", *together(SecretArray, left, right))


def minimum(left: Any, right: Any) -> SecretArray:
    """The lesser of two. Exact."""
    return apply("minimum", *together(SecretArray, left, right))


def absolute(x: SecretArray) -> SecretArray:
    """The magnitude. Exact."""
    return abs(x)


def sign(x: SecretArray) -> SecretArray:
    """-1, 0 or 1."""
    return apply("sign", number(x))


def relu(x: SecretArray) -> SecretArray:
    """The greater of x and 0. Exact."""
    return apply("relu", number(x))


def clip(x: SecretArray, low: float | None = None, high: float | None = None) -> SecretArray:
    """Held between public bounds."""
    return x.clip(low, high)


def square(x: SecretArray) -> SecretArray:
    """x times x."""
    return x * x


def power(x: SecretArray, exponent: float) -> SecretArray:
    """x to a public power."""
    return x**exponent


def polynomial(x: SecretArray, coefficients: Sequence[float]) -> SecretArray:
    """c[0] + c[1] x + c[2] x^2 ..., in few rounds."""
    return apply("polynomial", real(x), coefficients=[decimal_text(each) for each in coefficients])


def exp(x: SecretArray) -> SecretArray:
    """e^x; from e^16 on it saturates."""
    return apply("exp", real(x))


def log(x: SecretArray) -> SecretArray:
    """The natural logarithm; numbers of 0 or less count as one unit in the last place."""
    return apply("log", real(x))


def log1p(x: SecretArray) -> SecretArray:
    """log(1 + x)."""
    return apply("log1p", real(x))


def sqrt(x: SecretArray) -> SecretArray:
    """The square root; 0 below 0."""
    return apply("square_root", real(x))


def rsqrt(x: SecretArray) -> SecretArray:
    """1 / sqrt(x)."""
    return apply("inverse_square_root", real(x))


def sigmoid(x: SecretArray) -> SecretArray:
    """1 / (1 + e^-x), to within 1e-3."""
    return apply("sigmoid", real(x))


def tanh(x: SecretArray) -> SecretArray:
    """The hyperbolic tangent, to within 2e-3."""
    return apply("tanh", real(x))


def softmax(x: SecretArray, axis: int = -1) -> SecretArray:
    """e^x over its sum along an axis."""
    return apply("softmax", real(x), axis=_axis(axis, x))


def isin(x: SecretArray, values: Sequence[float]) -> SecretArray:
    """Whether each number is one of a public set, as bits."""
    return apply("is_in", number(x), values=[decimal_text(float(each)) for each in values])


def one_hot(x: SecretArray, size: int) -> SecretArray:
    """A last axis of ``size`` integers with a 1 at the place that x names."""
    return apply("one_hot", number(x), size=size)


def logical_and(left: Any, right: Any) -> SecretArray:
    """Both bits."""
    return left & right  # type: ignore[no-any-return]


def logical_or(left: Any, right: Any) -> SecretArray:
    """Either bit."""
    return left | right  # type: ignore[no-any-return]


def logical_xor(left: Any, right: Any) -> SecretArray:
    """One of both bits."""
    return left ^ right  # type: ignore[no-any-return]


def logical_not(x: SecretArray) -> SecretArray:
    """The bit inverted."""
    return ~x


# -- products, sums, moments


def matmul(left: Any, right: Any) -> SecretArray:
    """The matrix product."""
    return left @ right  # type: ignore[no-any-return]


dot = matmul


def sum(x: SecretArray, axis: int | None = None) -> SecretArray:  # noqa: A001 - NumPy's name
    """The sum along an axis, or of all."""
    return x.sum(axis)


def mean(x: SecretArray, axis: int | None = None) -> SecretArray:
    """The arithmetic mean."""
    return x.mean(axis)


def var(x: SecretArray, axis: int | None = None, ddof: int = 0) -> SecretArray:
    """The variance."""
    return x.var(axis, ddof)


def std(x: SecretArray, axis: int | None = None, ddof: int = 0) -> SecretArray:
    """The standard deviation."""
    return x.std(axis, ddof)


def cov(x: SecretArray, ddof: int = 1) -> SecretArray:
    """The covariance of each two columns. Unlike NumPy's, rows are observations."""
    return apply("covariance", real(x), ddof=ddof)


def corrcoef(x: SecretArray) -> SecretArray:
    """Pearson's correlation of each two columns. Unlike NumPy's, rows are observations."""
    return apply("correlation", real(x))


def argmax(x: SecretArray, axis: int | None = None) -> SecretArray:
    """The position of the greatest; of equal ones the first."""
    return x.argmax(axis)


def argmin(x: SecretArray, axis: int | None = None) -> SecretArray:
    """The position of the least; of equal ones the first."""
    return x.argmin(axis)


def cumsum(x: SecretArray, axis: int = 0) -> SecretArray:
    """Sums of the elements up to each."""
    return x.cumsum(axis)


# -- shape


def concatenate(arrays: Sequence[Any], axis: int = 0) -> SecretArray:
    """Arrays joined along an axis; bits with bits, else as numbers of one kind."""
    if all(operands.is_bits(each) for each in arrays):
        like = next(each for each in arrays if isinstance(each, SecretArray))
        joined = [_bits_like(like, each) for each in arrays]
    else:
        joined = together(SecretArray, *arrays)
    return apply("concatenate", *joined, axis=axis % builtins.max(1, len(joined[0].shape)))


def stack(arrays: Sequence[SecretArray], axis: int = 0) -> SecretArray:
    """Arrays of one shape joined along a new axis."""
    place = axis % (arrays[0].ndim + 1)
    grown = [each.reshape(*each.shape[:place], 1, *each.shape[place:]) for each in arrays]
    return concatenate(grown, place)


def column_stack(arrays: Sequence[SecretArray]) -> SecretArray:
    """Vectors and matrices side by side."""
    return concatenate([each.reshape(len(each), 1) if each.ndim == 1 else each for each in arrays], 1)


def reshape(x: SecretArray, *shape: Any) -> SecretArray:
    """The same elements in another shape."""
    return x.reshape(*shape)


def transpose(x: SecretArray, *axes: Any) -> SecretArray:
    """The axes in another order."""
    return x.transpose(*axes)


def broadcast_to(x: SecretArray, shape: Sequence[int]) -> SecretArray:
    """Repeated to a shape."""
    return x if tuple(shape) == x.shape else apply("broadcast", x, shape=list(shape))


def _axis(axis: int, x: SecretArray) -> int:
    return axis % builtins.max(1, x.ndim)

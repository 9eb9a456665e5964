"""Operators between secrets and secrets or public values: kinds are matched, then a step is done."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.array import operands
from tallystick_node.engines.mpc.array.value import Array, Value, apply, constant, number, real
from tallystick_node.engines.mpc.plan.arithmetic import MAX_FACTOR
from tallystick_node.engines.mpc.plan.kinds import BIT, INTEGER, decimal_text
from tallystick_node.engines.mpc.plan.operation import ShapeMismatch


def together(made: type[Array], *given: Any) -> list[Array]:
    """Secrets, which are ``made``, and public values as arrays of one kind of numbers."""
    secrets = [number(each) for each in given if isinstance(each, made)]
    kinds = [each.kind for each in secrets]
    kinds += [operands.kind_of(np.asarray(each), 0) for each in given if not isinstance(each, made)]
    fraction = max(each.fraction for each in kinds)
    if any(each.name == "fixed" for each in kinds):
        fraction = fraction or secrets[0].engine.fraction
        secrets = [real(each, fraction) for each in secrets]
    found = iter(secrets)
    kind = secrets[0].kind
    return [next(found) if isinstance(each, made) else constant(secrets[0], each, kind) for each in given]


def numeric(operation: str, left: Array, right: Any, *, swapped: bool = False) -> Array:
    """A step on two arrays of numbers of one kind; bits that are compared with bits stay bits."""
    if operation in ("equal", "not_equal") and left.kind == BIT and operands.is_bits(right):
        different = bitwise("xor", left, right)
        return different if operation == "not_equal" else apply("not", different)
    pair = together(type(left), left, right)
    return apply(operation, *(pair[::-1] if swapped else pair))


def bitwise(operation: str, left: Array, right: Any) -> Array:
    """A step on two arrays of bits. Raises TypeError for others."""
    if not isinstance(right, Value) and not operands.is_bits(right):
        raise TypeError(f"{operation} takes bits: truth values, or the results of comparisons")
    other: Array = right if isinstance(right, type(left)) else constant(left, right, BIT)
    return apply(operation, left, other)


def _factor(left: Array, right: Any) -> tuple[Array, Array]:
    """Both sides of a product, in kinds that a product takes."""
    if isinstance(right, type(left)):
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


def product(left: Array, right: Any) -> Array:
    """``*``."""
    if not isinstance(right, type(left)) and np.ndim(right) == 0 and operands.kind_of(np.asarray(right), 1).name == "fixed":
        return _scaled(left, float(right))
    return apply("multiply", *_factor(left, right))


def _scaled(array: Array, factor: float) -> Array:
    if not math.isfinite(factor):
        raise ValueError("a public factor is finite")
    if factor == int(factor):
        return apply("multiply", *_factor(real(array), int(factor)))
    whole = int(factor) if abs(factor) >= MAX_FACTOR else 0
    rest = apply("scale", real(array), factor=decimal_text(factor - whole))
    return numeric("add", rest, _scaled(array, float(whole))) if whole else rest


def matrix_product(left: Array, right: Any, *, swapped: bool = False) -> Array:
    """``@``."""
    first, second = (right, left) if swapped else (left, right)
    shapes = [np.shape(each) if not isinstance(each, Value) else each.shape for each in (first, second)]
    if not shapes[0] or not shapes[1]:
        raise ShapeMismatch("a matrix product takes arrays with one or two axes; use * for numbers")
    lead, tail = shapes[0][:-1], shapes[1][1:]
    first = first if len(shapes[0]) > 1 else _reshaped(first, (1, *shapes[0]))
    second = second if len(shapes[1]) > 1 else _reshaped(second, (*shapes[1], 1))
    one, other = _factor(second, first) if swapped else _factor(first, second)
    return reshaped(apply("matmul", *((other, one) if swapped else (one, other))), (*lead, *tail))


def reshaped(array: Array, shape: tuple[int, ...]) -> Array:
    """The same elements in another shape."""
    return array if array.shape == shape else apply("reshape", array, shape=list(shape))


def _reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    return reshaped(array, shape) if isinstance(array, Value) else np.reshape(array, shape)


def quotient(left: Array, right: Any, *, swapped: bool = False) -> Array:
    """``/``. Raises ZeroDivisionError for a public 0."""
    if swapped and np.ndim(right) == 0 and right == 1:
        return apply("reciprocal", real(left))
    if isinstance(right, type(left)) or swapped:
        first, second = (constant(left, right, real(left).kind), real(left)) if swapped else (left, right)
        if not swapped:
            most = max(real(left).kind.fraction, real(right).kind.fraction)
            first, second = real(left, most), real(right, most)
        return apply("divide", first, second)
    divisor = np.asarray(right, np.float64)
    if np.any(divisor == 0):
        raise ZeroDivisionError("division by a public 0")
    return product(real(left), 1 / divisor if divisor.ndim else float(1 / divisor))


def power(array: Array, exponent: float) -> Array:
    """``**``."""
    if isinstance(exponent, Value):
        raise TypeError("an exponent is public")
    whole = float(exponent) == int(exponent)
    if whole and exponent >= 1 and number(array).kind == INTEGER:
        result: Array | None = None
        base, left = number(array), int(exponent)
        while left:
            if left & 1:
                result = base if result is None else product(result, base)
            left >>= 1
            base = product(base, base) if left else base
        assert result is not None
        return result
    return apply("power", real(array), exponent=decimal_text(exponent))

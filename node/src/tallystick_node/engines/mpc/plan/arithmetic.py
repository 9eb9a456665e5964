"""Sums, products and changes of kind.

Kinds: sums take operands of one kind. A product of an integer with any number is exact and has the other's kind. A product of two
fixed-point secrets of one kind has that kind, and so has a product with a public fixed-point factor of any kind; each costs one
truncation, whose error is at most one unit in the last place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.mpc.functions import divide, select
from tallystick_node.engines.mpc.plan.kinds import BIT, INTEGER, MAX_FRACTION, Kind, Type, parse_kind
from tallystick_node.engines.mpc.plan.operation import (
    DECIMAL,
    Attributes,
    Rule,
    ShapeMismatch,
    Value,
    broadcast_shape,
    define,
    kind,
    numeric,
    require,
    secret,
)
from tallystick_node.engines.mpc.protocol import Protocol, Shares

MAX_FACTOR = 1 << 16


def _sum_rule(name: str) -> Rule:
    def rule(types: Sequence[Type], _: Attributes) -> list[Type]:
        return [Type(broadcast_shape(*types), numeric(name, *types))]

    return rule


def _add(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], _: Attributes) -> list[Value]:
    shape = broadcast_shape(*types)
    return [secret(protocol, values[0], shape) + secret(protocol, values[1], shape)]


def _subtract(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], _: Attributes) -> list[Value]:
    shape = broadcast_shape(*types)
    return [secret(protocol, values[0], shape) - secret(protocol, values[1], shape)]


def product_kind(name: str, left: Type, right: Type) -> tuple[Kind, int]:
    """The kind of a product, and by how many bits it is truncated. Raises KindMismatch."""
    require(left.kind.numeric and right.kind.numeric, name, "numbers", left, right)
    if left.kind.fraction == 0 or right.kind.fraction == 0:
        return (left.kind if right.kind.fraction == 0 else right.kind), 0
    if left.public:
        left, right = right, left
    require(right.public or left.kind == right.kind, name, "fixed-point secrets of one kind", left, right)
    return left.kind, right.kind.fraction


def _product_rule(types: Sequence[Type], _: Attributes) -> list[Type]:
    return [Type(broadcast_shape(*types), product_kind("multiply", *types)[0])]


def _multiply(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], _: Attributes) -> list[Value]:
    shape = broadcast_shape(*types)
    bits = product_kind("multiply", *types)[1]
    left, right = values if isinstance(values[0], Shares) else reversed(values)
    if isinstance(right, Shares):
        left, right = secret(protocol, left, shape), secret(protocol, right, shape)
        return [protocol.multiply_fixed(left, right, bits) if bits else protocol.multiply(left, right)]
    scaled = secret(protocol, left, shape).scaled(np.broadcast_to(np.asarray(right), shape))
    return [protocol.truncate(scaled, bits) if bits else scaled]


def _matmul_rule(types: Sequence[Type], _: Attributes) -> list[Type]:
    left, right = types
    if len(left.shape) != 2 or len(right.shape) != 2 or left.shape[1] != right.shape[0]:
        raise ShapeMismatch(f"matrices of shapes {left.shape} and {right.shape} have no product: the inner lengths must be equal")
    return [Type((left.shape[0], right.shape[1]), product_kind("matmul", left, right)[0])]


def _matmul(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], _: Attributes) -> list[Value]:
    bits = product_kind("matmul", *types)[1]
    left, right = values
    if isinstance(left, Shares) and isinstance(right, Shares):
        return [protocol.matmul_fixed(left, right, bits) if bits else protocol.matmul(left, right)]
    if isinstance(left, Shares):
        factor = np.asarray(right)
        found = left.map(lambda part: part @ factor)
    else:
        factor = np.asarray(left)
        found = secret(protocol, right).map(lambda part: factor @ part)
    return [protocol.truncate(found, bits) if bits else found]


def _scale_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    require(types[0].kind.name == "fixed", "scale", "fixed-point numbers", types[0])
    if abs(float(attributes["factor"])) >= MAX_FACTOR:
        raise ValueError(f"a factor that is not whole is below {MAX_FACTOR}")
    return [Type(types[0].shape, types[0].kind)]


def _scale(protocol: Protocol, values: Sequence[Value], _: Sequence[Type], attributes: Attributes) -> list[Value]:
    return [divide.scale(protocol, secret(protocol, values[0]), factor=float(attributes["factor"]))]


def _cast_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    target = parse_kind(attributes["kind"])
    given = types[0].kind
    require(
        target.numeric and target.fraction <= MAX_FRACTION and given != target and (target != INTEGER or given == BIT),
        f"a change to {target}",
        "bits, and for fixed point integers and other fixed-point numbers",
        types[0],
    )
    return [Type(types[0].shape, target)]


def _cast(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], attributes: Attributes) -> list[Value]:
    fraction, given = parse_kind(attributes["kind"]).fraction, types[0].kind
    if given == BIT:
        return [select.lift(protocol, secret(protocol, values[0]), fraction=fraction)]
    more = fraction - given.fraction
    number = secret(protocol, values[0])
    return [number.scaled(np.uint64(1 << more)) if more > 0 else protocol.truncate(number, -more)]


def _negative_rule(types: Sequence[Type], _: Attributes) -> list[Type]:
    return [Type(types[0].shape, numeric("negative", types[0]))]


define("add", 2, _sum_rule("add"), _add)
define("subtract", 2, _sum_rule("subtract"), _subtract)
define("negative", 1, _negative_rule, lambda protocol, values, _types, _attributes: [-secret(protocol, values[0])])
define("multiply", 2, _product_rule, _multiply)
define("matmul", 2, _matmul_rule, _matmul)
define("scale", 1, _scale_rule, _scale, factor=DECIMAL)
define("cast", 1, _cast_rule, _cast, kind=kind)

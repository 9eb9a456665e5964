"""Comparisons, choices and bits, element by element with NumPy's broadcasting. All of them are exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tallystick_node.engines.mpc.functions import compare, select
from tallystick_node.engines.mpc.plan.kinds import BIT, INTEGER, Type
from tallystick_node.engines.mpc.plan.operation import (
    DECIMAL,
    Attributes,
    Value,
    bits_only,
    broadcast_shape,
    decimals,
    define,
    integer,
    numeric,
    optional,
    require,
    secret,
)
from tallystick_node.engines.mpc.protocol import Protocol

MAX_MEMBERS = 4096


def _compare(name: str, function: Callable[..., Any]) -> None:
    def rule(types: Sequence[Type], _: Attributes) -> list[Type]:
        shape = broadcast_shape(*types)
        numeric(name, *types)
        return [Type(shape, BIT)]

    _define_elementwise(name, 2, rule, function)


def _arithmetic(name: str, operands: int, function: Callable[..., Any], *, scaled: bool = False) -> None:
    def rule(types: Sequence[Type], _: Attributes) -> list[Type]:
        shape = broadcast_shape(*types)
        return [Type(shape, numeric(name, *types))]

    _define_elementwise(name, operands, rule, function, scaled=scaled)


def _bitwise(name: str, operands: int, function: Callable[..., Any]) -> None:
    def rule(types: Sequence[Type], _: Attributes) -> list[Type]:
        shape = broadcast_shape(*types)
        return [Type(shape, bits_only(name, *types))]

    _define_elementwise(name, operands, rule, function)


def _define_elementwise(name: str, operands: int, rule: Any, function: Callable[..., Any], *, scaled: bool = False) -> None:
    def step(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], _: Attributes) -> list[Value]:
        shape = broadcast_shape(*types)
        attributes = {"fraction": types[0].kind.fraction} if scaled else {}
        return [function(protocol, *(secret(protocol, value, shape) for value in values), **attributes)]

    define(name, operands, rule, step)


def _select_rule(types: Sequence[Type], _: Attributes) -> list[Type]:
    require(types[0].kind == BIT, "select", "a bit and two numbers of one kind", *types)
    kind = types[1].kind
    require(types[2].kind == kind, "select", "a bit and two arrays of one kind", *types)
    return [Type(broadcast_shape(*types), kind)]


def _select(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], _: Attributes) -> list[Value]:
    shape = broadcast_shape(*types)
    condition, yes, no = (secret(protocol, value, shape) for value in values)
    if types[1].kind == BIT:
        return [no ^ protocol.and_(condition, yes ^ no)]
    return [select.select(protocol, condition, yes, no)]


def _clip_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    kind = numeric("clip", types[0])
    bounds = [attributes["low"], attributes["high"]]
    if kind == INTEGER and any(bound is not None and "." in bound for bound in bounds):
        raise ValueError("integers are clipped at integers")
    if None not in bounds and float(bounds[0]) > float(bounds[1]):
        raise ValueError("the lower bound is above the upper one")
    return [Type(types[0].shape, kind)]


def _clip(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], attributes: Attributes) -> list[Value]:
    low, high = (None if each is None else float(each) for each in (attributes["low"], attributes["high"]))
    return [select.clip(protocol, secret(protocol, values[0]), low=low, high=high, fraction=types[0].kind.fraction)]


def _is_in_rule(types: Sequence[Type], _: Attributes) -> list[Type]:
    numeric("is_in", types[0])
    return [Type(types[0].shape, BIT)]


def _is_in(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], attributes: Attributes) -> list[Value]:
    members = [float(each) for each in attributes["values"]]
    return [compare.is_in(protocol, secret(protocol, values[0]), values=members, fraction=types[0].kind.fraction)]


def _one_hot_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    require(types[0].kind == INTEGER, "one_hot", "integers", types[0])
    return [Type((*types[0].shape, attributes["size"]), INTEGER)]


def _one_hot(protocol: Protocol, values: Sequence[Value], _: Sequence[Type], attributes: Attributes) -> list[Value]:
    return [compare.one_hot(protocol, secret(protocol, values[0]), size=attributes["size"])]


for _name in ("less", "less_equal", "equal", "not_equal"):
    _compare(_name, getattr(compare, _name))
for _name, _operands in (("absolute", 1), ("relu", 1), ("maximum", 2), ("minimum", 2)):
    _arithmetic(_name, _operands, getattr(select, _name))
_arithmetic("sign", 1, select.sign, scaled=True)
_bitwise("and", 2, lambda protocol, left, right: protocol.and_(left, right))
_bitwise("or", 2, select.or_)
_bitwise("xor", 2, lambda _protocol, left, right: left ^ right)
_bitwise("not", 1, lambda protocol, bits: protocol.not_(bits))
define("select", 3, _select_rule, _select)
define("clip", 1, _clip_rule, _clip, low=optional(DECIMAL), high=optional(DECIMAL))
define("is_in", 1, _is_in_rule, _is_in, values=decimals(1, MAX_MEMBERS))
define("one_hot", 1, _one_hot_rule, _one_hot, size=integer(1, MAX_MEMBERS))

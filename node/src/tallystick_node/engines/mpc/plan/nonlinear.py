"""Functions of fixed-point numbers: quotients, roots, exponentials. Their domains and error bounds stand with each function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tallystick_node.engines.mpc.functions import divide, exponential, polynomial, root, sigmoid
from tallystick_node.engines.mpc.plan.kinds import Type
from tallystick_node.engines.mpc.plan.operation import (
    DECIMAL,
    Attributes,
    Value,
    broadcast_shape,
    decimals,
    define,
    fixed_only,
    integer,
    nonempty,
    pad_axis,
    secret,
)
from tallystick_node.engines.mpc.protocol import Protocol

MAX_COEFFICIENTS = 32


def _define(name: str, operands: int, function: Callable[..., Any], **readers: Callable[[Any], Any]) -> None:
    def rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
        shape = broadcast_shape(*types)
        kind = fixed_only(name, *types)
        if "axis" in attributes:
            nonempty(name, types[0], pad_axis(attributes["axis"], types[0]))
        return [Type(shape, kind)]

    def step(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], attributes: Attributes) -> list[Value]:
        shape = broadcast_shape(*types)
        arrays = [secret(protocol, value, shape) for value in values]
        return [function(protocol, *arrays, fraction=types[0].kind.fraction, **{k: _number(v) for k, v in attributes.items()})]

    define(name, operands, rule, step, **readers)


def _number(attribute: Any) -> Any:
    if isinstance(attribute, str):
        return float(attribute)
    return [float(each) for each in attribute] if isinstance(attribute, list) else attribute


_define("divide", 2, divide.divide)
_define("reciprocal", 1, divide.reciprocal)
_define("square_root", 1, root.square_root)
_define("inverse_square_root", 1, root.inverse_square_root)
_define("exp", 1, exponential.exp)
_define("log", 1, exponential.log)
_define("log1p", 1, exponential.log1p)
_define("softmax", 1, exponential.softmax, axis=integer(0, 7))
_define("sigmoid", 1, sigmoid.sigmoid)
_define("tanh", 1, sigmoid.tanh)
_define("power", 1, polynomial.power, exponent=DECIMAL)
_define("polynomial", 1, polynomial.polynomial, coefficients=decimals(1, MAX_COEFFICIENTS))

"""Sorting and what rests on it, of vectors of integers or fixed-point numbers; rows of other arrays move along with the keys.

``bits`` bounds the keys' magnitudes: below 2^bits units in the last place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tallystick_node.engines.mpc.functions import order, sort
from tallystick_node.engines.mpc.plan.kinds import INTEGER, Type
from tallystick_node.engines.mpc.plan.operation import (
    BITS,
    Attributes,
    ShapeMismatch,
    Value,
    boolean,
    decimals,
    define,
    integer,
    nonempty,
    numeric,
    require,
    secret,
)
from tallystick_node.engines.mpc.protocol import Protocol

MAX_PAYLOAD = 256


def _vector(name: str, types: Type) -> None:
    numeric(name, types)
    if len(types.shape) != 1:
        raise ShapeMismatch(f"{name} takes an array with one axis, not of shape {types.shape}")


def _rows(name: str, types: Sequence[Type]) -> None:
    _vector(name, types[0])
    require(all(each.kind.numeric for each in types), name, "numbers", *types)
    if any(each.shape[:1] != types[0].shape for each in types):
        shapes = ", ".join(str(each.shape) for each in types)
        raise ShapeMismatch(f"{name} takes keys and rows of one length, not shapes {shapes}")


def _same_rule(name: str) -> Callable[[Sequence[Type], Attributes], list[Type]]:
    def rule(types: Sequence[Type], _: Attributes) -> list[Type]:
        _rows(name, types)
        return [Type(each.shape, each.kind) for each in types]

    return rule


def _place_rule(name: str) -> Callable[[Sequence[Type], Attributes], list[Type]]:
    def rule(types: Sequence[Type], _: Attributes) -> list[Type]:
        _vector(name, types[0])
        return [Type(types[0].shape, INTEGER)]

    return rule


def _top_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    _rows("top_k", types)
    if attributes["k"] > types[0].shape[0]:
        raise ShapeMismatch(f"there are {types[0].shape[0]} numbers to choose {attributes['k']} from")
    return [Type((attributes["k"], *each.shape[1:]), each.kind) for each in types]


def _quantile_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    kind = numeric("quantile", types[0])
    if len(types[0].shape) not in {1, 2}:
        raise ShapeMismatch(f"quantile takes a vector or the columns of a matrix, not shape {types[0].shape}")
    nonempty("quantile", types[0], 0)
    require(kind != INTEGER, "quantile", "fixed-point numbers", types[0])
    if any(not 0 <= float(each) <= 1 for each in attributes["q"]):
        raise ValueError("a quantile is between 0 and 1")
    return [Type((len(attributes["q"]), *types[0].shape[1:]), kind)]


def _step(function: Callable[..., Any]) -> Any:
    def step(protocol: Protocol, values: Sequence[Value], _: Sequence[Type], attributes: Attributes) -> list[Value]:
        found = function(protocol, *(secret(protocol, value) for value in values), **attributes)
        return list(found) if isinstance(found, tuple) else [found]

    return step


def _quantile(protocol: Protocol, values: Sequence[Value], _: Sequence[Type], attributes: Attributes) -> list[Value]:
    wanted = [float(each) for each in attributes["q"]]
    return [order.quantile(protocol, secret(protocol, values[0]), q=wanted, bits=attributes["bits"])]


define("sort", (1, MAX_PAYLOAD), _same_rule("sort"), _step(sort.sort_by), bits=BITS, descending=boolean)
define("argsort", 1, _place_rule("argsort"), _step(sort.argsort), bits=BITS, descending=boolean)
define("rank", 1, _place_rule("rank"), _step(order.rank), bits=BITS)
define("top_k", (1, MAX_PAYLOAD), _top_rule, _step(order.top_k), k=integer(0, 1 << 27), bits=BITS, largest=boolean)
define("quantile", 1, _quantile_rule, _quantile, q=decimals(1, 4096), bits=BITS)

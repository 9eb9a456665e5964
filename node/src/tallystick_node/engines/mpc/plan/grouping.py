"""Aggregation by secret or public keys: see :mod:`tallystick_node.engines.mpc.functions.group`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tallystick_node.engines.mpc.functions import group
from tallystick_node.engines.mpc.plan.kinds import INTEGER, Type
from tallystick_node.engines.mpc.plan.operation import (
    BITS,
    Attributes,
    ShapeMismatch,
    Value,
    define,
    integer,
    numeric,
    optional,
    require,
    secret,
)
from tallystick_node.engines.mpc.protocol import Protocol

MAX_VALUES = 256
MAX_DOMAIN = 1 << 16


def _vectors(name: str, types: Sequence[Type]) -> None:
    for each in types:
        numeric(name, each)
    if len(types[0].shape) != 1 or any(each.shape != types[0].shape for each in types):
        shapes = ", ".join(str(each.shape) for each in types)
        raise ShapeMismatch(f"{name} takes vectors of one length, not shapes {shapes}")


def _limited(types: Sequence[Type], attributes: Attributes) -> tuple[int, ...]:
    rows, limit = types[0].shape[0], attributes["limit"]
    return (rows if limit is None else min(limit, rows),)


def _sums_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    _vectors("group_sums", types)
    shape = _limited(types, attributes)
    sums = [Type(shape, each.kind) for each in types[1:]]
    return [Type((), INTEGER), Type(shape, types[0].kind), Type(shape, INTEGER), *sums]


def _extremes_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    _vectors("group_extremes", types)
    shape = _limited(types, attributes)
    return [Type((), INTEGER), Type(shape, types[0].kind), Type(shape, types[1].kind), Type(shape, types[1].kind)]


def _public_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    _vectors("group_public", types)
    require(types[0].kind == INTEGER, "group_public", "integer keys", types[0])
    shape = (attributes["size"],)
    return [Type(shape, INTEGER), *(Type(shape, each.kind) for each in types[1:])]


def _step(function: Callable[..., Any]) -> Any:
    def step(protocol: Protocol, values: Sequence[Value], _: Sequence[Type], attributes: Attributes) -> list[Value]:
        return list(function(protocol, *(secret(protocol, value) for value in values), **attributes))

    return step


_LIMIT = optional(integer(1, 1 << 27))
define("group_sums", (1, MAX_VALUES), _sums_rule, _step(group.group_sums), limit=_LIMIT, bits=BITS)
define("group_extremes", 2, _extremes_rule, _step(group.group_extremes), limit=_LIMIT, bits=BITS)
define("group_public", (1, MAX_VALUES), _public_rule, _step(group.group_public), size=integer(1, MAX_DOMAIN))

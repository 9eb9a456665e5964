"""Sums, extremes and moments along an axis, or of all elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.functions import extreme, moments
from tallystick_node.engines.mpc.plan.kinds import INTEGER, Type
from tallystick_node.engines.mpc.plan.operation import (
    AXIS,
    Attributes,
    Rule,
    ShapeMismatch,
    Value,
    define,
    fixed_only,
    integer,
    nonempty,
    numeric,
    pad_axis,
    secret,
    without_axis,
)
from tallystick_node.engines.mpc.protocol import Protocol


def _sum_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    return [Type(without_axis(types[0], attributes["axis"]), numeric("sum", types[0]))]


def _cumulative_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    pad_axis(attributes["axis"], types[0])
    return [Type(types[0].shape, numeric("cumulative_sum", types[0]))]


def _sum(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], attributes: Attributes) -> list[Value]:
    axis, empty = attributes["axis"], protocol.session.store.empty
    shape = without_axis(types[0], axis)
    return [secret(protocol, values[0]).map(lambda part: np.sum(part, axis, np.uint64, empty(shape)))]


def _cumulative(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], attributes: Attributes) -> list[Value]:
    axis, empty = attributes["axis"], protocol.session.store.empty
    return [secret(protocol, values[0]).map(lambda part: np.cumsum(part, axis, np.uint64, empty(types[0].shape)))]


def _define(name: str, function: Callable[..., Any], *, place: bool = False) -> None:
    def rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
        nonempty(name, types[0], attributes["axis"])
        kind = numeric(name, types[0])
        return [Type(without_axis(types[0], attributes["axis"]), INTEGER if place else kind)]

    def step(protocol: Protocol, values: Sequence[Value], _: Sequence[Type], attributes: Attributes) -> list[Value]:
        return [function(protocol, secret(protocol, values[0]), axis=attributes["axis"])]

    define(name, 1, rule, step, axis=AXIS)


define("sum", 1, _sum_rule, _sum, axis=AXIS)
define("cumulative_sum", 1, _cumulative_rule, _cumulative, axis=integer(0, 7))
_define("amax", extreme.amax)
_define("amin", extreme.amin)
_define("argmax", extreme.argmax, place=True)
_define("argmin", extreme.argmin, place=True)


def _matrix_rule(name: str, divisor: str | None) -> Rule:
    def rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
        kind = fixed_only(name, types[0])
        if len(types[0].shape) != 2:
            raise ShapeMismatch(f"{name} takes a matrix with a row for each observation, not shape {types[0].shape}")
        _observations(name, types[0].shape[0], attributes[divisor] if divisor else 0)
        return [Type((types[0].shape[1], types[0].shape[1]), kind)]

    return rule


def _observations(name: str, count: int, ddof: int) -> None:
    if count <= ddof:
        raise ShapeMismatch(f"{name} of {count} numbers with ddof {ddof} does not exist")


def _mean_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    nonempty("mean", types[0], attributes["axis"])
    return [Type(without_axis(types[0], attributes["axis"]), fixed_only("mean", types[0]))]


def _variance_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    axis = attributes["axis"]
    shape, kind = without_axis(types[0], axis), fixed_only("variance", types[0])
    _observations("variance", types[0].size if axis is None else types[0].shape[axis], attributes["ddof"])
    return [Type(shape, kind)]


def _moments(function: Callable[..., Any], *, scaled: bool) -> Any:
    def step(protocol: Protocol, values: Sequence[Value], types: Sequence[Type], attributes: Attributes) -> list[Value]:
        more = {"fraction": types[0].kind.fraction} if scaled else {}
        return [function(protocol, secret(protocol, values[0]), **attributes, **more)]

    return step


_DDOF = integer(0, 1 << 20)
define("mean", 1, _mean_rule, _moments(moments.mean, scaled=False), axis=AXIS)
define("variance", 1, _variance_rule, _moments(moments.variance, scaled=True), axis=AXIS, ddof=_DDOF)
define("covariance", 1, _matrix_rule("covariance", "ddof"), _moments(moments.covariance, scaled=True), ddof=_DDOF)
define("correlation", 1, _matrix_rule("correlation", None), _moments(moments.correlation, scaled=True))

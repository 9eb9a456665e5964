"""Circuits of two unsigned words, made once for each width: what Yao's protocol and its conversions are asked for most."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from tallystick_node.engines.garbling.builder import Builder, Word
from tallystick_node.engines.garbling.circuit import Circuit


@cache
def adder(width: int) -> Circuit:
    """left + right modulo 2^width: width - 1 ANDs."""
    return _of_two(width, lambda builder, left, right: builder.add(left, right))


@cache
def subtractor(width: int) -> Circuit:
    """left - right modulo 2^width: width - 1 ANDs."""
    return _of_two(width, lambda builder, left, right: builder.subtract(left, right))


@cache
def multiplier(width: int) -> Circuit:
    """left * right modulo 2^width: about width^2 ANDs."""
    return _of_two(width, lambda builder, left, right: builder.multiply(left, right))


@cache
def comparator(width: int) -> Circuit:
    """One bit: left < right. ``width`` ANDs."""
    return _of_two(width, lambda builder, left, right: [builder.less(left, right)])


@cache
def equality(width: int) -> Circuit:
    """One bit: left = right. width - 1 ANDs."""
    return _of_two(width, lambda builder, left, right: [builder.equal(left, right)])


def _of_two(width: int, formula: Callable[[Builder, Word, Word], Word]) -> Circuit:
    builder = Builder()
    left, right = builder.input(width), builder.input(width)
    builder.output(formula(builder, left, right))
    return builder.build()

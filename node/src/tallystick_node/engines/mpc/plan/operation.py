"""What an operation of a plan is: its public attributes, the rule for its results' shapes and kinds, and how a protocol does it.

One table (:data:`OPERATIONS`) serves tracing, parsing, prediction and running, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.plan.kinds import BIT, MAX_FRACTION, Kind, Type, check_shape, parse_decimal, parse_kind
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares, Words

Value = Shares | Binary | Words  # of a secret number, a secret bit, a public constant
Attributes = Mapping[str, Any]
Rule = Callable[[Sequence[Type], Attributes], Sequence[Type]]
Step = Callable[[Protocol, Sequence[Value], Sequence[Type], Attributes], Sequence[Value]]
Reader = Callable[[Any], Any]


class ShapeMismatch(ValueError):  # noqa: N818 - the words of NumPy's users
    """The shapes of an operation's operands do not go together. The message names them."""


class KindMismatch(TypeError):  # noqa: N818 - as above
    """The kinds of an operation's operands do not go together. The message names them."""


@dataclass(frozen=True)
class Operation:
    """``operands`` is how few and how many it takes; ``attributes`` maps each public attribute, all required, to its reader."""

    name: str
    operands: tuple[int, int]
    infer: Rule
    run: Step
    attributes: Mapping[str, Reader]

    def types(self, operands: Sequence[Type], attributes: Attributes) -> tuple[Type, ...]:
        """The types of the results. Raises ShapeMismatch, KindMismatch or ValueError."""
        low, high = self.operands
        if not low <= len(operands) <= high:
            raise ValueError(f"{self.name} takes {low} operands" if low == high else f"{self.name} takes {low} to {high} operands")
        if operands and all(each.public for each in operands):
            raise KindMismatch(f"{self.name} of constants only: compute it before")
        results = tuple(self.infer(operands, attributes))
        for each in results:
            check_shape(each.shape)
            if each.kind.fraction > MAX_FRACTION:
                raise KindMismatch(f"{self.name} would give {each.kind}: secrets have at most {MAX_FRACTION} fraction bits")
        return results

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes, checked and complete. Raises ValueError."""
        if given.keys() != self.attributes.keys():
            raise ValueError(f"{self.name} has the attributes {', '.join(self.attributes) or 'none'}")
        return {name: reader(given[name]) for name, reader in self.attributes.items()}


OPERATIONS: dict[str, Operation] = {}


def define(name: str, operands: int | tuple[int, int], infer: Rule, run: Step, **attributes: Reader) -> None:
    """Add an operation to the table."""
    bounds = (operands, operands) if isinstance(operands, int) else operands
    OPERATIONS[name] = Operation(name, bounds, infer, run, attributes)


# -- readers of attributes: they take what JSON holds, and answer it in its one form


def integer(low: int, high: int) -> Reader:
    """An integer in bounds."""

    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"an attribute must be an integer from {low} to {high}")
        return value

    return read


def boolean(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("an attribute must be true or false")
    return value


def decimals(low: int, high: int) -> Reader:
    """A list of plain decimal texts."""

    def read(value: Any) -> list[str]:
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise ValueError(f"an attribute must be a list of {low} to {high} decimal texts")
        return [parse_decimal(each) for each in value]

    return read


def optional(reader: Reader) -> Reader:
    """What ``reader`` reads, or None."""
    return lambda value: None if value is None else reader(value)


def shape(value: Any) -> list[int]:
    """A shape."""
    return list(check_shape(value))


def kind(value: Any) -> str:
    """A kind's text."""
    return str(parse_kind(value))


AXIS = optional(integer(0, 7))
DECIMAL: Reader = parse_decimal
BITS = integer(1, 62)  # magnitudes that an ordering takes: below 2^bits units in the last place


# -- rules and steps that many operations share


def broadcast_shape(*types: Type) -> tuple[int, ...]:
    """NumPy's rule. Raises ShapeMismatch naming the shapes."""
    try:
        return np.broadcast_shapes(*(each.shape for each in types))
    except ValueError:
        shapes = " ".join(str(each.shape) for each in types)
        raise ShapeMismatch(f"operands could not be broadcast together with shapes {shapes}") from None


def require(condition: bool, name: str, rule: str, *types: Type) -> None:  # noqa: FBT001 - a condition
    """Raise KindMismatch unless the condition holds."""
    if not condition:
        raise KindMismatch(f"{name} takes {rule}, not {' and '.join(str(each.kind) for each in types)}")


def numeric(name: str, *types: Type) -> Kind:
    """The one kind of numbers that all operands have. Raises KindMismatch."""
    require(all(each.kind == types[0].kind and each.kind.numeric for each in types), name, "numbers of one kind", *types)
    return types[0].kind


def fixed_only(name: str, *types: Type) -> Kind:
    """The one fixed-point kind that all operands have. Raises KindMismatch."""
    require(all(each.kind == types[0].kind and each.kind.name == "fixed" for each in types), name, "fixed-point numbers", *types)
    return types[0].kind


def bits_only(name: str, *types: Type) -> Kind:
    """All operands are bits. Raises KindMismatch."""
    require(all(each.kind == BIT for each in types), name, "bits", *types)
    return BIT


def secret(protocol: Protocol, value: Value, target: tuple[int, ...] | None = None) -> Any:
    """A value as shares, broadcast to a shape: a constant becomes a trivial sharing."""
    if isinstance(value, np.ndarray):
        value = protocol.public_binary(value, 1) if value.dtype == np.uint8 else protocol.public(value)
    if target is None or value.shape == target:
        return value
    return value.map(lambda part: np.ascontiguousarray(np.broadcast_to(part, target)))


def pad_axis(axis: int, types: Type) -> int:
    """An axis within the array's. Raises ValueError."""
    if axis >= len(types.shape):
        raise ShapeMismatch(f"axis {axis} is out of bounds for an array of shape {types.shape}")
    return axis


def without_axis(types: Type, axis: int | None) -> tuple[int, ...]:
    """The shape after a reduction."""
    if axis is None:
        return ()
    pad_axis(axis, types)
    return types.shape[:axis] + types.shape[axis + 1 :]


def nonempty(name: str, types: Type, axis: int | None) -> None:
    """Raise ShapeMismatch for a reduction over nothing that has no value there."""
    without_axis(types, axis)
    if (types.size if axis is None else types.shape[axis]) == 0:
        raise ShapeMismatch(f"{name} of an empty array of shape {types.shape}")

"""One step of a plan: an operation of the table on earlier values, or public numbers; and how it is written in JSON."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.plan.kinds import BIT, Kind, Type, check_shape, exact_text, parse_exact, parse_kind
from tallystick_node.engines.mpc.plan.table import OPERATIONS
from tallystick_node.engines.mpc.ring import MAGNITUDE, Ring

CONSTANT = "constant"
SHORT = 64  # constants of at most so many elements are written in decimal


@dataclass(frozen=True, eq=False)
class Step:
    """One operation on earlier values; ``constant`` holds the public elements where the operation is that."""

    operation: str
    operands: tuple[int, ...]
    attributes: Mapping[str, Any]
    constant: Ring | None = None

    def to_json(self) -> dict[str, Any]:
        """The step as JSON."""
        if self.constant is None:
            return {"op": self.operation, "in": list(self.operands), **self.attributes}
        written = self.constant.astype("<u8").ravel()
        fraction = parse_kind(self.attributes["kind"]).fraction
        body: dict[str, Any]
        if len(written) <= SHORT:
            body = {"numbers": [exact_text(int(each), fraction) for each in written.view(np.int64)]}
        else:
            body = {"packed": base64.b64encode(written.tobytes()).decode()}
        return {"op": CONSTANT, **self.attributes, **body}

    @classmethod
    def from_json(cls, value: Any) -> Step:
        """Read the JSON of :meth:`to_json` strictly. Raises ValueError or TypeError."""
        name = value.get("op") if isinstance(value, dict) else None
        if name == CONSTANT:
            return _constant(value)
        operation = OPERATIONS.get(name) if isinstance(name, str) else None
        if operation is None:
            raise ValueError("no operation of this name")
        given = {key: each for key, each in value.items() if key not in ("op", "in")}
        operands = value.get("in")
        if not isinstance(operands, list) or any(type(each) is not int for each in operands):
            raise ValueError("`in` must be a list of the numbers of earlier values")
        return cls(operation.name, tuple(operands), operation.read(given))

    def types(self, earlier: Sequence[Type]) -> tuple[Type, ...]:
        """The types of what it gives, after values of types ``earlier``. Raises ValueError or TypeError."""
        if any(type(each) is not int or not 0 <= each < len(earlier) for each in self.operands):
            raise ValueError("an operand is not the number of an earlier value")
        if self.operation == CONSTANT:
            return (Type(tuple(self.attributes["shape"]), parse_kind(self.attributes["kind"]), public=True),)
        return OPERATIONS[self.operation].types([earlier[each] for each in self.operands], self.attributes)


def constant(elements: Ring, kind: Kind) -> Step:
    """A step that gives public values."""
    return Step(CONSTANT, (), {"shape": list(elements.shape), "kind": str(kind)}, elements)


def _constant(value: dict[str, Any]) -> Step:
    body = value.keys() - {"op", "shape", "kind"}
    shape, kind = check_shape(value.get("shape")), parse_kind(value.get("kind"))
    size = int(np.prod(shape, dtype=np.int64))
    if body != ({"numbers"} if size <= SHORT else {"packed"}):
        raise ValueError(f"a constant has shape, kind, and its numbers or, of more than {SHORT}, its packed bytes")
    if size <= SHORT:
        numbers = value["numbers"]
        if not isinstance(numbers, list) or len(numbers) != size:
            raise ValueError("a constant has as many numbers as its shape says")
        elements = np.array([parse_exact(each, kind.fraction) for each in numbers], np.int64)
    else:
        try:
            packed = base64.b64decode(value["packed"], validate=True)
        except (binascii.Error, TypeError):
            raise ValueError("a constant's packed bytes are written in base64") from None
        if len(packed) != 8 * size:
            raise ValueError("a constant has as many numbers as its shape says")
        elements = np.frombuffer(packed, "<i8").astype(np.int64)
    if np.any((elements <= -MAGNITUDE) | (elements >= MAGNITUDE)) or (kind == BIT and np.any((elements < 0) | (elements > 1))):
        raise ValueError("a constant's number is out of range")
    return constant(elements.view(np.uint64).reshape(shape), kind)

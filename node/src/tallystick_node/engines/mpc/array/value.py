"""What every step takes and gives: an array of secrets, of which Python sees the shape and the kind."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

import numpy as np

from tallystick_node.engines.mpc.array import operands
from tallystick_node.engines.mpc.plan.engine import Engine, Reference, infer
from tallystick_node.engines.mpc.plan.kinds import BIT, INTEGER, Kind, Type, fixed

Array = TypeVar("Array", bound="Value")


class Value:
    """Shape and kind are public; whatever would show an element raises TypeError."""

    __array_ufunc__ = None  # NumPy leaves its operators to ours

    def __init__(self, engine: Engine, reference: Reference, given: Type) -> None:
        self.engine = engine
        self.reference = reference
        self.type = given

    # -- what is public

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.type.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.type.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.type.size

    @property
    def kind(self) -> Kind:
        """Integer, bit, or fixed point."""
        return self.type.kind

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<secret {self.kind} of shape {self.shape}>"

    # -- what is not

    def _hidden(self, what: str = "") -> NoReturn:
        raise TypeError(f"the value is secret{what}: reveal() it, or choose with where(condition, yes, no)")

    def __bool__(self) -> bool:  # noqa: PLE0304 - it raises
        self._hidden(", so Python cannot branch on it")

    def __float__(self) -> float:
        self._hidden()

    def __int__(self) -> int:
        self._hidden()

    def __index__(self) -> int:  # noqa: PLE0305 - it raises
        self._hidden(", so it is no index")

    def __complex__(self) -> complex:
        self._hidden()

    def __array__(self, *_: Any, **__: Any) -> np.ndarray[Any, Any]:
        self._hidden(", so NumPy cannot take it; use the functions of this package")

    def __setitem__(self, *_: Any) -> None:
        raise TypeError("secret arrays do not change in place: use where() or concatenate()")


def apply(operation: str, *arrays: Array, **attributes: Any) -> Array:
    """The one result of an operation."""
    return apply_many(operation, *arrays, **attributes)[0]


def apply_many(operation: str, *arrays: Array, **attributes: Any) -> tuple[Array, ...]:
    """The results of an operation. Raises ShapeMismatch or KindMismatch, before anything is computed."""
    engine = arrays[0].engine
    if any(each.engine is not engine for each in arrays):
        raise ValueError("the arrays belong to different computations")
    operand_types = [each.type for each in arrays]
    read, types = infer(operation, operand_types, attributes)
    references = engine.apply(operation, [each.reference for each in arrays], read, operand_types, types)
    made = type(arrays[0])
    return tuple(made(engine, reference, found) for reference, found in zip(references, types, strict=True))


def constant(like: Array, values: Any, kind: Kind) -> Array:
    """Public values as an operand."""
    elements = operands.encoded(values, kind)
    return type(like)(like.engine, like.engine.constant(elements, kind), Type(elements.shape, kind, public=True))


def number(array: Array) -> Array:
    """Bits as integers; numbers as they are."""
    return apply("cast", array, kind=str(INTEGER)) if array.kind == BIT else array


def real(array: Array, fraction: int | None = None) -> Array:
    """Fixed point, with at least ``fraction`` bits."""
    wanted = fixed(max(array.kind.fraction, fraction or 0) or array.engine.fraction)
    return array if array.kind == wanted else apply("cast", array, kind=str(wanted))

"""Long arrays, a piece at a time: what an operation needs besides its operands and results does not grow with them.

Only operations that go element by element are cut; all parties cut alike, since the piece is a constant. A piece costs its rounds
anew, which its bytes outweigh by far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.plan.kinds import Type
from tallystick_node.engines.mpc.plan.operation import Attributes, Operation, Value, broadcast_shape
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares

PIECE = 1 << 20  # elements
BY_ELEMENT = frozenset(
    {
        "multiply", "scale", "cast", "less", "less_equal", "equal", "not_equal", "is_in", "select", "absolute", "relu", "sign",
        "maximum", "minimum", "clip", "and", "or", "divide", "reciprocal", "square_root", "inverse_square_root", "exp", "log",
        "log1p", "sigmoid", "tanh", "power", "polynomial",
    }
)  # fmt: skip


def run(
    protocol: Protocol, operation: Operation, values: Sequence[Value], types: Sequence[Type], attributes: Attributes
) -> Sequence[Value]:
    """Do an operation on its operands, in pieces where they are long."""
    if not cut(operation.name, types):
        return operation.run(protocol, values, types, attributes)
    shape = broadcast_shape(*types)
    size = math.prod(shape)
    flat = [_flat(value, shape) for value in values]
    whole: list[Any] = []  # for each part of the one result the array that the pieces are written into
    last: Value | None = None
    for first in range(0, size, PIECE):
        count = min(PIECE, size - first)
        pieces = [value[first : first + count] for value in flat]
        (last,) = operation.run(protocol, pieces, [Type((count,), each.kind, each.public) for each in types], attributes)
        assert isinstance(last, Shares | Binary)
        whole = whole or [np.empty(size, part.dtype) for part in last.parts]
        for target, part in zip(whole, last.parts, strict=True):
            target[first : first + count] = part
    parts = tuple(part.reshape(shape) for part in whole)
    return [Binary(parts, last.width) if isinstance(last, Binary) else Shares(parts)]


def cut(name: str, types: Sequence[Type]) -> bool:
    """Whether an operation on operands of these types is done in pieces."""
    return name in BY_ELEMENT and math.prod(broadcast_shape(*types)) > PIECE


def _flat(value: Value, shape: tuple[int, ...]) -> Any:
    def along_one_axis(part: Any) -> Any:
        return np.broadcast_to(part, shape).reshape(-1)

    return along_one_axis(value) if isinstance(value, np.ndarray) else value.map(along_one_axis)

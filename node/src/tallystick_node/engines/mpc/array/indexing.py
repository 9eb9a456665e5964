"""NumPy's indices as operations of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.plan.operation import ShapeMismatch


def normalised(index: Any, shape: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The operations that take ``array[index]``: of integers, slices, ``...``, ``None`` and at most one public array of integers or
    truth values. Raises ShapeMismatch for an index out of bounds, and TypeError for any other index."""
    given = list(index) if isinstance(index, tuple) else [index]
    axes = [each for each in given if each is not None]
    if sum(each is Ellipsis for each in axes) > 1:
        raise TypeError("an index has at most one ellipsis")
    named = len(axes) - any(each is Ellipsis for each in axes)
    if named > len(shape):
        raise ShapeMismatch(f"{named} indices for an array of shape {shape}")
    if not any(each is Ellipsis for each in axes):
        given.append(Ellipsis)
    items: list[Any] = []
    out: list[int] = []  # the lengths that stay, with 1 for a new axis
    taken: tuple[int, list[int]] | None = None
    new_axis = False
    for each in given:
        if each is None:
            new_axis = True
            out.append(1)
        elif each is Ellipsis:
            for length in shape[len(items) : len(items) + len(shape) - named]:
                items.append([0, length, 1] if length else [0, 0, 1])
                out.append(length)
        else:
            length = shape[len(items)]
            if isinstance(each, slice):
                span = range(*each.indices(length))
                items.append([span.start, len(span), span.step] if span else [0, 0, 1])
                out.append(len(span))
            elif isinstance(each, int | np.integer) and not isinstance(each, bool):
                items.append(_position(int(each), length))
            else:
                if taken is not None:
                    raise TypeError("an index has at most one array")
                chosen = _positions(each, length)
                taken = (sum(not isinstance(item, int) for item in items), chosen)
                items.append([0, length, 1] if length else [0, 0, 1])
                out.append(len(chosen))
    if items != [[0, length, 1] if length else [0, 0, 1] for length in shape]:
        yield "index", {"items": items}
    if taken is not None:
        yield "take", {"axis": taken[0], "indices": taken[1]}
    if new_axis:
        yield "reshape", {"shape": out}


def _position(number: int, length: int) -> int:
    if not -length <= number < length:
        raise ShapeMismatch(f"index {number} is out of bounds for an axis of length {length}")
    return number % length


def _positions(values: Any, length: int) -> list[int]:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise TypeError("an index is an integer, a slice, or a list of integers or truth values")
    if array.dtype.kind == "b":
        if len(array) != length:
            raise ShapeMismatch(f"{len(array)} truth values for an axis of length {length}")
        return [int(each) for each in np.flatnonzero(array)]
    return [_position(int(each), length) for each in array]

"""Moving elements: no message, no error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.plan.kinds import Type, check_shape
from tallystick_node.engines.mpc.plan.operation import (
    Attributes,
    ShapeMismatch,
    Value,
    broadcast_shape,
    define,
    integer,
    pad_axis,
    require,
    secret,
    shape,
)
from tallystick_node.engines.mpc.protocol import Protocol, Words

MAX_TAKEN = 1 << 16


def _reshape_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    found = Type(check_shape(attributes["shape"]), types[0].kind)
    if found.size != types[0].size:
        raise ShapeMismatch(f"cannot reshape array of shape {types[0].shape} into shape {found.shape}")
    return [found]


def _broadcast_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    wanted = Type(check_shape(attributes["shape"]), types[0].kind)
    if broadcast_shape(types[0], wanted) != wanted.shape:
        raise ShapeMismatch(f"cannot broadcast array of shape {types[0].shape} to shape {wanted.shape}")
    return [wanted]


def _transpose_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    axes = attributes["axes"]
    if sorted(axes) != list(range(len(types[0].shape))):
        raise ShapeMismatch(f"axes {axes} do not permute those of an array of shape {types[0].shape}")
    return [Type(tuple(types[0].shape[axis] for axis in axes), types[0].kind)]


def _index_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    items, lengths = attributes["items"], types[0].shape
    if len(items) != len(lengths):
        raise ShapeMismatch(f"{len(items)} indices for an array of shape {lengths}")
    out = []
    for item, length in zip(items, lengths, strict=True):
        first, last = (item, item) if isinstance(item, int) else (item[0], item[0] + (item[1] - 1) * item[2])
        if (isinstance(item, int) or item[1]) and not (0 <= first < length and 0 <= last < length):
            raise ShapeMismatch(f"index {item} is out of bounds for an axis of length {length}")
        if not isinstance(item, int):
            out.append(item[1])
    return [Type(tuple(out), types[0].kind)]


def index_of(items: Sequence[Any]) -> tuple[Any, ...]:
    """NumPy's index of the attribute ``items``: an integer, or [start, count, step], for each axis."""
    return tuple(item if isinstance(item, int) else _slice(*item) for item in items)


def _slice(start: int, count: int, step: int) -> slice:
    stop = start + count * step
    return slice(start, stop if stop >= 0 else None, step) if count else slice(0, 0)


def _take_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    axis, indices = pad_axis(attributes["axis"], types[0]), attributes["indices"]
    lengths = types[0].shape
    if any(each >= lengths[axis] for each in indices):
        raise ShapeMismatch(f"an index is out of bounds for axis {axis} of length {lengths[axis]}")
    return [Type((*lengths[:axis], len(indices), *lengths[axis + 1 :]), types[0].kind)]


def _concatenate_rule(types: Sequence[Type], attributes: Attributes) -> list[Type]:
    axis, first = pad_axis(attributes["axis"], types[0]), types[0]
    require(all(each.kind == first.kind for each in types), "concatenate", "arrays of one kind", *types)
    rest = {each.shape[:axis] + each.shape[axis + 1 :] for each in types if len(each.shape) == len(first.shape)}
    if len(rest) != 1 or any(len(each.shape) != len(first.shape) for each in types):
        shapes = ", ".join(str(each.shape) for each in types)
        raise ShapeMismatch(f"arrays of shapes {shapes} cannot be joined along axis {axis}")
    joined = sum(each.shape[axis] for each in types)
    return [Type((*first.shape[:axis], joined, *first.shape[axis + 1 :]), first.kind)]


def _concatenate(protocol: Protocol, values: Sequence[Value], _: Sequence[Type], attributes: Attributes) -> list[Value]:
    arrays = [secret(protocol, value) for value in values]
    sides = zip(*(each.parts for each in arrays), strict=True)
    axis, first = attributes["axis"], arrays[0].shape
    shape = (*first[:axis], sum(each.shape[axis] for each in arrays), *first[axis + 1 :])
    empty = protocol.session.store.empty
    return [arrays[0].map(lambda part: np.concatenate(next(sides), axis, out=empty(shape, part.dtype)))]


def _broadcast(protocol: Protocol, values: Sequence[Value], _: Sequence[Type], attributes: Attributes) -> list[Value]:
    return [secret(protocol, values[0]).map(lambda part: _copied(protocol, np.broadcast_to(part, attributes["shape"])))]


def _reshape(protocol: Protocol, values: Sequence[Value], _: Sequence[Type], attributes: Attributes) -> list[Value]:
    def shaped(part: Words) -> Words:
        return (part if part.flags.c_contiguous else _copied(protocol, part)).reshape(attributes["shape"])

    return [secret(protocol, values[0]).map(shaped)]


def _take(protocol: Protocol, values: Sequence[Value], _: Sequence[Type], attributes: Attributes) -> list[Value]:
    axis, indices, shape = attributes["axis"], attributes["indices"], values[0].shape
    shape = (*shape[:axis], len(indices), *shape[axis + 1 :])
    empty = protocol.session.store.empty  # "clip": the indices are in bounds, and NumPy would check them in a copy
    return [secret(protocol, values[0]).map(lambda part: np.take(part, indices, axis, empty(shape, part.dtype), mode="clip"))]


def _copied(protocol: Protocol, part: Words) -> Words:
    copy = protocol.session.store.empty(part.shape, part.dtype)
    copy[...] = part
    return copy


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > 8:
        raise ValueError("an index is a list with an item for each axis")
    for item in value:
        if type(item) is int:
            continue
        if not isinstance(item, list) or len(item) != 3 or any(type(each) is not int for each in item):
            raise ValueError("an index holds integers and [start, count, step]")
        start, count, step = item
        if count < 0 or not step or (count == 0 and (start, step) != (0, 1)):
            raise ValueError("a slice has a natural count and a step that is not 0; an empty one is [0, 0, 1]")
    return value


def _naturals(limit: int) -> Any:
    each = integer(0, limit)

    def read(value: Any) -> list[int]:
        if not isinstance(value, list) or len(value) > MAX_TAKEN:
            raise ValueError(f"an attribute must be a list of at most {MAX_TAKEN} integers")
        return [each(item) for item in value]

    return read


define("reshape", 1, _reshape_rule, _reshape, shape=shape)
define("broadcast", 1, _broadcast_rule, _broadcast, shape=shape)
define(
    "transpose", 1, _transpose_rule,
    lambda p, values, _types, attributes: [secret(p, values[0]).map(lambda part: part.transpose(attributes["axes"]))],
    axes=_naturals(7),
)  # fmt: skip
define(
    "index", 1, _index_rule,
    lambda p, values, _types, attributes: [secret(p, values[0])[index_of(attributes["items"])]], items=_items,
)  # fmt: skip
define("take", 1, _take_rule, _take, axis=integer(0, 7), indices=_naturals(1 << 27))
define("concatenate", (1, 4096), _concatenate_rule, _concatenate, axis=integer(0, 7))

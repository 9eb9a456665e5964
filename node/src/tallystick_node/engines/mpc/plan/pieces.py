"""Long arrays, a piece at a time: what an operation needs besides its operands and results does not grow with them.

What is cut, and where, follows from the plan alone, so all parties cut alike. A piece costs its rounds anew, which its bytes
outweigh by far; what takes no message is cut into pieces that stay in cache. Operands may lie in files and results are written
where the run's store (:mod:`tallystick_node.engines.store`) has room for them: that is each party's own affair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.plan.arithmetic import product_kind
from tallystick_node.engines.mpc.plan.kinds import INTEGER, Type
from tallystick_node.engines.mpc.plan.operation import Attributes, Operation, Value, broadcast_shape
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares, Words
from tallystick_node.engines.store import Store

PIECE = 1 << 20  # elements
CACHED = 1 << 16  # elements of what takes no message
LONG = 1 << 15  # the least length of a matrix that is cut: to cut one as wide as long would cost more than it saves
SILENT = frozenset({"add", "subtract", "negative", "xor", "not"})
BY_ELEMENT = SILENT | {
    "multiply", "scale", "cast", "less", "less_equal", "equal", "not_equal", "is_in", "select", "absolute", "relu", "sign",
    "maximum", "minimum", "clip", "and", "or", "divide", "reciprocal", "square_root", "inverse_square_root", "exp", "log",
    "log1p", "sigmoid", "tanh", "power", "polynomial",
}  # fmt: skip
Part = tuple[int, int]  # the first element and their number


def run(
    protocol: Protocol, operation: Operation, values: Sequence[Value], types: Sequence[Type], attributes: Attributes
) -> Sequence[Value]:
    """Do an operation on its operands, in pieces where they are long."""
    if not cut(operation.name, types, attributes):
        return operation.run(protocol, values, types, attributes)
    if operation.name == "matmul":
        return [_matmul(protocol, operation, values, types, attributes)]
    if operation.name == "group_public":
        return _added_up(protocol, operation, values, types, attributes)
    shape = broadcast_shape(*types)

    def one(first: int, count: int) -> Shares | Binary:
        pieces = [piece(value, shape, first, count) for value in values]
        narrowed = [Type((count,), each.kind, each.public) for each in types]
        (found,) = operation.run(protocol, pieces, narrowed, attributes)
        assert isinstance(found, Shares | Binary)
        return found

    tail = (attributes["size"],) if operation.name == "one_hot" else ()
    return [gathered(protocol.session.store, shape, one, step(operation.name, attributes), tail)]


def cut(name: str, types: Sequence[Type], attributes: Attributes) -> bool:
    """Whether an operation on operands of these types is done in pieces."""
    if name == "matmul":
        return _axis(types) is not None
    if name in ("one_hot", "group_public"):
        return types[0].size > step(name, attributes)
    return name in BY_ELEMENT and math.prod(broadcast_shape(*types)) > PIECE


def step(name: str, attributes: Attributes) -> int:
    """How many elements, or rows, of its operands such an operation takes at a time."""
    if name in ("one_hot", "group_public"):
        return max(1, PIECE // int(attributes["size"]))
    return min(PIECE, CACHED) if name in SILENT else PIECE


def parts(size: int, length: int | None = None) -> Iterator[Part]:
    """The pieces of so many elements, in order; of none, one that is empty."""
    length = length or PIECE
    for first in range(0, max(size, 1), length):
        yield first, min(length, size - first)


def piece(value: Value, shape: tuple[int, ...], first: int, count: int) -> Any:
    """Elements of a value that is stretched to a shape, in C order. Nothing of more elements is made on the way."""

    def of(part: Words) -> Words:
        view = np.broadcast_to(part, shape)
        if view.flags.c_contiguous:
            return view.reshape(-1)[first : first + count]
        row = math.prod(shape[1:])
        if row > count:
            return np.asarray(view.flat[first : first + count])
        top = first // row
        return view[top : -(-(first + count) // row)].reshape(-1)[first - top * row :][:count]

    return of(value) if isinstance(value, np.ndarray) else value.map(of)


def gathered(
    store: Store,
    shape: tuple[int, ...],
    make: Callable[[int, int], Any],
    length: int | None = None,
    tail: tuple[int, ...] = (),
) -> Any:
    """One value of a shape, made piece by piece: ``make(first, count)`` gives (count, \\*tail) shares, or plain elements."""
    size, length = math.prod(shape), length or PIECE
    whole: list[Words] = []
    found: Any = None
    for first, count in parts(size, length):
        found = make(first, count)
        if size <= length:
            return found.reshape((*shape, *tail)) if isinstance(found, np.ndarray) else found.reshape(*shape, *tail)
        made = (found,) if isinstance(found, np.ndarray) else found.parts
        whole = whole or [store.empty((size, *tail), each.dtype) for each in made]
        for target, each in zip(whole, made, strict=True):
            target[first : first + count] = each
    shaped = tuple(each.reshape(*shape, *tail) for each in whole)
    if isinstance(found, np.ndarray):
        return shaped[0]
    return Binary(shaped, found.width) if isinstance(found, Binary) else Shares(shaped)


def _axis(types: Sequence[Type]) -> tuple[int, int] | None:
    """Along which of m, k and n a product of (m, k) and (k, n) is cut, and how much of it is taken at a time."""
    (m, k), (_, n) = types[0].shape, types[1].shape
    lengths = (m, k, n)
    axis = lengths.index(max(lengths))
    if lengths[axis] < LONG or max(m * k, k * n, m * n) <= PIECE:
        return None
    return axis, max(1, PIECE // max(1, *(each for number, each in enumerate(lengths) if number != axis)))


def _matmul(
    protocol: Protocol, operation: Operation, values: Sequence[Value], types: Sequence[Type], attributes: Attributes
) -> Value:
    """Rows, columns, or a sum of products, which is truncated once."""
    found = _axis(types)
    assert found is not None
    axis, length = found
    left, right = values
    bits = product_kind("matmul", *types)[1]
    (rows, inner), columns = types[0].shape, types[1].shape[1]

    def product(one: Any, other: Any, kinds: Sequence[Type]) -> Shares:
        shaped = [Type(each.shape, kind.kind, kind.public) for each, kind in zip((one, other), kinds, strict=True)]
        (made,) = operation.run(protocol, (one, other), shaped, attributes)
        assert isinstance(made, Shares)
        return made

    store = protocol.session.store
    if axis == 0:
        joined: Shares = gathered(
            store, (rows,), lambda at, count: product(left[at : at + count], right, types), length, (columns,)
        )
        return joined
    if axis == 1:
        ring = [Type(each.shape, INTEGER, each.public) for each in types]
        total: Shares | None = None
        for at, count in parts(inner, length):
            more = product(left[:, at : at + count], right[at : at + count], ring)
            total = more if total is None else total + more
        assert total is not None
        return protocol.truncate(total, bits) if bits else total
    turned: Shares = gathered(
        store,
        (columns,),
        lambda at, count: product(left, right[:, at : at + count], types).map(np.transpose),
        length,
        (rows,),
    )
    return turned.map(np.transpose)


def _added_up(
    protocol: Protocol, operation: Operation, values: Sequence[Value], types: Sequence[Type], attributes: Attributes
) -> Sequence[Value]:
    """Sums over rows are the sums of those of pieces."""
    totals: list[Any] = []
    for first, count in parts(types[0].size, step(operation.name, attributes)):
        pieces = [piece(each, types[0].shape, first, count) for each in values]
        narrowed = [Type((count,), each.kind, each.public) for each in types]
        found = operation.run(protocol, pieces, narrowed, attributes)
        totals = [old + more for old, more in zip(totals, found, strict=True)] if totals else list(found)
    return totals

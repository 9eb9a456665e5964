"""Products on replicated shares: what each party computes and sends.

What is long flows: pieces that stay in the cache are computed, sent, received and worked on while others are under way, so that no
party waits for a whole array of another. Every message is masked by bytes of a seed that its receiver does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.matrix import Right, aligned
from tallystick_node.engines.mpc.prss import blocks
from tallystick_node.engines.mpc.replicated.seat import Extent, Seat, turns
from tallystick_node.engines.mpc.replicated.truncation import Terms, truncate_terms
from tallystick_node.engines.mpc.ring import Ring

Pair = tuple[Ring, Ring]
Part = NDArray[Any]  # of uint64 or uint32
Fill = Callable[[slice, Part], None]  # writes a party's masked part of some rows, flat


def multiply(seat: Seat, left: Pair, right: Pair) -> Pair:
    """Element by element: 24 bytes an element over all parties, one round."""
    return _shaped(_reshared(seat, (left[0].size, 1), _masked_products(seat, left, right)), left[0].shape)


def multiply_fixed(seat: Seat, left: Pair, right: Pair, bits: int) -> Pair:
    """Element by element, shifted right: 36 bytes an element over all parties, 3 rounds."""
    return _shaped(truncate_terms(seat, (left[0].size, 1), _products(left, right), bits), left[0].shape)


def matmul(seat: Seat, left: Pair, right: Pair) -> Pair:
    """The matrix product: 24 bytes for each element of it over all parties, one round."""
    shape = left[0].shape[0], right[0].shape[1]
    return _shaped(_reshared(seat, shape, _masked(seat, _matrix_products(seat, left, right))), shape)


def matmul_fixed(seat: Seat, left: Pair, right: Pair, bits: int) -> Pair:
    """The matrix product, shifted right: 36 bytes for each element of it over all parties, 3 rounds."""
    shape = left[0].shape[0], right[0].shape[1]
    return _shaped(truncate_terms(seat, shape, _matrix_products(seat, left, right), bits), shape)


def product(seat: Seat, left: tuple[Part, Part], right: tuple[Part, Part]) -> Part:
    """This party's masked part of the element-wise product, modulo 2^64 or 2^32: the three parts add up to it."""
    out = np.empty(left[0].shape, left[0].dtype)
    _masked_products(seat, left, right)(slice(0, out.size), out.reshape(-1))
    return out


def _masked_products(seat: Seat, left: tuple[Part, Part], right: tuple[Part, Part]) -> Fill:
    (x, x_next), (y, y_next) = _flat(left), _flat(right)
    own, after, kind = seat.prss.own, seat.prss.after, left[0].dtype.type

    def fill(piece: slice, out: Part) -> None:
        for block in blocks(out.size):
            count, place = block.stop - block.start, slice(piece.start + block.start, piece.start + block.stop)
            masks = own.passing(count, kind), after.passing(count, kind)
            _product(x[place], x_next[place], y[place], y_next[place], *masks, out[block])

    return fill


def _masked(seat: Seat, terms: Terms) -> Fill:
    own, after = seat.prss.own, seat.prss.after

    def fill(piece: slice, out: Part) -> None:
        made = terms(piece)
        for block in blocks(out.size):
            count = block.stop - block.start
            _mask(made[block], own.passing(count), after.passing(count), out[block])

    return fill


def _products(left: Pair, right: Pair) -> Terms:
    """This party's terms of the element-wise product."""
    (x, x_next), (y, y_next) = _flat(left), _flat(right)
    memory = np.empty(0, np.uint64)

    def terms(piece: slice) -> Ring:
        nonlocal memory
        size = piece.stop - piece.start
        if memory.size < size:
            memory = aligned((size,))
        _multiply(x[piece], x_next[piece], y[piece], y_next[piece], memory[:size])
        return memory[:size]

    return terms


def _matrix_products(seat: Seat, left: Pair, right: Pair) -> Terms:
    """This party's terms of rows of the matrix product.

    The nine products x_i y_j are five matrix products: party 0 takes (x_0 + x_1) (y_0 + y_1), party 1 what x_2 y_2 is part of, and
    party 2 the two that are left. Four are not enough: of two parties that take one product each, neither could leave x_j y_j to
    the other. A part that is zero, as one of a fresh input is, takes none."""
    (x, x_next), (y, y_next) = left, right
    if seat.index == 0:
        factors = [(x + x_next, y + y_next)]
    elif seat.index == 1:
        factors = [(x, y_next), (x_next, y + y_next)]
    else:
        factors = [(x, y_next), (x_next, y)]
    ready = [(one, Right(other)) for one, other in factors if one.any() and other.any()]
    columns = y.shape[1]
    memory = np.empty((0, columns), np.uint64)

    def terms(piece: slice) -> Ring:
        nonlocal memory
        size = piece.stop - piece.start
        if len(memory) < size:
            memory = aligned((size, columns))
        out = memory[:size]
        out[...] = 0
        for one, other in ready:
            other.add(out, one[piece])
        return out.reshape(-1)

    return terms


def _reshared(seat: Seat, extent: Extent, fill: Fill) -> Pair:
    """A sharing of what all parties' masked parts add up to."""
    size, width = extent[0] * extent[1], extent[1]
    first, second = np.empty(size, np.uint64), np.empty(size, np.uint64)
    for group in turns(extent):
        for piece in group:
            out = first[piece.start * width : piece.stop * width]
            fill(piece, out)
            seat.send(seat.before, out)
        for piece in group:
            seat.receive_into(seat.after, second[piece.start * width : piece.stop * width])
    return first, second


def _shaped(pair: Pair, shape: tuple[int, ...]) -> Pair:
    return pair[0].reshape(shape), pair[1].reshape(shape)


def _flat(pair: tuple[Part, Part]) -> tuple[Part, Part]:
    return np.ascontiguousarray(pair[0]).reshape(-1), np.ascontiguousarray(pair[1]).reshape(-1)


@compiled
def _product(x: Part, x_next: Part, y: Part, y_next: Part, mask: Part, mask_next: Part, out: Part) -> None:
    for i in range(out.size):
        out[i] = x[i] * (y[i] + y_next[i]) + x_next[i] * y[i] + mask[i] - mask_next[i]


@compiled
def _multiply(x: Ring, x_next: Ring, y: Ring, y_next: Ring, out: Ring) -> None:
    for i in range(out.size):
        out[i] = x[i] * (y[i] + y_next[i]) + x_next[i] * y[i]


@compiled
def _mask(terms: Ring, mask: Ring, mask_next: Ring, out: Ring) -> None:
    for i in range(out.size):
        out[i] = terms[i] + mask[i] - mask_next[i]

"""Each primitive of a protocol, ready to be done on zeros, to see what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares


def step_of(primitive: str, width: int, seats: tuple[int, ...] | None) -> Callable[[Protocol, int], Callable[[], Any]]:
    """Given a protocol and a number of elements: the primitive, ready to be done."""

    def shares(protocol: Protocol, shape: tuple[int, ...]) -> Shares:
        return protocol.random(shape)

    def words(protocol: Protocol, shape: tuple[int, ...]) -> Binary:
        return protocol.public_binary(np.zeros(shape, np.uint64), width)

    def prepare(protocol: Protocol, count: int) -> Callable[[], Any]:
        shape = (count,)
        match primitive:
            case "share":
                assert seats is not None
                owner = seats[0]
                values = np.zeros(shape, np.uint64) if protocol.index == owner else None
                return lambda: protocol.share(owner, shape, values)
            case "accept":
                parts = protocol.split(np.zeros(shape, np.uint64), protocol.parties)[protocol.index]
                parts = tuple(np.zeros_like(part) for part in parts)  # the same at every party, whoever drew them
                return lambda: protocol.accept(parts)
            case "reveal":
                secret = shares(protocol, shape)
                return lambda: protocol.reveal(secret, seats)
            case "reveal_binary":
                bits = words(protocol, shape)
                return lambda: protocol.reveal_binary(bits, seats)
            case "disclose" | "negative" | "decompose":
                secret = shares(protocol, shape)
                return lambda: getattr(protocol, primitive)(secret)
            case "multiply":
                left, right = shares(protocol, shape), shares(protocol, shape)
                return lambda: protocol.multiply(left, right)
            case "multiply_fixed":
                left, right = shares(protocol, shape), shares(protocol, shape)
                return lambda: protocol.multiply_fixed(left, right, 18)
            case "matmul":
                left, right = shares(protocol, (count, 2)), shares(protocol, (2, 1))
                return lambda: protocol.matmul(left, right)
            case "matmul_fixed":
                left, right = shares(protocol, (count, 2)), shares(protocol, (2, 1))
                return lambda: protocol.matmul_fixed(left, right, 18)
            case "truncate":
                secret = shares(protocol, shape)
                return lambda: protocol.truncate(secret, 18)
            case "sigmoid_fixed":
                secret = protocol.public(np.zeros(shape, np.uint64))
                return lambda: protocol.sigmoid_fixed(secret, 18)  # type: ignore[attr-defined]
            case "and_":
                one, other = words(protocol, shape), words(protocol, shape)
                return lambda: protocol.and_(one, other)
            case "to_arithmetic" | "compose":
                bits = words(protocol, shape)
                return lambda: getattr(protocol, primitive)(bits)
            case "shuffle":
                secret = shares(protocol, shape)
                return lambda: protocol.shuffle([secret])
            case "close":
                return protocol.close
            case "random":
                return lambda: protocol.random(shape)
        raise ValueError(f"{primitive} is no primitive")

    return prepare


def product_of(protocol: Protocol, primitive: str, rows: int, inner: int, columns: int) -> Callable[[], Any]:
    """``matmul`` or ``matmul_fixed`` of matrices of (rows, inner) and (inner, columns)."""
    left, right = protocol.random((rows, inner)), protocol.random((inner, columns))
    fraction = (18,) if primitive == "matmul_fixed" else ()
    return lambda: getattr(protocol, primitive)(left, right, *fraction)

"""Many arrays in one call of the protocol, so that they share its rounds; and small steps that need no message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares

Secret = TypeVar("Secret", Shares, Binary)
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result", bound=Shares | Binary)


def elementwise(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function of vectors take arrays of any one shape, and give its result that shape."""

    @wraps(function)
    def shaped(*arguments: Any, **attributes: Any) -> Any:
        protocol, *arrays = arguments
        shape = arrays[0].shape
        if any(each.shape != shape for each in arrays):
            raise ValueError(f"the shapes {[each.shape for each in arrays]} differ")
        return cast("Any", function)(protocol, *(each.reshape(-1) for each in arrays), **attributes).reshape(*shape)

    return cast("Callable[Parameters, Result]", shaped)


def stack(arrays: Sequence[Secret]) -> Secret:
    """Arrays of one shape along a new first axis."""
    parts = tuple(np.stack(parts) for parts in zip(*(each.parts for each in arrays), strict=True))
    if isinstance(arrays[0], Binary):
        return Binary(parts, arrays[0].width)
    return Shares(parts)


def element(value: int) -> np.uint64:
    """An integer of either sign as a ring element."""
    return np.uint64(value % (1 << 64))


def constant(protocol: Protocol, shape: tuple[int, ...], value: int) -> Shares:
    """An array of one public integer."""
    return protocol.public(np.full(shape, element(value)))


def plus(protocol: Protocol, secret: Shares, value: int) -> Shares:
    """Secrets plus a public integer."""
    return secret + constant(protocol, secret.shape, value)


def times(secret: Shares, factor: int) -> Shares:
    """Secrets times a public integer."""
    return secret.scaled(element(factor))


def shift(protocol: Protocol, secret: Shares, bits: int) -> Shares:
    """Secrets times 2^-bits, rounded to the nearest but for the error of one truncation (two above 31 bits)."""
    if bits <= 0:
        return times(secret, 1 << -bits)
    if bits > 31:
        return shift(protocol, protocol.truncate(secret, 31), bits - 31)
    return protocol.truncate(plus(protocol, secret, 1 << (bits - 1)), bits)


def require_fraction(fraction: int, least: int = 0) -> None:
    """Raises ValueError unless the functions take this number of fraction bits."""
    if not least <= fraction <= 24:
        raise ValueError(f"these functions take {least} to 24 fraction bits")

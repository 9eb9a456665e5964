"""Loops that Numba compiles: one place for how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile at the first call, keep the machine code beside the source, and let other threads run meanwhile.

    The kept code of a caller in another file holds that of its callees: who edits this file touches those files too.
    """
    return cast("Function", njit(cache=True, error_model="numpy", nogil=True)(function))


def inlined(function: Function) -> Function:
    """Write the function into its compiled callers."""
    return cast("Function", njit(inline="always")(function))

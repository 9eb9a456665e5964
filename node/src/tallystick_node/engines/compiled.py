"""Loops that Numba compiles: one place for how."""

from __future__ import annotations

import fcntl
import hashlib
import platform
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import njit
from numba.core import codegen, config
from numba.core.registry import cpu_target

Function = TypeVar("Function", bound=Callable[..., Any])

_TURN_SECONDS = 20.0  # another process writes two small files meanwhile
_KERNELS: list[Any] = []  # what was compiled, or will be at its first call


def _take_whole_vectors() -> None:
    """LLVM halves its vectors on processors of Intel, whose early ones slowed down under 512 bits. Today, a matrix product in the
    ring takes 0.6 of the time with whole ones, and what is bound by memory no more than before. The first function that is made
    fixes the choice."""
    settings, generator = cast("Any", config), cast("Any", codegen)
    host = generator.get_host_cpu_features()
    if settings.CPU_FEATURES is None and "+avx512f" in host.split(","):
        settings.CPU_FEATURES = f"{host},-prefer-256-bit"


_take_whole_vectors()


def compiled(function: Function) -> Function:
    """Compile at the first call, keep the machine code beside the source, and let other threads run meanwhile.

    The kept code of a caller in another file holds that of its callees: who edits this file touches those files too.
    """
    kernel: Any = njit(cache=True, error_model="numpy", nogil=True)(function)
    _keep_in_turn(kernel._cache._cache_file)  # noqa: SLF001 - Numba has no other way to say how it is kept
    _KERNELS.append(kernel)
    return cast("Function", kernel)


def _keep_in_turn(kept: Any) -> None:
    """Have processes take turns that keep machine code of one kernel at the same moment, and list it when it is there. As Numba
    does it, both may choose one file for different types, and list it with the other's code: whoever loads that computes with the
    wrong types, and is told nothing."""

    def save(key: Any, code: Any) -> None:
        with (Path(kept._cache_path) / "kernels.lock").open("a") as lock:  # noqa: SLF001
            give_up = time.monotonic() + _TURN_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > give_up:
                        return  # another process stands still: the next one compiles again
                time.sleep(0.01)
            listed = kept._load_index()  # noqa: SLF001
            free = (name for number in count(1) if (name := kept._data_name(number)) not in listed.values())  # noqa: SLF001
            name = listed.get(key) or next(free)
            kept._save_data(name, code)  # noqa: SLF001
            kept._save_index({**listed, key: name})  # noqa: SLF001

    kept.save = save


def inlined(function: Function) -> Function:
    """Write the function into its compiled callers."""
    return cast("Function", njit(inline="always")(function))


def load() -> Iterator[None]:
    """Load the machine code that is kept of the kernels imported so far, one kernel at each step, so that no first call has to.
    Nothing is compiled."""
    for kernel in _KERNELS:
        kept = kernel._cache  # noqa: SLF001 - Numba has no other way to say what is kept
        for key in kept._cache_file._load_index():  # noqa: SLF001
            if key == kept._index_key(key[0], kernel.targetctx.codegen()):  # noqa: SLF001 - these sources, this processor
                kernel.compile(key[0])
        yield


def folder() -> Path:
    """Where the machine code of these files is kept; it may not exist yet."""
    place: Any = _nothing
    return Path(place.stats.cache_path)


def fingerprint() -> str:
    """What kept machine code depends on: the engines' sources, the compiler, and the processor."""
    root = Path(__file__).parent
    facts = [numba.__version__, platform.python_version(), str(cpu_target.target_context.codegen().magic_tuple())]
    for path in sorted(root.rglob("*.py")):
        found = path.stat()
        facts.append(f"{path.relative_to(root)} {found.st_mtime_ns} {found.st_size}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


@compiled
def _nothing() -> None:
    pass

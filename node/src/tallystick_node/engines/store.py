"""Where one party's run keeps its arrays: in memory as far as its bound allows, the rest in files that are mapped into memory.

An array in a file is an array like any other. Its file has no name from the start, so that it is gone with the last use of the
array, and with the process, however that ends. Its blocks on the disk are not overwritten: what they hold are this party's shares
and inputs, and belong on a disk that is as well protected as the party's data.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEMORY = 8 << 30  # bytes: the bound of every worker's run
SMALLEST = 1 << 20  # bytes of an array in a file: each takes a descriptor and whole pages


class StoreFull(Exception):  # noqa: N818 - a verdict
    """There is no room for an array's file: the message says for how much."""


class Store:
    """Gives out arrays. It belongs to one thread.

    Half of ``bound`` bytes is for arrays that are kept, the other half for what works on them. Without a ``directory`` all arrays
    are in memory, whatever the bound.
    """

    def __init__(self, directory: Path | None = None, bound: int = MEMORY) -> None:
        self._directory = directory
        self.bound = bound
        self.held = 0  # bytes of arrays in memory
        self.filed = 0  # and in files
        self._known: set[int] = set()  # the identities of the arrays that are counted

    def empty(self, shape: tuple[int, ...], kind: Any = np.uint64) -> NDArray[Any]:
        """An array of any content. Raises StoreFull."""
        if self._directory is None:
            return np.empty(shape, kind)
        size = math.prod(shape) * np.dtype(kind).itemsize
        if self._fits(size):
            array = np.empty(shape, kind)
            self._count(array, "held")
            return array
        return self._mapped(self._directory, shape, kind, size)

    def keep(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array, or where there is no more room for it in memory a copy in a file. Raises StoreFull."""
        if self._directory is None or not isinstance(array, np.ndarray):  # NumPy gives scalars for arrays without axes
            return array
        owner = _owner(array)
        if id(owner) in self._known:
            return array
        if self._fits(min(owner.nbytes, array.nbytes)):
            self._count(owner, "held")
            return array
        copy = self._mapped(self._directory, array.shape, array.dtype, array.nbytes)
        copy[...] = array
        return copy

    def _fits(self, size: int) -> bool:
        return size < SMALLEST or self.held + size <= self.bound // 2

    def _mapped(self, directory: Path, shape: tuple[int, ...], kind: Any, size: int) -> NDArray[Any]:
        try:
            with tempfile.TemporaryFile(dir=directory) as file:
                os.posix_fallocate(file.fileno(), 0, size)  # a disk that is full later would end the process
                area = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise StoreFull(f"no room for an array of {size} bytes in the run's folder: {error.strerror}") from None
        flat = np.frombuffer(area, kind)
        self._count(flat, "filed")
        return flat.reshape(shape)

    def _count(self, array: NDArray[Any], where: str) -> None:
        key, size = id(array), array.nbytes

        def forget() -> None:
            self._known.discard(key)
            setattr(self, where, getattr(self, where) - size)

        self._known.add(key)
        setattr(self, where, getattr(self, where) + size)
        weakref.finalize(array, forget).atexit = False


def _owner(array: NDArray[Any]) -> NDArray[Any]:
    """The array whose memory this one looks into."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array

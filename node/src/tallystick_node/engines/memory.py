"""How the C library keeps the memory of large arrays."""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_KEPT = 256 << 20  # bytes
_LARGEST = 32 << 20  # bytes: the most that glibc takes


@cache
def keep_freed() -> None:
    """Let arrays of up to 32 MiB use memory again that others gave back, for the life of the process: the kernel would
    hand it out in pages, each cleared first. Of what is free at the top of the heap 256 MiB stay, below it all of it. On other C
    libraries nothing changes."""
    try:
        set_option = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    set_option(_TRIM_THRESHOLD, _KEPT)
    set_option(_MMAP_THRESHOLD, _LARGEST)

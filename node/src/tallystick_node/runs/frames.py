"""What a node and its worker process tell one another, over a socket pair: kind, length, body."""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER = struct.Struct(">BI")
MAX_BODY = 256 << 20  # bytes: the longest result


class Kind(IntEnum):
    """What a frame carries, as JSON."""

    PROGRESS = 1  # [phase, fraction]
    OUTCOME = 2  # the end
    ERROR = 3  # the end
    JOB = 4  # to the worker, once; with its header come the descriptors of the connections to its peers, in the order of its
    # links, and to what launches its enclave, if it hosts one


def pack(kind: Kind, body: bytes) -> bytes:
    """One frame."""
    return HEADER.pack(kind, len(body)) + body

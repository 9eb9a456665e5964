"""Arrays of secrets that are moved together, as columns of one matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.mpc.protocol import Shares
from tallystick_node.engines.mpc.ring import Ring


def joined(rows: Sequence[Shares]) -> tuple[Ring, list[int]]:
    """Arrays of one first dimension as the columns of one matrix, and how many columns each of them takes."""
    lengths = {each.shape[0] for each in rows}
    if len(lengths) != 1:
        raise ValueError("arrays that are permuted together have one first dimension")
    length = lengths.pop()
    parts = [each.parts[0].reshape(length, int(np.prod(each.shape[1:], dtype=np.int64))) for each in rows]
    return np.concatenate(parts, axis=1), [part.shape[1] for part in parts]


def parted(matrix: Ring, widths: list[int], rows: Sequence[Shares]) -> list[Shares]:
    """The arrays that :func:`joined` joined, in their shapes."""
    parts = np.split(matrix, np.cumsum(widths)[:-1], axis=1)
    return [Shares((np.ascontiguousarray(part).reshape(each.shape),)) for part, each in zip(parts, rows, strict=True)]

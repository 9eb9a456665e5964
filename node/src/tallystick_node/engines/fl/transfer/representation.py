"""What the source makes of its rows before anybody else is asked: a few bounded numbers for each, learnt from all its labels."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.fl.parameters import Vector

MAX_WIDTH = 64
RIDGE = 0.1  # of the direction that tells the classes apart
SPREAD = 0.7  # standard deviation before tanh


def represent(columns: Vector, labels: Vector, width: int) -> Vector:
    """tanh of ``width`` directions of the rows, each brought to one spread: shape (rows, width), within [-1, 1].

    The first tells ``labels``, -1 or 1, apart by ridge regression; the others are the first principal directions. ``columns``,
    shape (rows, features), are on a scale of 1. Raises ValueError for rows of one class, or where there are fewer columns than
    directions.
    """
    if columns.ndim != 2 or labels.shape != columns.shape[:1] or not np.isfinite(columns).all():
        raise ValueError("labels and columns are not of one table of finite numbers")
    if not (np.isin(labels, (-1, 1)).all() and (labels > 0).any() and (labels < 0).any()):
        raise ValueError("the source needs rows of both classes")
    if not 1 <= width <= min(MAX_WIDTH, columns.shape[1]):
        raise ValueError(f"a representation has 1 to {MAX_WIDTH} numbers, and no more than the source has columns")
    centred = columns - columns.mean(axis=0)
    spread = centred.T @ centred / len(columns) + RIDGE * np.eye(columns.shape[1])
    telling = np.linalg.solve(spread, centred.T @ labels / len(columns))
    principal = np.linalg.svd(centred, full_matrices=False)[2][: width - 1]
    drawn = columns @ np.vstack([telling[None], principal]).T
    scale = drawn.std(axis=0)
    found: Vector = np.tanh(SPREAD * drawn / np.where(scale > 0, scale, 1))
    return found

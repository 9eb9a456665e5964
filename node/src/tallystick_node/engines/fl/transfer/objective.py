"""The objective of the transfer, and its exact minimum.

Both parties represent a row by d numbers, the source as u by whatever network it has, the destination as v = x W by weights of its
columns x. A row's score is v . phi, where phi is the mean of the source's labels times its representations, over all its rows. On
the N common rows, with labels y of -1 or 1, the destination's W minimises

    (1/N) sum [ log 2 - y (v . phi) / 2 + (v . phi)^2 / 8 ]  +  (alignment / N) sum |v - u|^2  +  (penalty / 2) |W|^2:

the logistic loss to second order (the paper's equation for L1), the alignment of the two representations (L2) and the penalty (L3).
Here two choices differ from the paper: the source trains its network by itself, before, and keeps it, so that nothing of the
destination's is needed for it; and the destination's network is linear over columns, which it may make by a network of its own. So
the objective is quadratic in W. With the eigenvectors Q, s of X'X/N at the destination and V, m of phi phi' / 4 + 2 alignment I at
the source, and T = y phi' / 2 + 2 alignment U, its minimum is Q [ (XQ)' (T V) / N / (s m' + penalty) ] V': one product of what the
two parties have, and a division, in place of encrypted gradients step by step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.parameters import Vector


@dataclass(frozen=True)
class Settings:
    """``width`` is the representations' size. Raises ValueError for what is out of range."""

    width: int
    alignment: float
    penalty: float

    def __post_init__(self) -> None:
        if not (0 < self.alignment <= 1000 and 2**-10 <= self.penalty <= 1000):
            raise ValueError("the alignment must be above 0 and at most 1000, and the penalty from 2^-10 to 1000")


@dataclass(frozen=True)
class Source:
    """What the source brings: ``targets`` T V / N of shape (rows, width), ``curvatures`` m and the ``readout`` V' phi, shape
    (width,)."""

    targets: Vector
    curvatures: Vector
    readout: Vector

    @classmethod
    def of(cls, representations: Vector, labels: Vector, common: NDArray[np.int64], settings: Settings) -> Source:
        """From the representations and labels of all rows, and the places of the common ones in the common order."""
        mean = labels @ representations / len(labels)
        curvatures, axes = np.linalg.eigh(np.outer(mean, mean) / 4 + 2 * settings.alignment * np.eye(len(mean)))
        wanted = np.outer(labels[common], mean) / 2 + 2 * settings.alignment * representations[common]
        return cls(wanted @ axes / len(common), curvatures, axes.T @ mean)


@dataclass(frozen=True)
class Destination:
    """What the destination brings, ``turned`` columns X Q of shape (rows, features) and the ``spectrum`` s, and keeps: ``axes``
    Q."""

    turned: Vector
    spectrum: Vector
    axes: Vector

    @classmethod
    def of(cls, columns: Vector) -> Destination:
        """From the columns of the common rows. Raises ValueError for numbers that are not finite."""
        if columns.ndim != 2 or not columns.size or not np.isfinite(columns).all():
            raise ValueError("the columns are no table of finite numbers")
        spectrum, axes = np.linalg.eigh(columns.T @ columns / len(columns))
        return cls(columns @ axes, np.maximum(spectrum, 0), axes)

    def weights(self, found: Vector) -> Vector:
        """The weights of the columns, from what :func:`solve` finds."""
        weights: Vector = self.axes @ found
        return weights


def solve(source: Source, destination: Destination, penalty: float) -> Vector:
    """The scores' weights in the destination's axes, in the clear: what the parties together must come to."""
    product = destination.turned.T @ source.targets
    found: Vector = product / (np.outer(destination.spectrum, source.curvatures) + penalty) @ source.readout
    return found

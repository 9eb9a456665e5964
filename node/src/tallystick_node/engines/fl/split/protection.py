"""Noise that keeps the gradients of rows from telling their labels.

The gradient of the loss by what an owner's bottom gave for a row goes back to that owner. For the rarer class it is mostly longer,
and it points the other way than for the other class, so that its length or its direction tells the label (Li, Sun, Gao, Yang, Smith
and Ren, "Label leakage and protection in two-party split learning", ICLR 2022: the norm and the cosine attack). Their heuristic
max_norm stretches each row's gradient at random, until all have the same expected square: it is about lengths, and its noise
lies along the gradient, whose direction shows but for a sign. So the noise here is that of their other method.

Marvell models the gradients of each class in a batch as normal, adds normal noise whose variance along the difference of the
classes' means differs from that across it, and minimises the sum of the Kullback-Leibler divergences of the two noised
distributions from each other for a given power. Here one more demand saves the optimisation: after the noise both classes have the
same covariance, of variance a along the difference D of the means and o across. Their divergences then sum to |D|^2 / a, so a is
had in closed form from the divergence that is allowed.

What is promised, for one row after all epochs, in that model: the divergences of what its owner sees, given the one label or the
other, sum to at most ``divergence``, so that nobody tells the classes apart with an area under the ROC curve above
:func:`most_area`. What is not: it is a statement about the mean of each class, not about every row as differential privacy would
be. A row whose gradient is far from its class's mean is protected less; and what an owner's own columns tell of the label, or its
trained bottom with a few known labels (Fu et al., "Label inference attacks against vertical federated learning", USENIX Security
2022), it learns all the same.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.split.towers import Normals

Bits = NDArray[np.bool_]


def most_area(divergence: float) -> float:
    """The largest area under the ROC curve of whoever tells two distributions apart whose divergences from each other sum to
    ``divergence``: 1/2 + t - t^2/2 for a total variation of t = sqrt(divergence)/2 at most, by Pinsker (Li et al. 2022)."""
    distance = min(math.sqrt(divergence) / 2, 1.0)
    return 0.5 + distance - distance**2 / 2


class Protection:
    """Noises the gradients that go to one owner; ``divergence`` is what one message may add, infinity for exact gradients."""

    def __init__(self, divergence: float, normals: Normals) -> None:
        self._divergence, self._normals = divergence, normals

    def protect(self, gradients: Vector, labels: Bits) -> Vector:
        """The gradients of a batch's rows, of shape (rows, width), with noise of mean 0.

        A batch of one class is treated as if the other's mean pointed the opposite way, as it does for the logistic loss.
        """
        if math.isinf(self._divergence):
            return gradients
        one, other = _mean(gradients, labels), _mean(gradients, ~labels)
        one, other = (-other if one is None else one), (-one if other is None else other)  # type: ignore[operator]
        difference = one - other
        length = float(np.linalg.norm(difference))
        axis = difference / length if length > 0 else np.eye(1, len(difference))[0]
        spread = {label: _spread(gradients[labels == label], axis) for label in (True, False)}
        along = max(length**2 / self._divergence, *(each[0] for each in spread.values()))
        across = max(each[1] for each in spread.values())
        noise = self._normals.draw(gradients.shape)
        shift = self._normals.draw(labels.shape)
        for label, (own_along, own_across) in spread.items():
            noise[labels == label] *= math.sqrt(max(across - own_across, 0.0))
            shift[labels == label] *= math.sqrt(max(along - own_along, 0.0))
        return gradients + noise + np.outer(shift - noise @ axis, axis)


def _mean(rows: Vector, chosen: Bits) -> Vector | None:
    return rows[chosen].mean(axis=0) if chosen.any() else None


def _spread(rows: Vector, axis: Vector) -> tuple[float, float]:
    """The variance along the axis, and the mean one across it."""
    if not len(rows):
        return 0.0, 0.0
    own = rows - rows.mean(axis=0)
    along = float(np.mean((own @ axis) ** 2))
    return along, max(float(np.mean(np.sum(own**2, axis=1))) - along, 0.0) / max(rows.shape[1] - 1, 1)

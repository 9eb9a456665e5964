"""Minibatch gradient descent in NumPy, for every model that can give its loss and its gradient."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tallystick_node.engines.fl.learner import Instructions, Learner, Rows, Trained
from tallystick_node.engines.fl.learners.clipped import Layer, Loss, add_clipped
from tallystick_node.engines.fl.parameters import Parameters, Vector


class GradientLearner(Learner):
    """Trains by stochastic gradient descent with momentum, a proximal term and corrected gradients, in float64. The models are of
    dense layers with ReLU between them, and ``loss`` at the end; ``penalty`` times half the squared weights is added to it."""

    loss: ClassVar[Loss] = "cross-entropy"
    penalty: float

    @abstractmethod
    def layers(self, views: Mapping[str, Vector]) -> list[Layer]:
        """The weight and the intercept of each layer, as views of the arrays of a model."""

    @abstractmethod
    def gradient(self, weights: Mapping[str, Vector], slots: Mapping[str, Vector], features: Vector, targets: Vector) -> float:
        """Write the gradient of the mean loss over some rows, penalties included, into ``slots``. Returns the mean loss without
        penalties."""

    def clipped_gradient(self, point: Vector, rows: Rows, norm: float) -> Vector:
        """The sum over checked rows of the gradient of each one's loss at ``point``, penalties apart, each cut to L2 ``norm``."""
        gradient = np.zeros_like(point)
        layers, slots = (self.layers(self.layout.views(flat)) for flat in (point, gradient))
        add_clipped(layers, slots, self.loss, rows.features, rows.targets, norm)
        return gradient

    def penalty_gradient(self, point: Vector) -> Vector:
        """The gradient of the penalty at ``point``."""
        gradient = np.zeros_like(point)
        layers, slots = (self.layers(self.layout.views(flat)) for flat in (point, gradient))
        for (weight, _), (slot, _) in zip(layers, slots, strict=True):
            slot[...] = self.penalty * weight
        return gradient

    def accept(self, instructions: Instructions) -> None:
        """Any instructions can be followed."""

    def train(self, parameters: Parameters, rows: Rows, instructions: Instructions, generator: np.random.Generator) -> Trained:
        """See :meth:`Learner.train`."""
        with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
            return self._descend(parameters, rows, instructions, generator)

    def _descend(self, parameters: Parameters, rows: Rows, instructions: Instructions, generator: np.random.Generator) -> Trained:
        start = self.layout.flatten(parameters)
        point = start.copy()
        gradient, velocity = np.zeros_like(point), np.zeros_like(point)
        weights, slots = self.layout.views(point), self.layout.views(gradient)
        batch = min(instructions.batch or len(rows), len(rows))
        steps, losses = 0, 0.0
        features, targets = rows.features, rows.targets
        for _ in range(instructions.epochs):
            if batch < len(rows):
                order = generator.permutation(len(rows))
                features, targets = rows.features[order], rows.targets[order]
            losses = 0.0
            for first in range(0, len(rows), batch):
                some = targets[first : first + batch]
                losses += self.gradient(weights, slots, features[first : first + batch], some) * len(some)
                if instructions.proximal:
                    gradient += instructions.proximal * (point - start)
                if instructions.correction is not None:
                    gradient += instructions.correction
                velocity *= instructions.momentum
                velocity += gradient
                point -= instructions.rate * velocity
                steps += 1
            if not np.isfinite(losses):
                raise ValueError("training diverged: lower the rate, or scale the features")
        return Trained(self.layout.unflatten(point), steps, losses / len(rows))

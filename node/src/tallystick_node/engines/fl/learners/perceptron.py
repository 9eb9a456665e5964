"""A multilayer perceptron in NumPy, for classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tallystick_node.engines.fl.learner import Measure, Rows
from tallystick_node.engines.fl.learners.clipped import Layer
from tallystick_node.engines.fl.learners.gradient import GradientLearner
from tallystick_node.engines.fl.learners.linear import check_columns, cross_entropy, log_softmax
from tallystick_node.engines.fl.metrics import Classification
from tallystick_node.engines.fl.parameters import Entry, Layout, Parameters, Vector


@dataclass(frozen=True)
class Perceptron(GradientLearner):
    """Layers of ``hidden`` units with ReLU between ``features`` columns and the softmax of ``classes`` classes; cross-entropy and
    ``penalty`` |W|^2 / 2 over all weights. Weights start by He et al. (ICCV 2015), intercepts at 0."""

    features: int
    classes: int
    hidden: tuple[int, ...] = (32,)
    penalty: float = 0.0
    bins: int = 0

    @property
    def layout(self) -> Layout:
        """Weight and intercept of each layer: weight0, bias0, weight1, ..."""
        entries = []
        for number, shape in enumerate(pairwise((self.features, *self.hidden, self.classes))):
            entries += [Entry(f"weight{number}", shape, "float64"), Entry(f"bias{number}", shape[1:], "float64")]
        return Layout(tuple(entries))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those of a classification."""
        return Classification(self.classes, self.bins).measures

    def initial(self, seed: int) -> Parameters:
        """See :meth:`Learner.initial`."""
        generator = np.random.default_rng(seed)
        return Parameters(
            {
                entry.name: generator.normal(0, (2 / entry.shape[0]) ** 0.5, entry.shape)
                if len(entry.shape) == 2
                else np.zeros(entry.shape)
                for entry in self.layout.entries
            }
        )

    def check(self, rows: Rows) -> None:
        """See :meth:`Learner.check`."""
        check_columns(rows, self.features)
        Classification(self.classes).check(rows)

    def layers(self, views: Mapping[str, Vector]) -> list[Layer]:
        """As many as hidden ones, and one."""
        return [(views[f"weight{number}"], views[f"bias{number}"]) for number in range(len(self.hidden) + 1)]

    def gradient(self, weights: Mapping[str, Vector], slots: Mapping[str, Vector], features: Vector, targets: Vector) -> float:
        """By back-propagation; see :meth:`GradientLearner.gradient`."""
        inputs, scores = self._forward(weights, features)
        loss, errors = cross_entropy(log_softmax(scores), targets)
        for number in reversed(range(len(inputs))):
            weight, slot = weights[f"weight{number}"], slots[f"weight{number}"]
            np.matmul(inputs[number].T, errors, out=slot)
            if self.penalty:
                slot += self.penalty * weight
            errors.sum(axis=0, out=slots[f"bias{number}"])
            if number:
                errors = (errors @ weight.T) * (inputs[number] > 0)
        return loss

    def evaluate(self, parameters: Parameters, rows: Rows) -> Vector:
        """See :meth:`Learner.evaluate`."""
        _, scores = self._forward(parameters, rows.features)
        return Classification(self.classes, self.bins).sums(log_softmax(scores), rows.targets)

    def summary(self, sums: Vector) -> dict[str, float]:
        """See :meth:`Classification.summary`."""
        return Classification(self.classes, self.bins).summary(sums)

    def _forward(self, weights: Mapping[str, Vector], features: Vector) -> tuple[list[Vector], Vector]:
        """What enters each layer, and the scores that leave the last."""
        inputs = [features]
        for number in range(len(self.hidden)):
            inputs.append(np.maximum(inputs[-1] @ weights[f"weight{number}"] + weights[f"bias{number}"], 0))
        return inputs, inputs[-1] @ weights[f"weight{len(self.hidden)}"] + weights[f"bias{len(self.hidden)}"]

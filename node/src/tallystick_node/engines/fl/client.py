"""A client: its rows, which stay with it, and what it says of them in a round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tallystick_node.engines.fl.learner import Instructions, Learner, Rows, Trained
from tallystick_node.engines.fl.parameters import Parameters, Vector
from tallystick_node.engines.fl.strategies.base import State, Strategy
from tallystick_node.engines.fl.update import Contribution, Packing

Protect = Callable[[Vector, Packing, int], Vector]


@dataclass(frozen=True)
class Own:
    """What a client alone sees in a round: the quality on its held-out rows of the global model that the round began with, and of
    the one that it trained from it."""

    round: int
    before: dict[str, float]
    after: dict[str, float]


@dataclass
class Client:
    """Client ``number``, with rows to train on and, perhaps, rows held out to evaluate on.

    ``protect(packed, packing, round)`` is applied to what leaves the client, after it was cut to its bounds and before anyone
    sees it: it adds the noise of differential privacy, say. What it gives is cut to [-1, 1]. ``control``: the control variate;
    ``own``: what only this client sees.
    """

    number: int
    training: Rows
    held_out: Rows | None = None
    protect: Protect | None = None
    control: Vector | None = None
    own: list[Own] = field(default_factory=list)

    def check(self, learner: Learner, limit: int) -> None:
        """Raise ValueError, naming the client, when the learner cannot take its rows or they are more than ``limit``."""
        for rows in (self.training, self.held_out):
            if rows is None:
                continue
            if len(rows) > limit:
                raise ValueError(f"client {self.number} has {len(rows)} rows where the parties agreed on at most {limit}")
            try:
                learner.check(rows)
            except ValueError as error:
                raise ValueError(f"client {self.number}: {error}") from None

    def train(
        self, learner: Learner, strategy: Strategy, instructions: Instructions, packing: Packing, state: State, seed: int
    ) -> Vector:
        """Train from the global model on: the vector for the sum of the round. Raises ValueError, naming the client, when training
        diverges."""
        parameters = learner.layout.unflatten(state.model)
        if strategy.controls and self.control is None:
            self.control = np.zeros(packing.size)
        told = strategy.instruct(instructions, state, self.control)
        generator = np.random.default_rng([seed, state.round, self.number])
        try:
            trained = (
                learner.train(parameters, self.training, told, generator) if len(self.training) else Trained(parameters, 0, 0.0)
            )
        except ValueError as error:
            raise ValueError(f"client {self.number}: {error}") from error
        change = learner.layout.flatten(trained.parameters) - learner.layout.flatten(parameters)
        before = self.evaluate(learner, parameters)
        self.own.append(Own(state.round, learner.summary(before), learner.summary(self.evaluate(learner, trained.parameters))))
        rows = len(self.training)
        control = strategy.control_change(told, state, change, trained.steps)
        packed = packing.pack(Contribution(change, control, strategy.weight(rows), before, trained.loss * rows, rows))
        if self.control is not None:
            self.control = self.control + packing.control(packed)
        return self._leave(packed, packing, state.round)

    def report(self, learner: Learner, parameters: Parameters, packing: Packing, round: int) -> Vector:  # noqa: A002
        """Evaluate a model, without training: the vector for the sum of an evaluation."""
        measures = self.evaluate(learner, parameters)
        return self._leave(packing.pack(Contribution(np.zeros(0), None, 0.0, measures, 0.0, 0)), packing, round)

    def evaluate(self, learner: Learner, parameters: Parameters) -> Vector:
        """The sums of the measures over the held-out rows; zeros without any."""
        if self.held_out is None or not len(self.held_out):
            return np.zeros(sum(measure.width for measure in learner.measures))
        return learner.evaluate(parameters, self.held_out)

    def _leave(self, packed: Vector, packing: Packing, round: int) -> Vector:  # noqa: A002
        return packed if self.protect is None else np.clip(self.protect(packed, packing, round), -1.0, 1.0)

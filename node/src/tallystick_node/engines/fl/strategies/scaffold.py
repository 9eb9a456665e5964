"""SCAFFOLD: control variates that cancel the drift of unlike clients (Karimireddy et al., ICML 2020, algorithm 1, option II)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.fl.learner import Instructions
from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.strategies.averaging import FedAvg
from tallystick_node.engines.fl.strategies.base import MODEL, State
from tallystick_node.engines.fl.update import Total

CONTROL = "control"


@dataclass(frozen=True)
class Scaffold(FedAvg):
    """Clients add c - c_i to every gradient, c the global and c_i their own control variate, which starts at 0; then c_i
    becomes c_i - c - d / (K rate) for their change d in K steps of that rate, and c moves by the sum of their changes over the
    number of all clients. So c stays the mean of all c_i as long as every client whose own variate changed is in the sum.

    The vectors are twice as long, and what a client's control variate says of its data, its mean gradient, is in the sum.
    """

    @property
    def controls(self) -> bool:
        """Clients keep control variates."""
        return True

    @property
    def names(self) -> tuple[str, ...]:
        """The model and the global control variate."""
        return (MODEL, CONTROL)

    def accept(self, instructions: Instructions) -> None:
        """Momentum is refused: d / (K rate) is the mean gradient only without it."""
        if instructions.momentum:
            raise ValueError("SCAFFOLD takes clients without momentum: set momentum to 0")

    def start(self, model: Vector) -> State:
        """All control variates are 0."""
        return State(0, {MODEL: model, CONTROL: np.zeros_like(model)})

    def instruct(self, instructions: Instructions, state: State, control: Vector | None) -> Instructions:
        """Adds the correction."""
        assert control is not None
        return instructions.with_correction(state.arrays[CONTROL] - control)

    def control_change(self, instructions: Instructions, state: State, change: Vector, steps: int) -> Vector | None:
        """Nothing without a step."""
        if not steps:
            return np.zeros_like(change)
        return -state.arrays[CONTROL] - change / (steps * instructions.rate)

    def _advance(self, arrays: Mapping[str, Vector], mean: Vector, total: Total, clients: int) -> dict[str, Vector]:
        assert total.control is not None
        return {**super()._advance(arrays, mean, total, clients), CONTROL: arrays[CONTROL] + total.control / clients}

"""What a strategy is: a pure step from one state to the next, by the sum of a round alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tallystick_node.engines.fl.learner import Instructions
from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.update import Total

MODEL = "model"


@dataclass(frozen=True)
class State:
    """Where training stands after ``round`` rounds: flat vectors of the model's length by name, "model" among them."""

    round: int
    arrays: Mapping[str, Vector]

    @property
    def model(self) -> Vector:
        """The global parameters."""
        return self.arrays[MODEL]


@dataclass(frozen=True)
class Strategy(ABC):
    """A strategy. ``weighting``: whether a client counts by its training rows ("examples") or each as one ("uniform"), which hides
    how many rows it has and bounds what any one of them can do.
    """

    weighting: Literal["examples", "uniform"] = "examples"

    def __post_init__(self) -> None:
        if self.weighting not in ("examples", "uniform"):
            raise ValueError('clients are weighted by "examples" or "uniform"')

    @property
    def controls(self) -> bool:
        """Whether clients keep control variates, whose changes the sum holds."""
        return False

    @property
    def names(self) -> tuple[str, ...]:
        """The vectors of a state."""
        return (MODEL,)

    def weight(self, rows: int) -> float:
        """The weight of a client with so many training rows; none without any."""
        return float(rows) if self.weighting == "examples" else float(rows > 0)

    def accept(self, instructions: Instructions) -> None:  # noqa: B027 - most strategies can use any
        """Raise ValueError, saying why, when the strategy cannot use clients that train so."""

    def start(self, model: Vector) -> State:
        """The state before the first round."""
        return State(0, {MODEL: model})

    def instruct(self, instructions: Instructions, state: State, control: Vector | None) -> Instructions:
        """How a client trains in this round; ``control`` is its control variate."""
        return instructions

    def control_change(self, instructions: Instructions, state: State, change: Vector, steps: int) -> Vector | None:
        """By what a client that changed the model so in so many steps changes its control variate."""
        return None

    def step(self, state: State, total: Total, clients: int) -> State:
        """The next state, from the sum over a round; there are ``clients`` clients in all. Without weight, nothing but the
        round changes. Raises ValueError when the next state is not finite."""
        arrays = (
            dict(state.arrays) if total.weight <= 0 else self._advance(state.arrays, total.change / total.weight, total, clients)
        )
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("training diverged: lower the clients' or the server's rate")
        return State(state.round + 1, arrays)

    @abstractmethod
    def _advance(self, arrays: Mapping[str, Vector], mean: Vector, total: Total, clients: int) -> dict[str, Vector]:
        """The vectors after a round, from those before it and the weighted mean of the clients' changes."""

    def describe(self) -> Mapping[str, Any]:
        """Everything that makes this strategy what it is, as JSON: parties that train together compare it."""
        return {"strategy": type(self).__name__, **asdict(self)}

"""Adaptive steps of the server: the mean change of the clients serves as a gradient (Reddi et al., ICLR 2021, algorithm 2)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.strategies.base import MODEL, State, Strategy
from tallystick_node.engines.fl.update import Total

FIRST, SECOND = "first moment", "second moment"


@dataclass(frozen=True)
class _Adaptive(Strategy):
    """The model moves by ``rate`` m / (sqrt(v) + ``floor``), m the running mean of the changes, v of their squares, which starts at
    ``floor``^2. ``floor`` is tau of the paper."""

    rate: float = 0.1
    first: float = 0.9
    second: float = 0.99
    floor: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.rate < np.inf and 0 <= self.first < 1 and 0 <= self.second < 1 and 0 < self.floor < np.inf):
            raise ValueError("rate and floor are above 0, first and second within [0, 1)")

    @property
    def names(self) -> tuple[str, ...]:
        """The model and two moments."""
        return (MODEL, FIRST, SECOND)

    def start(self, model: Vector) -> State:
        """No change so far."""
        return State(0, {MODEL: model, FIRST: np.zeros_like(model), SECOND: np.full_like(model, self.floor**2)})

    def _advance(self, arrays: Mapping[str, Vector], mean: Vector, total: Total, clients: int) -> dict[str, Vector]:
        first = self.first * arrays[FIRST] + (1 - self.first) * mean
        second = self._squares(arrays[SECOND], mean * mean)
        return {MODEL: arrays[MODEL] + self.rate * first / (np.sqrt(second) + self.floor), FIRST: first, SECOND: second}

    @abstractmethod
    def _squares(self, second: Vector, square: Vector) -> Vector:
        """The next running mean of squares."""


@dataclass(frozen=True)
class FedAdam(_Adaptive):
    """v becomes second v + (1 - second) d^2 for the mean change d."""

    def _squares(self, second: Vector, square: Vector) -> Vector:
        return self.second * second + (1 - self.second) * square


@dataclass(frozen=True)
class FedYogi(_Adaptive):
    """v becomes v - (1 - second) d^2 sign(v - d^2) for the mean change d."""

    def _squares(self, second: Vector, square: Vector) -> Vector:
        return second - (1 - self.second) * square * np.sign(second - square)

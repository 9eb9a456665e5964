"""Federated averaging, with a server's rate, and with a proximal term at the clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tallystick_node.engines.fl.learner import Instructions
from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.strategies.base import MODEL, State, Strategy
from tallystick_node.engines.fl.update import Total


@dataclass(frozen=True)
class FedAvg(Strategy):
    """The model moves by ``rate`` times the weighted mean of the clients' changes (McMahan et al., AISTATS 2017, algorithm 1, where
    the rate is 1)."""

    rate: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rate < float("inf"):
            raise ValueError("the server's rate is above 0")

    def _advance(self, arrays: Mapping[str, Vector], mean: Vector, total: Total, clients: int) -> dict[str, Vector]:
        return {MODEL: arrays[MODEL] + self.rate * mean}


@dataclass(frozen=True)
class FedProx(FedAvg):
    """Federated averaging whose clients minimise their loss plus ``proximal`` |w - w0|^2 / 2, which keeps unlike clients near the
    global model w0 (Li et al., MLSys 2020, algorithm 2)."""

    proximal: float = 0.01

    def instruct(self, instructions: Instructions, state: State, control: Vector | None) -> Instructions:
        """Adds the proximal term."""
        return replace(instructions, proximal=self.proximal)

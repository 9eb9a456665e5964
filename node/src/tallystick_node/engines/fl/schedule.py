"""What the parties agree on before they train: rounds, who takes part in each, how clients train, and when to stop early."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tallystick_node.engines.fl.learner import Instructions
from tallystick_node.engines.fl.update import Clip

MAX_ROUNDS = 100_000
_HIGHER = ("accuracy", "auc", "r2")  # metrics of which more is better
_DOMAIN = b"tallystick cohort v1\0"


@dataclass(frozen=True)
class Stopping:
    """Stop when ``metric`` has not improved by more than ``improvement`` for ``patience`` evaluations in a row; the model that
    was best is kept. ``rows``: on the held-out rows of the round's clients, or on the public ones.
    """

    metric: str = "loss"
    patience: int = 5
    improvement: float = 0.0
    rows: Literal["clients", "public"] = "clients"

    def __post_init__(self) -> None:
        if self.patience < 1 or self.improvement < 0 or self.rows not in ("clients", "public"):
            raise ValueError('patience is at least 1, improvement at least 0, and rows are those of "clients" or "public"')

    def better(self, value: float, best: float) -> bool:
        """Whether a value of the metric improves on the best so far."""
        gain = value - best if self.metric in _HIGHER else best - value
        return gain > self.improvement


@dataclass(frozen=True)
class Schedule:
    """How training goes. Everything in it is public and the same for all parties.

    ``rows``: the most rows of any client, for training or held out. ``cohort``: how many clients take part in a round (None: all).
    ``seed``: of the first model, the cohorts and the order of rows in training. ``clip`` and ``control_clip`` bound what a client
    can change.
    """

    rounds: int
    rows: int
    instructions: Instructions = field(default_factory=Instructions)
    cohort: int | None = None
    seed: int = 0
    stopping: Stopping | None = None
    clip: Clip = field(default_factory=Clip)
    control_clip: Clip = field(default_factory=Clip)

    def __post_init__(self) -> None:
        if not (1 <= self.rounds <= MAX_ROUNDS and self.rows >= 1 and self.seed >= 0):
            raise ValueError(f"there are 1 to {MAX_ROUNDS} rounds, a client may have a row or more, and a seed is not negative")
        if self.cohort is not None and self.cohort < 1:
            raise ValueError("at least one client takes part in a round")
        if self.instructions.correction is not None or self.instructions.proximal:
            raise ValueError("proximal terms and corrections are for the strategy to give")

    def members(self, round: int, clients: int) -> tuple[int, ...]:  # noqa: A002
        """The clients of a round, in ascending order: those with the smallest SHA-256 of domain, seed, round and number, so that
        every party derives the same and each client is as likely as any other."""
        if self.cohort is None or self.cohort >= clients:
            return tuple(range(clients))
        draws = [(hashlib.sha256(_DOMAIN + f"{self.seed}/{round}/{client}".encode()).digest(), client) for client in range(clients)]
        return tuple(sorted(client for _, client in sorted(draws)[: self.cohort]))

    def describe(self) -> Mapping[str, Any]:
        """The schedule as JSON: parties that train together compare it."""
        return asdict(self)

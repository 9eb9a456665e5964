"""What each owner contributed to a training, measured on public rows of the task, as shares to pay by.

The rows stand in the task's parameters, so everybody has them; an owner that trains on them games the measure, so take rows that no
owner has, and others in each task. How the values are found without showing updates, what they tell and which lies are caught
stands in :mod:`tallystick_node.engines.fl.contribution.attribution`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.fl.carrier import Carrier
from tallystick_node.engines.fl.contribution.attribution import NODES, Attribution
from tallystick_node.engines.fl.contribution.games import shares
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Rows
from tallystick_node.engines.fl.learners.gradient import GradientLearner
from tallystick_node.engines.fl.strategies.averaging import FedAvg
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.features import Feature, decimal
from tallystick_node.workloads.tabular import text

MIN_ROWS, MAX_ROWS = 10, 2000


@dataclass(frozen=True)
class Measure:
    """``rows`` are public; ``floor`` is how far below 0 a claim may be, in units of the loss on them."""

    rows: Rows
    floor: float

    @classmethod
    def read(cls, value: Any, where: str, features: Sequence[Feature], target: Feature | Category) -> Measure:
        """From ``{floor, rows}``: rows of decimal texts in the order of the features, and last the target as the data have it.
        Raises MalformedDocument."""
        fields = Fields(value, ("floor", "rows"), where)
        floor = decimal(value["floor"], f"{where}.floor")
        if not 0 <= floor <= 1e6:
            raise MalformedDocument(f"{where}.floor: must be from 0 to 1000000")
        cells = fields.items("rows", MIN_ROWS, MAX_ROWS, lambda row, place: _row(row, place, features, target))
        table = np.array(cells)
        return cls(Rows(table[:, :-1], table[:, -1]), floor)

    @property
    def passes(self) -> int:
        """How often a row goes through a model in every round: for gradients, and to evaluate the model."""
        return len(self.rows) * (NODES + 1)

    def require(self, federation: Federation) -> None:
        """Raise ValueError unless contributions to this training can be measured."""
        federation.learner.check(self.rows)
        if not isinstance(federation.learner, GradientLearner) or not isinstance(federation.strategy, FedAvg):
            raise ValueError("contributions need a strategy of federated averaging")
        if federation.privacy is not None or federation.schedule.stopping is not None:
            raise ValueError("contributions are for training without differential privacy and without a rule to stop early")

    def follow(self, federation: Federation, carrier: Carrier) -> tuple[Federation, Attribution]:
        """The federation with the public rows, and the carrier to run it on, from its first round."""
        measured = replace(federation, public=self.rows)
        return measured, Attribution(measured, carrier)

    def words(self, followed: Attribution, owners: Sequence[int], parties: int) -> dict[str, Any]:
        """What a training's result says, after its last round: ``shares`` of all parties in their order, basis points that add up
        to 10,000, which they may sign for the settlement, and the ``values`` behind them; ``owners`` are the clients' places among
        the parties. Where the claims do not settle, no shares and why: then what was agreed before is paid. Costs one sum."""
        try:
            found = followed.settle(self.floor)
            values = {owners[client]: value for client, value in found.items()}
            return {
                "shares": shares(values, parties),
                "values": [text(values.get(each, 0.0)) for each in range(parties)],
                "unsettled": "",
            }
        except ValueError as error:  # unsettled, or nobody contributed
            return {"shares": None, "values": None, "unsettled": str(error)}


def _row(row: Any, where: str, features: Sequence[Feature], target: Feature | Category) -> list[float]:
    if not isinstance(row, list) or len(row) != len(features) + 1:
        raise MalformedDocument(f"{where}: must be a list of {len(features)} numbers and the target, as texts")
    numbers = [(decimal(cell, where) - each.center) / each.scale for cell, each in zip(row, features, strict=False)]
    if isinstance(target, Category):
        if row[-1] not in target.values:
            raise MalformedDocument(f"{where}: the target is none of the task's values")
        return [*numbers, float(target.values.index(row[-1]))]
    return [*numbers, (decimal(row[-1], where) - target.center) / target.scale]

"""What a task of the workload `boosting` says, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.fl.vertical.binning import MAX_BINS
from tallystick_node.engines.fl.vertical.boosting import Settings
from tallystick_node.engines.fl.vertical.parts import MAX_DEPTH
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.features import MAX_FEATURES, Split, decimal, require_distinct
from tallystick_node.workloads.planned import column
from tallystick_node.workloads.reading import TaskParameters

MAX_TREES = 500
KEY_BITS = (2048, 3072)


@dataclass(frozen=True)
class Numeric:
    """A numeric column that the trees ask for."""

    party: str
    column: str

    def numbers(self, table: pa.Table) -> NDArray[np.float64]:
        """The column's numbers. Raises InvalidData."""
        return column(table, self.column)


@dataclass(frozen=True)
class Ordered(Category):
    """A column of categories that the trees ask for: a value counts as its place in the task's list."""

    def numbers(self, table: pa.Table) -> NDArray[np.float64]:
        """The places, from 0. Raises InvalidData."""
        places: NDArray[np.int64] = self.indicators(table).argmax(axis=1)
        return places.astype(np.float64)


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``target`` has two values, of which the second is what is predicted. ``held_out``: percent of the joint rows that judge the
    model and do not train it, drawn by ``seed``. No child has fewer than ``minimum_group`` rows."""

    split: Split
    features: tuple[Numeric | Ordered, ...]
    target: Category
    settings: Settings
    held_out: int
    seed: int
    key_bits: int
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        keys = (
            "split", "features", "target", "trees", "depth", "bins", "rate", "penalty", "child_weight", "held_out", "seed",
            "key_bits", "minimum_group",
        )  # fmt: skip
        fields = Fields(dict(value), keys, "parameters")
        minimum = fields.integer("minimum_group", 2, 1_000_000)
        try:
            settings = Settings(
                trees=fields.integer("trees", 1, MAX_TREES),
                depth=fields.integer("depth", 1, MAX_DEPTH),
                bins=fields.integer("bins", 2, MAX_BINS),
                rate=decimal(value["rate"], "parameters.rate"),
                penalty=decimal(value["penalty"], "parameters.penalty"),
                child_weight=decimal(value["child_weight"], "parameters.child_weight"),
                child_rows=minimum,
            )
        except ValueError as error:
            raise MalformedDocument(f"parameters: {error}") from None
        parsed = cls(
            split=Split.read(value["split"], "parameters.split"),
            features=fields.items("features", 1, MAX_FEATURES, _feature),
            target=Category.read(value["target"], "parameters.target"),
            settings=settings,
            held_out=fields.integer("held_out", 0, 50),
            seed=fields.integer("seed", 0, 2**53 - 1),
            key_bits=fields.integer("key_bits", KEY_BITS[0], KEY_BITS[-1]),
            minimum_group=minimum,
        )
        if parsed.split.join is None:
            raise MalformedDocument("parameters.split.by: must be columns: owners of the same columns use training")
        if parsed.key_bits not in KEY_BITS:
            raise MalformedDocument(f"parameters.key_bits: must be {' or '.join(map(str, KEY_BITS))}")
        if not parsed.target.party or len(parsed.target.values) != 2:
            raise MalformedDocument("parameters.target: has a party, whose column it is, and two values")
        require_distinct(parsed.used, "features", "name a column twice, or the target among them")
        return parsed

    @property
    def used(self) -> tuple[Numeric | Category, ...]:
        """The features and the target."""
        return (*self.features, self.target)

    def own(self, party: str) -> list[Numeric | Ordered]:
        """The features that ``party`` brings, in the order of the parameters."""
        return [each for each in self.features if each.party == party]


def _feature(value: Any, where: str) -> Numeric | Ordered:
    """From ``{party, column}``, numbers, or ``{party, column, values}``, categories in their order."""
    if isinstance(value, dict) and "values" in value:
        found = Ordered.read(value, where)
        if not found.party:
            raise MalformedDocument(f"{where}.party: must be the column's owner")
        return found
    fields = Fields(value, ("party", "column"), where)
    return Numeric(fields.address("party"), fields.string("column", 128))

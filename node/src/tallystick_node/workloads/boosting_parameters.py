"""What a task of the workloads `boosting` and `shared-boosting` says, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidTask, MalformedDocument, OutputRefused
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.fl.vertical.binning import MAX_BINS
from tallystick_node.engines.fl.vertical.boosting import Settings
from tallystick_node.engines.fl.vertical.parts import MAX_DEPTH
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.features import MAX_FEATURES, Split, decimal, require_distinct
from tallystick_node.workloads.planned import column
from tallystick_node.workloads.protocols import protocol_of
from tallystick_node.workloads.reading import TaskParameters

MAX_TREES = 500
KEY_BITS = (2048, 3072)
COMMON = ("split", "features", "target", "trees", "depth", "bins", "rate", "penalty", "child_weight", "held_out", "seed")


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
class Common(TaskParameters):
    """What every boosting says. ``target`` has two values, of which the second is what is predicted.

    ``held_out``: percent of the joint rows that judge the model and do not train it, drawn by ``seed``. No child has fewer than
    ``minimum_group`` rows.
    """

    split: Split
    features: tuple[Numeric | Ordered, ...]
    target: Category
    settings: Settings
    held_out: int
    seed: int
    minimum_group: int

    @property
    def used(self) -> tuple[Numeric | Category, ...]:
        """The features and the target."""
        return (*self.features, self.target)

    def own(self, party: str) -> list[Numeric | Ordered]:
        """The features that ``party`` brings, in the order of the parameters."""
        return [each for each in self.features if each.party == party]

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec has the parameters' owners and columns, and each owner receives its part."""
        if len(spec.inputs) < 2:
            raise InvalidTask("a joint table has two or more owners", remedy="name a second input")
        self.split.check(spec, self.used)
        if set(spec.receivers) != {part.party for part in spec.inputs}:
            raise InvalidTask(
                "each owner keeps its part of the model, and nobody else gets one", remedy="name exactly the owners as receivers"
            )
        if {each.party for each in self.features} <= {self.target.party}:
            raise InvalidTask("nobody but the owner of the label brings features", remedy="train on its own, or name others'")

    def owners(self, spec: TaskSpec) -> list[str]:
        """The owner of the label, then the others in the task's order: the order of the model's owner numbers."""
        label = self.target.party
        return [label, *(part.party for part in spec.inputs if part.party != label)]

    def matrix(self, party: str, table: pa.Table) -> NDArray[np.float64]:
        """A party's features: shape (rows, features). Raises InvalidData."""
        own = self.own(party)
        return np.column_stack([each.numbers(table) for each in own]) if own else np.empty((table.num_rows, 0))

    def labels(self, table: pa.Table) -> NDArray[np.bool_]:
        """Which rows have the target's second value. Raises InvalidData."""
        found: NDArray[np.bool_] = self.target.indicators(table)[:, 1] > 0
        return found

    def drawn(self, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows to train on, and those held out: the same at every owner."""
        out = rows * self.held_out // 100
        order = np.random.default_rng(self.seed).permutation(rows)
        return np.sort(order[out:]), np.sort(order[:out])

    def require_rows(self, rows: int) -> None:
        """Raise OutputRefused unless so many joint rows can be divided."""
        trained = rows - rows * self.held_out // 100
        if trained < 2 * self.minimum_group:
            raise OutputRefused(
                f"{trained} joint rows are too few to be divided into groups of {self.minimum_group}",
                remedy="lower minimum_group, hold out less, or use larger datasets",
            )


@dataclass(frozen=True)
class Parameters(Common):
    """Of `boosting`: ``key_bits`` is the size of the Paillier key."""

    key_bits: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        fields = Fields(dict(value), (*COMMON, "key_bits", "minimum_group"), "parameters")
        bits = fields.integer("key_bits", KEY_BITS[0], KEY_BITS[-1])
        if bits not in KEY_BITS:
            raise MalformedDocument(f"parameters.key_bits: must be {' or '.join(map(str, KEY_BITS))}")
        return cls(**_common(fields, value), key_bits=bits)


@dataclass(frozen=True)
class SharedParameters(Common):
    """Of `shared-boosting`: ``fraction`` is the bits after the point."""

    protocol: str
    fraction: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> SharedParameters:
        fields = Fields(dict(value), (*COMMON, "protocol", "fraction", "minimum_group"), "parameters")
        parsed = cls(**_common(fields, value), protocol=protocol_of(fields), fraction=fields.integer("fraction", 12, 24))
        if not parsed.settings.penalty:
            raise MalformedDocument("parameters.penalty: must be above 0")
        return parsed


def _common(fields: Fields, value: Mapping[str, Any]) -> dict[str, Any]:
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
    split, target = Split.read(value["split"], "parameters.split"), Category.read(value["target"], "parameters.target")
    features = fields.items("features", 1, MAX_FEATURES, _feature)
    if split.join is None:
        raise MalformedDocument("parameters.split.by: must be columns: owners of the same columns use training")
    if not target.party or len(target.values) != 2:
        raise MalformedDocument("parameters.target: has a party, whose column it is, and two values")
    require_distinct((*features, target), "features", "name a column twice, or the target among them")
    return {
        "split": split,
        "features": features,
        "target": target,
        "settings": settings,
        "held_out": fields.integer("held_out", 0, 50),
        "seed": fields.integer("seed", 0, 2**53 - 1),
        "minimum_group": minimum,
    }


def _feature(value: Any, where: str) -> Numeric | Ordered:
    """From ``{party, column}``, numbers, or ``{party, column, values}``, categories in their order."""
    if isinstance(value, dict) and "values" in value:
        found = Ordered.read(value, where)
        if not found.party:
            raise MalformedDocument(f"{where}.party: must be the column's owner")
        return found
    fields = Fields(value, ("party", "column"), where)
    return Numeric(fields.address("party"), fields.string("column", 128))

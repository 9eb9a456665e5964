"""What every task says that trains a model on the columns of several owners of the same people, each of whom keeps its part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidTask, MalformedDocument, OutputRefused
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.encodings import Encoded
from tallystick_node.workloads.features import MAX_FEATURES, Feature, Split, require_distinct, scaled
from tallystick_node.workloads.reading import TaskParameters

PRODUCT = {2048: 8e-6, 3072: 1.6e-5}  # seconds for a product of Paillier ciphertexts, by the bits of the key
ENCRYPTION, DECRYPTION = 40, 800  # in products
KEY_BITS = tuple(PRODUCT)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Vertical(TaskParameters):
    """``target`` has two values, of which the second is what is predicted, or is a number where the model allows that.

    ``held_out``: percent of the joint rows that judge the model and do not train it, drawn by ``seed``.
    """

    split: Split
    features: tuple[Encoded, ...]
    target: Category | Feature
    held_out: int
    seed: int
    minimum_group: int

    @property
    def used(self) -> tuple[Encoded | Category | Feature, ...]:
        """The features and the target."""
        return (*self.features, self.target)

    @property
    def least_rows(self) -> int:
        """How many joint rows train at least."""
        return self.minimum_group

    def own(self, party: str) -> list[Encoded]:
        """The features that ``party`` brings, in the order of the parameters."""
        return [each for each in self.features if each.party == party]

    def names(self, party: str) -> list[str]:
        """The model's columns that ``party`` brings."""
        return [name for each in self.own(party) for name in each.names]

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
        return model_owners(spec, self.target.party)

    def matrix(self, party: str, table: pa.Table) -> Floats:
        """A party's columns of the model: shape (rows, names). Raises InvalidData."""
        return matrix(self.own(party), table)

    def answers(self, table: pa.Table) -> Floats:
        """The target: 1 in the rows that have its second value, else 0; or the scaled number. Raises InvalidData."""
        if isinstance(self.target, Category):
            return self.target.indicators(table)[:, 1].astype(np.float64)
        return scaled(table, [self.target])[:, 0]

    def drawn(self, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows to train on, and those held out: the same at every owner."""
        out = rows * self.held_out // 100
        order = np.random.default_rng(self.seed).permutation(rows)
        return np.sort(order[out:]), np.sort(order[:out])

    def require_rows(self, rows: int) -> None:
        """Raise OutputRefused when too few of so many joint rows would train."""
        trained = rows - rows * self.held_out // 100
        if trained < self.least_rows:
            raise OutputRefused(
                f"{trained} joint rows to train on are too few: {self.least_rows} are due",
                remedy="lower minimum_group, hold out less, ask for a smaller model, or use larger datasets",
            )


def read_common(
    fields: Fields,
    value: Mapping[str, Any],
    feature: Callable[[Any, str], Encoded],
    *,
    least: int = 2,
    numbers: bool = False,
) -> dict[str, Any]:
    """The members of :class:`Vertical`; ``numbers``: whether the target may be one. Raises MalformedDocument."""
    split, target = (
        Split.read(value["split"], "parameters.split"),
        read_target(value["target"], "parameters.target", numbers=numbers),
    )
    features = fields.items("features", 1, MAX_FEATURES, feature)
    if split.join is None:
        raise MalformedDocument("parameters.split.by: must be columns: owners of the same columns use training")
    require_distinct((*features, target), "features", "name a column twice, or the target among them")
    named = [(each.party, name) for each in features for name in each.names]
    if len(set(named)) != len(named):
        raise MalformedDocument("parameters.features: a value makes a column of another's name")
    return {
        "split": split,
        "features": features,
        "target": target,
        "held_out": fields.integer("held_out", 0, 50),
        "seed": fields.integer("seed", 0, 2**53 - 1),
        "minimum_group": fields.integer("minimum_group", least, 1_000_000),
    }


def read_key_bits(fields: Fields) -> int:
    """The size of a Paillier key. Raises MalformedDocument."""
    bits = fields.integer("key_bits", KEY_BITS[0], KEY_BITS[-1])
    if bits not in KEY_BITS:
        raise MalformedDocument(f"parameters.key_bits: must be {' or '.join(map(str, KEY_BITS))}")
    return bits


def read_target(value: Any, where: str, *, numbers: bool) -> Category | Feature:
    """From ``{party, column, values}``, of two values, or where that is allowed ``{party, column, center, scale}``. Raises
    MalformedDocument."""
    if numbers and isinstance(value, dict) and "values" not in value:
        target: Category | Feature = Feature.read(value, where)
    else:
        target = Category.read(value, where)
    if not target.party or (isinstance(target, Category) and len(target.values) != 2):
        raise MalformedDocument(f"{where}: has a party, whose column it is, and two values")
    return target


def model_owners(spec: TaskSpec, label: str) -> list[str]:
    """All owners of a task in the order of the model's owner numbers: the owner of the label first."""
    return [label, *(part.party for part in spec.inputs if part.party != label)]


def matrix(features: Sequence[Encoded], table: pa.Table) -> Floats:
    """One owner's columns of the model: shape (rows, names). Raises InvalidData."""
    return np.column_stack([each.numbers(table) for each in features]) if features else np.empty((table.num_rows, 0))

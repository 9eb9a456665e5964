"""Planned workloads over the joint table of several owners: what their specs, inputs and leakage have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidData, InvalidTask
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.mpc.array import SecretArray, column_stack, concatenate, declare
from tallystick_node.engines.mpc.array.program import Declared
from tallystick_node.workloads.features import Source, Split
from tallystick_node.workloads.planned import Planned


class Reading(Protocol):
    """Parameters of such a workload."""

    @property
    def split(self) -> Split:
        """How the table is split."""

    @property
    def used(self) -> Sequence[Source]:
        """The columns that are read, keys of the join aside."""

    @property
    def protocol(self) -> str:
        """The protocol's name."""

    @property
    def minimum_group(self) -> int:
        """How many rows an owner brings at least."""


@dataclass(frozen=True)
class Key:
    """A column by its name alone; ``party`` is empty where every owner has it."""

    party: str
    column: str

    @classmethod
    def read(cls, value: Any, where: str) -> Key:
        """From ``{party, column}``; party may be null. Raises MalformedDocument."""
        fields = Fields(value, ("party", "column"), where)
        return cls("" if value["party"] is None else fields.address("party"), fields.string("column", 128))


class Tabular(Planned):
    """A planned workload whose parameters are a :class:`Reading`."""

    @abstractmethod
    def parameters(self, spec: TaskSpec) -> Reading:
        """Read them. Raises InvalidTask."""

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the owners, columns and computing parties of the spec are those of its parameters."""
        parameters = self.parameters(spec)
        if len(spec.inputs) < 2:
            raise InvalidTask("a joint table has two or more owners", remedy="name a second input")
        parameters.split.check(spec, parameters.used)
        self.check_protocol(spec)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """What the parameters read of the party's dataset, keys among them."""
        parameters = self.parameters(spec)
        return parameters.split.columns(party, parameters.used)

    def protocol(self, spec: TaskSpec) -> str:
        """As the parameters say."""
        return self.parameters(spec).protocol

    def minimum_group(self, spec: TaskSpec) -> int:
        """As the parameters say."""
        return self.parameters(spec).minimum_group

    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """What the join tells."""
        return self.parameters(spec).split.learns()


class Block:
    """Columns that go into the plan side by side, as one input of each owner that has some of them."""

    def __init__(self, name: str, features: Sequence[Source], kind: str) -> None:
        self.name, self.features, self.kind = name, features, kind

    def own(self, party: str) -> list[Source]:
        """Those that ``party`` brings."""
        return [each for each in self.features if each.party in ("", party)]

    def of(self, party: str) -> str:
        """The input's name."""
        return f"{self.name} of {party}"

    def declared(self, spec: TaskSpec, rows: Mapping[str, int]) -> dict[str, Declared]:
        """The inputs of all owners."""
        return {
            self.of(part.party): declare(part.party, rows[part.party], [each.column for each in self.own(part.party)], self.kind)
            for part in spec.inputs
            if self.own(part.party)
        }

    def joint(self, spec: TaskSpec, arrays: Mapping[str, SecretArray]) -> SecretArray:
        """The columns of all rows, in the order of the features: shape (rows, features)."""
        if not self.features[0].party:
            return concatenate([arrays[self.of(part.party)] for part in spec.inputs])
        held = {
            (part.party, each.column): arrays[self.of(part.party)][:, place : place + 1]
            for part in spec.inputs
            for place, each in enumerate(self.own(part.party))
        }
        return column_stack([held[each.party, each.column] for each in self.features])


def whole_numbers(table: pa.Table, name: str, bits: int) -> NDArray[np.int64]:
    """A column of whole numbers below 2^bits in magnitude. Raises InvalidData."""
    field, cells = table.schema.field(name), table.column(name)
    if field.type != pa.int64() or int((field.metadata or {}).get(b"scale", b"0")) or cells.null_count:
        raise InvalidData(f"column {name!r} is not of whole numbers without empty cells", remedy="name another column")
    numbers: NDArray[np.int64] = cells.to_numpy()
    if np.any((numbers >= 1 << bits) | (numbers <= -(1 << bits))):
        raise InvalidData(f"column {name!r} has numbers of 2^{bits} or more", remedy="name another column")
    return numbers


def text(number: float) -> str:
    """A number of a result: the shortest text of its float64."""
    return repr(float(number))

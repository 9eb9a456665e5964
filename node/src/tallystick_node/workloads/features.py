"""Numeric columns of several owners as one table: how it is split among them, and how numbers are brought to the order of 1.

``rows``: every owner has the same columns for different people. ``columns``: owners have different columns of the same people,
whose rows are matched by a join (:mod:`alignment`). A column's ``center`` and ``scale`` are public and stated by the task, as a
caller knows them from the descriptions of the data: what is shared is (x - center) / scale, so nothing of the data is used to find
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.workloads.alignment import Join, align
from tallystick_node.workloads.planned import column

MAX_FEATURES = 256
_PLACE = "\0row"  # a name that no dataset's column has
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


class Source(Protocol):
    """Whatever is made of a column; ``party`` is empty where every owner has it."""

    @property
    def party(self) -> str:
        """Its owner."""

    @property
    def column(self) -> str:
        """Its name."""


@dataclass(frozen=True)
class Feature:
    """A numeric column; ``party`` is empty where every owner has it. ``center`` and ``scale`` are decimal texts, scale above 0."""

    party: str
    column: str
    center: float
    scale: float

    @classmethod
    def read(cls, value: Any, where: str) -> Self:
        """From ``{party, column, center, scale}``; party may be null. Raises MalformedDocument."""
        fields = Fields(value, ("party", "column", "center", "scale"), where)
        party = "" if value["party"] is None else fields.address("party")
        center, scale = (decimal(value[name], f"{where}.{name}") for name in ("center", "scale"))
        if scale <= 0:
            raise MalformedDocument(f"{where}.scale: must be above 0")
        return cls(party, fields.string("column", 128), center, scale)


def decimal(value: Any, where: str) -> float:
    """A number from its decimal text. Raises MalformedDocument."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise MalformedDocument(f"{where}: must be a decimal text of at most 15 digits before and after the point")
    return float(value)


@dataclass(frozen=True)
class Split:
    """How the table is split: by rows where there is no join, else by columns."""

    join: Join | None

    @classmethod
    def read(cls, value: Any, where: str) -> Split:
        """From ``{by, join}``: by ``rows`` with join null, or by ``columns``. Raises MalformedDocument."""
        fields = Fields(value, ("by", "join"), where)
        by = fields.choice("by", ("rows", "columns"))
        if (by == "rows") != (value["join"] is None):
            raise MalformedDocument(f"{where}.join: null for a split by rows, and said for a split by columns")
        return cls(None if value["join"] is None else Join.read(value["join"], f"{where}.join"))

    def check(self, spec: TaskSpec, features: Sequence[Source]) -> None:
        """Raise InvalidTask unless the owners and columns of the spec are those of the split and its features."""
        owners = {part.party for part in spec.inputs}
        if self.join is None:
            if any(each.party for each in features):
                raise InvalidTask("a split by rows names no party of a feature", remedy="set party to null")
        elif set(self.join.keys) != owners or {each.party for each in features} != owners:
            raise InvalidTask("the owners are not those of the join and the features", remedy="name every owner in both")
        for part in spec.inputs:
            if set(part.columns) != set(self.columns(part.party, features)):
                raise InvalidTask(
                    "an input's columns are not those that the parameters read",
                    party=part.party,
                    remedy=f"list exactly {', '.join(self.columns(part.party, features))}",
                )

    def columns(self, party: str, features: Sequence[Source]) -> list[str]:
        """The columns that are read of ``party``'s dataset, key columns among them."""
        own = [each.column for each in features if each.party in ("", party)]
        return list(dict.fromkeys([*(self.join.keys.get(party, ()) if self.join else ()), *own]))

    def matched(self, spec: TaskSpec, party: str, table: pa.Table, session: Session) -> pa.Table:
        """An owner's rows, in the order common to all where the table is split by columns. Raises InvalidData."""
        if self.join is None:
            return table
        return align(self.join, session, party, [spec.parties.index(part.party) for part in spec.inputs], table)

    def learns(self) -> Mapping[str, str]:
        """What the matching of rows tells whom."""
        return {"owner": "which of its rows the other owners have too"} if self.join else {}

    def rows(self, counts: Mapping[str, int]) -> int:
        """How many rows the joint table has. Raises InvalidTask where owners who hold the same people bring different numbers."""
        if self.join is None:
            return sum(counts.values())
        if len(set(counts.values())) != 1:
            raise InvalidTask("the owners bring different numbers of joint rows", remedy="match the rows anew")
        return next(iter(counts.values()))


def numbered(table: pa.Table) -> pa.Table:
    """The table with the place of every row, from 0, in a column more, which stays with the row when rows are matched."""
    return table.append_column(_PLACE, pa.array(np.arange(table.num_rows)))


def places(table: pa.Table) -> NDArray[np.int64]:
    """Where the rows stood in the table that :func:`numbered` got."""
    found: NDArray[np.int64] = table.column(_PLACE).to_numpy()
    return found


def scaled(table: pa.Table, features: Sequence[Feature]) -> NDArray[np.float64]:
    """The centred and scaled columns side by side: shape (rows, features). Raises InvalidData."""
    return np.column_stack([(column(table, each.column) - each.center) / each.scale for each in features])


def require_distinct(used: Iterable[Source], where: str, rule: str = "names a column twice") -> None:
    """Raise MalformedDocument when two are the same column of the same party."""
    named = [(each.party, each.column) for each in used]
    if len(set(named)) != len(named):
        raise MalformedDocument(f"parameters.{where}: {rule}")

"""What a `linked-statistics` task may ask for, read strictly, and how the numbers are laid out that its owners bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

from tallystick.protocol.bounds import PRODUCTS, SQUARES
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.psi import circuit
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.keys import KeyRules, key_columns
from tallystick_node.workloads.reading import TaskParameters
from tallystick_node.workloads.statistics.parameters import COMPUTE

MAX_COLUMNS, MAX_GROUPS, MAX_BITS, MAX_MINIMUM = 16, 16, 40, 1_000_000
LIMB = 20  # bits
ROOM = 62 - 20  # bits of a word that may be added up over 2^20 rows

Pair = tuple[int, int]


@dataclass(frozen=True)
class Measure:
    """A numeric column of one owner: ``scale`` digits after the point, and below 2^``bits`` in magnitude as it is stored."""

    party: str
    column: str
    scale: int
    bits: int

    @classmethod
    def read(cls, value: Any, where: str) -> Measure:
        """From ``{party, column, scale, bits}``. Raises MalformedDocument."""
        fields = Fields(value, ("party", "column", "scale", "bits"), where)
        return cls(
            fields.address("party"),
            fields.string("column", 128),
            fields.integer("scale", 0, 9),
            fields.integer("bits", 1, MAX_BITS),
        )


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``keys``: for each owner its key columns, in the order of the rules' types.

    A number is cut into *limbs* of 20 bits, lowest first, where its products would not fit a word when they are added up. An owner
    brings words for each of its keys: the limbs of its columns, then for each two of them whose product is needed the limbs of the
    product. The owner of the groups brings for each group whether the row is in it, and then these words, or zeros.
    """

    keys: Mapping[str, tuple[str, ...]]
    rules: KeyRules
    columns: tuple[Measure, ...]
    compute: tuple[str, ...]
    group_by: Category | None
    minimum_group: int
    ddof: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        names = ("keys", "types", "fold", "duplicates", "columns", "compute", "group_by", "minimum_group", "ddof")
        fields = Fields(dict(value), names, "parameters")
        parsed = cls(
            keys=dict(fields.items("keys", 2, 2, key_columns)),
            rules=KeyRules.read(fields, value["types"], "parameters"),
            columns=fields.items("columns", 0, MAX_COLUMNS, Measure.read),
            compute=fields.names("compute", 1, len(COMPUTE)),
            group_by=None if value["group_by"] is None else Category.read(value["group_by"], "parameters.group_by"),
            minimum_group=fields.integer("minimum_group", 2, MAX_MINIMUM),
            ddof=fields.integer("ddof", 0, 1),
        )
        parsed._agree()
        return parsed

    def _agree(self) -> None:
        """Raise MalformedDocument unless the parts fit one another."""
        if any(len(columns) != len(self.rules.types) for columns in self.keys.values()):
            raise MalformedDocument("parameters.keys: each owner names one column for each type")
        if unknown := set(self.compute) - set(COMPUTE):
            raise MalformedDocument(f"parameters.compute: unknown {min(unknown)!r}; known: {', '.join(COMPUTE)}")
        if (self.compute == ("count",)) == bool(self.columns):
            raise MalformedDocument("parameters.columns: none where only count is computed, else at least one")
        named = [(each.party, each.column) for each in self.columns]
        if len(set(named)) != len(named):
            raise MalformedDocument("parameters.columns: names the same column twice")
        if any(party not in self.keys or column in self.keys[party] for party, column in named):
            raise MalformedDocument("parameters.columns: each is a column of an owner in keys, and no key column")
        if self.group_by and self.group_by.party not in self.keys:
            raise MalformedDocument("parameters.group_by.party: one of the two owners in keys")
        if len(self.groups) > MAX_GROUPS:
            raise MalformedDocument(f"parameters.group_by.values: at most {MAX_GROUPS}")
        if max(map(self.width, self.keys)) > circuit.MAX_COLUMNS:
            raise MalformedDocument(
                f"parameters: an owner brings more than {circuit.MAX_COLUMNS} words for a key",
                remedy="ask for fewer groups or columns, or say fewer bits",
            )

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups; one when not grouped."""
        return self.group_by.values if self.group_by else ("",)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The columns, by their places, whose products are needed."""
        places = range(len(self.columns))
        if PRODUCTS & set(self.compute):
            return tuple(combinations_with_replacement(places, 2))
        return tuple((place, place) for place in places) if SQUARES & set(self.compute) else ()

    def own(self, party: str) -> tuple[int, ...]:
        """The columns of one owner."""
        return tuple(place for place, each in enumerate(self.columns) if each.party == party)

    def own_pairs(self, party: str) -> tuple[Pair, ...]:
        """The products that one owner makes of its own columns."""
        own = self.own(party)
        return tuple(pair for pair in self.pairs if set(pair) <= set(own))

    def crossing(self) -> tuple[Pair, ...]:
        """The products of a column of the one owner and one of the other."""
        return tuple((i, j) for i, j in self.pairs if self.columns[i].party != self.columns[j].party)

    def limbs(self, place: int) -> int:
        """Of a column."""
        most = max(each.bits for each in self.columns)
        bits = self.columns[place].bits
        return 1 if not self.pairs or bits + most <= ROOM else -(-bits // LIMB)

    def words(self, party: str) -> dict[int | Pair, range]:
        """Where an owner's columns and products are among its words, of one group; these begin behind what marks the group."""
        sizes: dict[int | Pair, int] = {place: self.limbs(place) for place in self.own(party)}
        sizes |= {(i, j): self.limbs(i) + self.limbs(j) - 1 for i, j in self.own_pairs(party)}
        found, start = {}, int(self.marks(party))
        for name, size in sizes.items():
            found[name] = range(start, start + size)
            start += size
        return found

    def marks(self, party: str) -> bool:
        """Whether an owner's words begin with whether the row is in the group."""
        return self.group_by is not None and self.group_by.party == party

    def span(self, party: str) -> int:
        """How many words an owner has for one group."""
        return int(self.marks(party)) + sum(len(each) for each in self.words(party).values())

    def width(self, party: str) -> int:
        """How many words an owner brings for a key."""
        return self.span(party) * (len(self.groups) if self.marks(party) else 1)

    def read(self, party: str) -> Sequence[str]:
        """The columns of an owner that a run reads, each once."""
        grouping = (self.group_by.column,) if self.group_by and self.marks(party) else ()
        return list(dict.fromkeys([*self.keys[party], *(self.columns[each].column for each in self.own(party)), *grouping]))

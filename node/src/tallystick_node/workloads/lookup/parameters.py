"""The parameters of a `lookup`: whose table, whose keys, and how many lookups the task takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.pir.lookup import MAX_LOOKUPS
from tallystick_node.workloads.base import require_owners_compute
from tallystick_node.workloads.keys import KeyRules
from tallystick_node.workloads.reading import TaskParameters

MAX_VALUES = 256  # columns
MAX_ROW_BYTES = 4096
FOUND = "found"  # the column of the result that says whether the table has the key


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``owner``'s table by its key columns ``keys``, of which ``values`` are read; ``asker``'s keys, in its columns ``asked``.
    ``lookups`` is the declared number, ``row_bytes`` the most that the cells of one row take."""

    owner: str
    keys: tuple[str, ...]
    values: tuple[str, ...]
    asker: str
    asked: tuple[str, ...]
    rules: KeyRules
    lookups: int
    row_bytes: int
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        names = ("table", "asker", "types", "fold", "duplicates", "lookups", "row_bytes", "minimum_group")
        fields = Fields(dict(value), names, "parameters")
        table = Fields(fields.object("table"), ("party", "keys", "values"), "parameters.table")
        asker = Fields(fields.object("asker"), ("party", "keys"), "parameters.asker")
        made = cls(
            owner=table.address("party"),
            keys=table.names("keys", 1, 16),
            values=table.names("values", 1, MAX_VALUES),
            asker=asker.address("party"),
            asked=asker.names("keys", 1, 16),
            rules=KeyRules.read(fields, value["types"], "parameters"),
            lookups=fields.integer("lookups", 1, MAX_LOOKUPS),
            row_bytes=fields.integer("row_bytes", 8, MAX_ROW_BYTES),
            minimum_group=fields.integer("minimum_group", 2, 1000),
        )
        if made.owner == made.asker:
            raise MalformedDocument("parameters.asker.party: it is the table's owner itself")
        if not len(made.keys) == len(made.asked) == len(made.rules.types):
            raise MalformedDocument("parameters: table.keys and asker.keys name one column for each type")
        if set(made.keys) & set(made.values):
            raise MalformedDocument("parameters.table.values: names a key column, which the asker knows already")
        if {*made.asked, FOUND} & set(made.values) or FOUND in made.asked:
            raise MalformedDocument(f"parameters: two columns of the result would have one name (one is {FOUND!r})")
        return made

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a lookup between these two, for the asker alone."""
        require_owners_compute(spec)
        if {part.party for part in spec.inputs} != {self.owner, self.asker}:
            raise InvalidTask("a lookup has two inputs, the table and the asker's keys", remedy="name both parties in parameters")
        if spec.receivers != (self.asker,):
            raise InvalidTask("the asker, who alone knows its keys, is the only receiver of a lookup", party=self.asker)
        for part in spec.inputs:
            if set(part.columns) != set(self.columns(part.party)):
                raise InvalidTask("an input's columns are not those that the parameters name", party=part.party)

    def columns(self, party: str) -> tuple[str, ...]:
        """What is read of a party's dataset."""
        return (*self.keys, *self.values) if party == self.owner else self.asked

    def table_name(self, dataset: str) -> str:
        """Names a table: a dataset, read in one way. For the folder that keeps it."""
        rules = [list(self.rules.types), self.rules.fold, self.rules.duplicates]
        content = canonical.encode([dataset, list(self.keys), list(self.values), rules, self.row_bytes])
        return "lookup-" + hashlib.sha256(content).hexdigest()[:32]

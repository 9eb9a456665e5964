"""`aggregation`: counts, sums and means by groups, of keys and values that different owners hold.

The groups are those of public categories, one or several, or of one secret column of whole numbers. A group that is too small is
suppressed inside the computation: neither its key nor anything else of it is shown.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.array import SecretArray, concatenate, declare, group_by, plan_of, reveal, sort_by, stack
from tallystick_node.engines.mpc.models.suppression import shown_cells
from tallystick_node.engines.mpc.plan.document import InvalidPlan, Plan
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.features import Feature, Source, Split, require_distinct, scaled
from tallystick_node.workloads.planned import Numbers
from tallystick_node.workloads.protocols import protocol_of
from tallystick_node.workloads.reading import TaskParameters
from tallystick_node.workloads.tabular import Block, Key, Tabular, text, whole_numbers

MAX_KEYS, MAX_CELLS, MAX_LIMIT, MAX_VALUES = 3, 4096, 10_000, 64
KEY_BITS = 43  # of a secret key's magnitude


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """By ``categories``, or by the secret ``key``, of which at most ``limit`` groups are shown."""

    split: Split
    categories: tuple[Category, ...]
    key: Key | None
    limit: int
    values: tuple[Feature, ...]
    protocol: str
    fraction: int
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        fields = Fields(dict(value), ("split", "by", "values", "protocol", "fraction", "minimum_group"), "parameters")
        categories, key, limit = _by(value["by"], "parameters.by")
        parsed = cls(
            split=Split.read(value["split"], "parameters.split"),
            categories=categories,
            key=key,
            limit=limit,
            values=fields.items("values", 0, MAX_VALUES, Feature.read),
            protocol=protocol_of(fields),
            fraction=fields.integer("fraction", 12, 24),
            minimum_group=fields.integer("minimum_group", 2, 1_000_000),
        )
        for where, used in (("by.keys", parsed.categories), ("values", parsed.values)):
            require_distinct(used, where)
        if np.prod([len(each.values) for each in categories], dtype=np.int64) > MAX_CELLS:
            raise MalformedDocument(f"parameters.by.keys: has more than {MAX_CELLS} combinations")
        return parsed

    @property
    def used(self) -> tuple[Source, ...]:
        """Every column that is read, but for those of the join."""
        return (*self.categories, *((self.key,) if self.key else ()), *self.values)


def _by(value: Any, where: str) -> tuple[tuple[Category, ...], Key | None, int]:
    if not isinstance(value, dict) or value.get("kind") not in ("public", "secret"):
        raise MalformedDocument(f"{where}.kind: must be public or secret")
    if value["kind"] == "public":
        return Fields(value, ("kind", "keys"), where).items("keys", 1, MAX_KEYS, Category.read), None, 0
    fields = Fields(value, ("kind", "key", "limit"), where)
    return (), Key.read(value["key"], f"{where}.key"), fields.integer("limit", 1, MAX_LIMIT)


class Aggregation(Tabular):
    """The workload `aggregation`."""

    name = "aggregation"

    def parameters(self, spec: TaskSpec) -> Parameters:
        """Read them. Raises InvalidTask."""
        return Parameters.parse(spec.parameters)

    def check_rows(self, spec: TaskSpec, rows: Mapping[str, int]) -> None:
        """Groups that are too small are suppressed inside the computation."""
        self.parameters(spec).split.rows(rows)

    def plan(self, spec: TaskSpec, rows: Mapping[str, int]) -> Plan:
        """Group, suppress, and show what is left."""
        parameters = self.parameters(spec)
        values = Block("values", parameters.values, f"fixed:{parameters.fraction}")
        inputs = values.declared(spec, rows)
        keys = Block("keys", [parameters.key] if parameters.key else [], "integer")
        inputs.update(keys.declared(spec, rows))
        for number, each in enumerate(parameters.categories):
            for part in spec.inputs:
                if each.party in ("", part.party):
                    inputs[_category(number, part.party)] = declare(part.party, rows[part.party], each.values, "integer")

        def program(**arrays: SecretArray) -> None:
            table = values.joint(spec, arrays) if parameters.values else None
            if parameters.key:
                shown = _secret(keys.joint(spec, arrays)[:, 0], table, parameters)
            else:
                indicators = [
                    concatenate([arrays[name] for name in (_category(number, p.party) for p in spec.inputs) if name in arrays])
                    for number in range(len(parameters.categories))
                ]
                shown = _public(indicators, table, parameters)
            for name, value in shown.items():
                reveal(value, to=spec.receivers, name=name)

        try:
            return plan_of(program, inputs, spec.receivers, parameters.fraction)
        except InvalidPlan as error:
            raise InvalidTask(f"the aggregation is too large: {error}", remedy="take fewer groups or values") from None

    def prepare(self, spec: TaskSpec, party: str, table: pa.Table, session: Session) -> Numbers:
        """The owner's keys and scaled values."""
        parameters = self.parameters(spec)
        table = parameters.split.matched(spec, party, table, session)
        prepared: dict[str, NDArray[Any]] = {}
        own = [each for each in parameters.values if each.party in ("", party)]
        if own:
            prepared[f"values of {party}"] = scaled(table, own)
        if parameters.key and parameters.key.party in ("", party):
            prepared[f"keys of {party}"] = whole_numbers(table, parameters.key.column, KEY_BITS).reshape(-1, 1)
        for number, category in enumerate(parameters.categories):
            if category.party in ("", party):
                prepared[_category(number, party)] = category.indicators(table)
        return prepared

    def words(self, spec: TaskSpec, shown: Numbers, rows: Mapping[str, int]) -> Mapping[str, Any]:
        """A row for each group that is shown, and how many rows are in the others."""
        parameters = self.parameters(spec)
        counts = shown["counts"].ravel()
        if parameters.key:
            keys: list[tuple[str, ...]] = [(str(int(key)),) for key in shown["keys"]]
        else:
            keys = list(itertools.product(*(each.values for each in parameters.categories)))
        groups = []
        for place in np.flatnonzero(counts).tolist():
            found: dict[str, Any] = {"key": list(keys[place]), "count": int(counts[place])}
            if parameters.values:
                totals = [
                    float(total) * each.scale + found["count"] * each.center
                    for total, each in zip(shown["sums"][:, place], parameters.values, strict=True)
                ]
                found["values"] = [
                    {"party": each.party or None, "column": each.column, "sum": text(total), "mean": text(total / found["count"])}
                    for total, each in zip(totals, parameters.values, strict=True)
                ]
            groups.append(found)
        number = parameters.split.rows(rows)
        return {"rows": number, "groups": groups, "rows_in_other_groups": number - int(counts.sum())}


def _public(indicators: Sequence[SecretArray], table: SecretArray | None, parameters: Parameters) -> dict[str, SecretArray]:
    rows, lengths = indicators[0].shape[0], [each.shape[1] for each in indicators]
    cells = indicators[0]
    for each in indicators[1:]:
        cells = (cells.reshape(rows, cells.shape[1], 1) * each.reshape(rows, 1, each.shape[1])).reshape(rows, -1)
    counts = cells.sum(axis=0)
    kept = shown_cells(counts.reshape(lengths), parameters.minimum_group).reshape(cells.shape[1]).astype(int)
    shown = {"counts": counts * kept}
    if table is not None:
        shown["sums"] = (table.T @ cells) * kept
    return shown


def _secret(keys: SecretArray, table: SecretArray | None, parameters: Parameters) -> dict[str, SecretArray]:
    """Shown groups come first, so that not even the place of a suppressed one among the keys is seen."""
    vectors = [table[:, place] for place in range(table.shape[1])] if table is not None else []
    _, found, counts, *sums = group_by(keys, *vectors, limit=parameters.limit)
    kept = shown_cells(counts, parameters.minimum_group, keys.shape[0]).astype(int)
    _, found, counts, *sums = sort_by(1 - kept, *(each * kept for each in (found, counts, *sums)), bits=1)
    shown = {"keys": _padded(found, parameters.limit), "counts": _padded(counts, parameters.limit)}
    if sums:
        shown["sums"] = stack([_padded(each, parameters.limit) for each in sums])
    return shown


def _padded(vector: SecretArray, length: int) -> SecretArray:
    """With zeros behind: how much is shown does not depend on the number of rows."""
    missing = length - len(vector)
    return concatenate([vector, np.zeros(missing, np.int64)]) if missing > 0 else vector


def _category(number: int, party: str) -> str:
    return f"category {number} of {party}"

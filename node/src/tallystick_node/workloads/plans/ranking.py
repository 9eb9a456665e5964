"""`ranking`: the best rows by a score that is a public weighting of several owners' columns.

What is shown are the best rows' ids in order, and on request their scores: this workload is for finding single rows, and names
them. Nothing is shown of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from tallystick.protocol.errors import InvalidData
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.array import SecretArray, concatenate, declare, plan_of, reveal, top_k
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.workloads.features import MAX_FEATURES, Source, Split, decimal, require_distinct
from tallystick_node.workloads.planned import Numbers, column
from tallystick_node.workloads.protocols import protocol_of
from tallystick_node.workloads.reading import TaskParameters
from tallystick_node.workloads.tabular import Key, Tabular, text, whole_numbers

MAX_K = 10_000
ID_BITS = 61
SCORE_BITS = 43  # with those after the point


@dataclass(frozen=True)
class Term:
    """A numeric column and its weight in the score; ``party`` is empty where every owner has it."""

    party: str
    column: str
    weight: float

    @classmethod
    def read(cls, value: Any, where: str) -> Term:
        """From ``{party, column, weight}``; party may be null. Raises MalformedDocument."""
        fields = Fields(value, ("party", "column", "weight"), where)
        party = "" if value["party"] is None else fields.address("party")
        return cls(party, fields.string("column", 128), decimal(value["weight"], f"{where}.weight"))


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``k`` rows are named, those with the highest scores or the lowest; ``scores``: with their scores."""

    split: Split
    id: Key
    score: tuple[Term, ...]
    order: str
    k: int
    scores: bool
    protocol: str
    fraction: int
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        keys = ("split", "id", "score", "order", "k", "scores", "protocol", "fraction", "minimum_group")
        fields = Fields(dict(value), keys, "parameters")
        parsed = cls(
            split=Split.read(value["split"], "parameters.split"),
            id=Key.read(value["id"], "parameters.id"),
            score=fields.items("score", 1, MAX_FEATURES, Term.read),
            order=fields.choice("order", ("highest", "lowest")),
            k=fields.integer("k", 1, MAX_K),
            scores=fields.boolean("scores"),
            protocol=protocol_of(fields),
            fraction=fields.integer("fraction", 1, 24),
            minimum_group=fields.integer("minimum_group", 2, 1_000_000),
        )
        require_distinct(parsed.score, "score")
        return parsed

    @property
    def used(self) -> tuple[Source, ...]:
        """The id and the columns of the score."""
        return (self.id, *self.score)

    def own(self, party: str) -> list[Term]:
        """The terms that ``party`` adds."""
        return [each for each in self.score if each.party in ("", party)]


class Ranking(Tabular):
    """The workload `ranking`."""

    name = "ranking"

    def parameters(self, spec: TaskSpec) -> Parameters:
        """Read them. Raises InvalidTask."""
        return Parameters.parse(spec.parameters)

    def minimum_group(self, spec: TaskSpec) -> int:
        """As the parameters say, and as many rows as are named."""
        parameters = self.parameters(spec)
        return max(parameters.minimum_group, parameters.k)

    def check_rows(self, spec: TaskSpec, rows: Mapping[str, int]) -> None:
        """The owners of the same people bring as many rows."""
        self.parameters(spec).split.rows(rows)

    def plan(self, spec: TaskSpec, rows: Mapping[str, int]) -> Plan:
        """Add up the owners' parts of the score, and find the best."""
        parameters = self.parameters(spec)
        inputs = {}
        for part in spec.inputs:
            if parameters.own(part.party):
                inputs[f"score of {part.party}"] = declare(part.party, rows[part.party], kind=f"fixed:{parameters.fraction}")
            if parameters.id.party in ("", part.party):
                inputs[f"ids of {part.party}"] = declare(part.party, rows[part.party], parameters.id.column, "integer")

        def program(**arrays: SecretArray) -> None:
            scores = [arrays[name] for name in arrays if name.startswith("score of ")]
            ids = concatenate([arrays[name] for name in arrays if name.startswith("ids of ")])
            total = concatenate(scores)
            if parameters.split.join is not None:
                total = scores[0]
                for each in scores[1:]:
                    total = total + each
            best, named = top_k(total, ids, k=parameters.k, largest=parameters.order == "highest")
            reveal(named, to=spec.receivers, name="ids")
            if parameters.scores:
                reveal(best, to=spec.receivers, name="scores")

        return plan_of(program, inputs, spec.receivers, parameters.fraction)

    def prepare(self, spec: TaskSpec, party: str, table: pa.Table, session: Session) -> Numbers:
        """The owner's part of every row's score, weighted and summed by itself, and the ids if it has them."""
        parameters = self.parameters(spec)
        table = parameters.split.matched(spec, party, table, session)
        prepared: dict[str, Any] = {}
        own = parameters.own(party)
        if own:
            score = sum(column(table, each.column) * each.weight for each in own)
            if np.any(np.abs(score) >= 2.0 ** (SCORE_BITS - 4 - parameters.fraction)):  # 16 owners' parts stay in range
                raise InvalidData("a part of a score does not fit the task's fraction bits", remedy="take smaller weights")
            prepared[f"score of {party}"] = score
        if parameters.id.party in ("", party):
            prepared[f"ids of {party}"] = whole_numbers(table, parameters.id.column, ID_BITS)
        return prepared

    def words(self, spec: TaskSpec, shown: Numbers, rows: Mapping[str, int]) -> Mapping[str, Any]:
        """The best rows, best first."""
        parameters = self.parameters(spec)
        best: list[dict[str, Any]] = [{"id": str(int(each))} for each in shown["ids"]]
        if parameters.scores:
            for row, score in zip(best, shown["scores"], strict=True):
                row["score"] = text(score)
        return {"rows": parameters.split.rows(rows), "best": best}

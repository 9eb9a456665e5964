"""`scorecard`: weights of evidence, information values, and the points of a credit scorecard over several owners' binned columns.

The bins are public; which row lies in which bin, and who is bad, stays with the owners. What is shown is one weight for each bin,
one information value and one coefficient for each feature.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidData, MalformedDocument, OutputRefused
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.array import concatenate, declare, plan_of, rank, reveal
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.models.glm import Newton, predict
from tallystick_node.engines.mpc.models.scorecard import fit_scorecard
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.workloads.features import Split, decimal, require_distinct
from tallystick_node.workloads.planned import Numbers, column
from tallystick_node.workloads.protocols import protocol_of
from tallystick_node.workloads.reading import TaskParameters
from tallystick_node.workloads.tabular import Tabular

MAX_FEATURES, MAX_BINS = 128, 64
FRACTION = 20
MISSING = "missing"


@dataclass(frozen=True)
class Binned:
    """A column in bins: a numeric one between ``edges``, (-inf, e0], (e0, e1], .., (ek, inf), or a text one by its ``values``.

    ``missing`` adds a bin for empty cells, which are refused without it. ``party`` is empty where every owner has the column.
    """

    party: str
    column: str
    edges: tuple[str, ...]
    values: tuple[str, ...]
    missing: bool

    @classmethod
    def read(cls, value: Any, where: str) -> Binned:
        """From ``{party, column, edges, values, missing}``, one of edges and values empty. Raises MalformedDocument."""
        fields = Fields(value, ("party", "column", "edges", "values", "missing"), where)
        party = "" if value["party"] is None else fields.address("party")
        edges = fields.items("edges", 0, MAX_BINS - 1, lambda item, place: (decimal(item, place), item))
        if any(a[0] >= b[0] for a, b in itertools.pairwise(edges)):
            raise MalformedDocument(f"{where}.edges: must increase")
        values = fields.names("values", 0, MAX_BINS)
        if bool(edges) == bool(values):
            raise MalformedDocument(f"{where}: has either edges or values")
        if MISSING in values:
            raise MalformedDocument(f"{where}.values: {MISSING!r} is the name of the bin for empty cells")
        return cls(party, fields.string("column", 128), tuple(text for _, text in edges), values, fields.boolean("missing"))

    @property
    def labels(self) -> list[str]:
        """The bins, in order."""
        between = [f"{low} to {high}" for low, high in itertools.pairwise(self.edges)]
        numeric = [f"up to {self.edges[0]}", *between, f"above {self.edges[-1]}"] if self.edges else []
        return [*numeric, *self.values, *([MISSING] if self.missing else [])]

    def indicators(self, table: pa.Table) -> NDArray[np.int64]:
        """A 1 in each row at its bin: shape (rows, bins). Raises InvalidData."""
        cells = table.column(self.column)
        empty = cells.is_null().to_numpy()
        if empty.any() and not self.missing:
            raise InvalidData(f"column {self.column!r} has empty cells", remedy="let the task have a bin for missing values")
        places = np.full(len(empty), len(self.labels) - 1)
        if self.edges:
            filled = table.filter(cells.is_valid())
            places[~empty] = np.searchsorted([float(edge) for edge in self.edges], column(filled, self.column), side="left")
        else:
            if not pa.types.is_string(cells.type):
                raise InvalidData(f"column {self.column!r} holds no text", remedy="give edges for a numeric column")
            known = pc.index_in(cells.combine_chunks(), pa.array(self.values)).to_numpy(zero_copy_only=False)
            if np.isnan(known[~empty].astype(float)).any():
                raise InvalidData(f"column {self.column!r} has a value that is none of the task's", remedy="list all values")
            places[~empty] = known[~empty].astype(int)
        found: NDArray[np.int64] = np.eye(len(self.labels), dtype=np.int64)[places]
        return found


@dataclass(frozen=True)
class Target:
    """The column that is 1 for bad cases and 0 for good ones."""

    party: str
    column: str


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``points``: the score ``base`` stands for ``odds`` good to one bad, and every ``double`` points double the odds."""

    split: Split
    features: tuple[Binned, ...]
    target: Target
    iterations: int
    ridge: float
    base: int
    odds: int
    double: int
    protocol: str
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        keys = ("split", "features", "target", "iterations", "ridge", "points", "protocol", "minimum_group")
        fields = Fields(dict(value), keys, "parameters")
        target = Fields(value["target"], ("party", "column"), "parameters.target")
        points = Fields(value["points"], ("base", "odds", "double"), "parameters.points")
        parsed = cls(
            split=Split.read(value["split"], "parameters.split"),
            features=fields.items("features", 1, MAX_FEATURES, Binned.read),
            target=Target("" if value["target"]["party"] is None else target.address("party"), target.string("column", 128)),
            iterations=fields.integer("iterations", 1, 20),
            ridge=decimal(value["ridge"], "parameters.ridge"),
            base=points.integer("base", 0, 100_000),
            odds=points.integer("odds", 1, 100_000),
            double=points.integer("double", 1, 10_000),
            protocol=protocol_of(fields),
            minimum_group=fields.integer("minimum_group", 2, 1_000_000),
        )
        require_distinct(parsed.used, "features", "name a column twice, or the target among them")
        if not 0 <= parsed.ridge <= 1000:
            raise MalformedDocument("parameters.ridge: must be from 0 to 1000")
        return parsed

    @property
    def used(self) -> tuple[Binned | Target, ...]:
        """The features and the target."""
        return (*self.features, self.target)

    def own(self, party: str) -> list[tuple[int, Binned]]:
        """The features that ``party`` brings, each with its number."""
        return [(number, each) for number, each in enumerate(self.features) if each.party in ("", party)]


class Scorecard(Tabular):
    """The workload `scorecard`."""

    name = "scorecard"

    def parameters(self, spec: TaskSpec) -> Parameters:
        """Read them. Raises InvalidTask."""
        return Parameters.parse(spec.parameters)

    def check_rows(self, spec: TaskSpec, rows: Mapping[str, int]) -> None:
        """Bins are checked by their owner: :meth:`prepare`."""
        self.parameters(spec).split.rows(rows)

    def plan(self, spec: TaskSpec, rows: Mapping[str, int]) -> Plan:
        """Evidence, regression, and how well the scores divide good from bad."""
        parameters = self.parameters(spec)
        inputs = {}
        for part in spec.inputs:
            for number, each in parameters.own(part.party):
                inputs[_bins(number, part.party)] = declare(part.party, rows[part.party], each.labels, "integer")
            if parameters.target.party in ("", part.party):
                inputs[f"target of {part.party}"] = declare(part.party, rows[part.party], parameters.target.column, "integer")

        def program(**arrays: SecretArray) -> None:
            bins = [concatenate(_held(arrays, spec, number)) for number in range(len(parameters.features))]
            bad = concatenate([arrays[name] for name in arrays if name.startswith("target of ")])
            found, coefficients, encoded = fit_scorecard(bins, bad, Newton(parameters.iterations), parameters.ridge, FRACTION)
            for number, weights in enumerate(found.weights):
                reveal(weights, to=spec.receivers, name=f"weights {number}")
            reveal(found.values, to=spec.receivers, name="information values")
            reveal(coefficients, to=spec.receivers, name="coefficients")
            places = rank(predict(encoded, coefficients, "linear"))
            reveal(bad.sum(), to=spec.receivers, name="bad cases")
            reveal((places * bad).sum(), to=spec.receivers, name="ranks of bad cases")

        return plan_of(program, inputs, spec.receivers, FRACTION)

    def prepare(self, spec: TaskSpec, party: str, table: pa.Table, session: Session) -> Numbers:
        """The owner's indicators, and the target. Raises OutputRefused for a bin with too few of its rows."""
        parameters = self.parameters(spec)
        table = parameters.split.matched(spec, party, table, session)
        prepared: dict[str, NDArray[Any]] = {}
        for number, each in parameters.own(party):
            prepared[_bins(number, party)] = each.indicators(table)
            smallest = int(prepared[_bins(number, party)].sum(axis=0).min())
            if smallest < parameters.minimum_group:
                raise OutputRefused(
                    f"a bin of column {each.column!r} has {smallest} rows, fewer than {parameters.minimum_group}",
                    party=party,
                    remedy="make the bins wider",
                )
        if parameters.target.party in ("", party):
            target = column(table, parameters.target.column)
            if not np.isin(target, (0, 1)).all():
                raise InvalidData(f"column {parameters.target.column!r} is not 1 for bad and 0 for good cases")
            prepared[f"target of {party}"] = target.astype(np.int64)
        return prepared

    def words(self, spec: TaskSpec, shown: Numbers, rows: Mapping[str, int]) -> Mapping[str, Any]:
        """The scorecard: a score is the sum of its rows' points, one bin for each feature."""
        parameters = self.parameters(spec)
        coefficients, features = shown["coefficients"], len(parameters.features)
        factor = parameters.double / math.log(2)
        offset = parameters.base - factor * math.log(parameters.odds)
        card = []
        for number, each in enumerate(parameters.features):
            weights = shown[f"weights {number}"]
            points = (offset - factor * coefficients[0]) / features - factor * coefficients[1 + number] * weights
            bins = [
                {"bin": label, "weight": repr(float(weight)), "points": repr(float(point))}
                for label, weight, point in zip(each.labels, weights, points, strict=True)
            ]
            card.append(
                {
                    "party": each.party or None,
                    "column": each.column,
                    "information_value": repr(float(shown["information values"][number])),
                    "coefficient": repr(float(coefficients[1 + number])),
                    "bins": bins,
                }
            )
        number, bad = parameters.split.rows(rows), int(shown["bad cases"])
        above = int(shown["ranks of bad cases"]) - bad * (bad - 1) // 2  # Mann and Whitney's U
        pairs = bad * (number - bad)
        auc = repr(above / pairs) if pairs else None
        return {"rows": number, "bad": bad, "intercept": repr(float(coefficients[0])), "features": card, "auc": auc}


def _bins(number: int, party: str) -> str:
    return f"bins {number} of {party}"


def _held(arrays: Mapping[str, SecretArray], spec: TaskSpec, number: int) -> list[SecretArray]:
    names = [_bins(number, part.party) for part in spec.inputs]
    return [arrays[name] for name in names if name in arrays]

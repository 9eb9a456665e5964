"""`regression`: a linear, logistic or Poisson model over the rows or the columns of several owners, fitted on secret shares.

Nothing is shown but the coefficients, and on request one number for the quality of the fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from tallystick.protocol.errors import MalformedDocument, OutputRefused
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.array import column_stack, concatenate, declare, plan_of, rank, reveal
from tallystick_node.engines.mpc.array.program import Declared
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.models.glm import FAMILIES, Descent, Family, Newton, fit, predict
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.workloads.features import MAX_FEATURES, Feature, Split, decimal, require_distinct, scaled
from tallystick_node.workloads.planned import Numbers
from tallystick_node.workloads.protocols import protocol_of
from tallystick_node.workloads.reading import TaskParameters
from tallystick_node.workloads.tabular import Tabular

ROWS_PER_COEFFICIENT = 5  # fewer would let coefficients stand for single rows


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``ridge`` is the penalty of the mean loss on the slopes of the scaled columns; ``fraction`` the bits after the point."""

    family: Family
    split: Split
    features: tuple[Feature, ...]
    target: Feature
    method: Newton | Descent
    ridge: float
    evaluate: bool
    protocol: str
    fraction: int
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        keys = ("family", "split", "features", "target", "method", "ridge", "evaluate", "protocol", "fraction", "minimum_group")
        fields = Fields(dict(value), keys, "parameters")
        family: Any = fields.choice("family", FAMILIES)
        parsed = cls(
            family=family,
            split=Split.read(value["split"], "parameters.split"),
            features=fields.items("features", 1, MAX_FEATURES, Feature.read),
            target=Feature.read(value["target"], "parameters.target"),
            method=_method(value["method"], "parameters.method"),
            ridge=decimal(value["ridge"], "parameters.ridge"),
            evaluate=fields.boolean("evaluate"),
            protocol=protocol_of(fields),
            fraction=fields.integer("fraction", 12, 24),
            minimum_group=fields.integer("minimum_group", 2, 1_000_000),
        )
        require_distinct(parsed.used, "features", "name a column twice, or the target among them")
        if not 0 <= parsed.ridge <= 1000:
            raise MalformedDocument("parameters.ridge: must be from 0 to 1000")
        if family != "linear" and (parsed.target.center, parsed.target.scale) != (0.0, 1.0):
            raise MalformedDocument(f"parameters.target: a {family} model's target has center 0 and scale 1")
        return parsed

    @property
    def used(self) -> tuple[Feature, ...]:
        """The features and the target."""
        return (*self.features, self.target)

    def own(self, party: str) -> list[Feature]:
        """The features that ``party`` brings, in the order of the parameters."""
        return [each for each in self.features if each.party in ("", party)]


def _method(value: Any, where: str) -> Newton | Descent:
    if not isinstance(value, dict) or value.get("name") not in ("newton", "descent"):
        raise MalformedDocument(f"{where}.name: must be newton or descent")
    if value["name"] == "newton":
        return Newton(Fields(value, ("name", "iterations"), where).integer("iterations", 1, 20))
    fields = Fields(value, ("name", "epochs", "batch", "rate"), where)
    rate = decimal(value["rate"], f"{where}.rate")
    if not 0 < rate <= 100:
        raise MalformedDocument(f"{where}.rate: must be above 0 and at most 100")
    return Descent(fields.integer("epochs", 1, 100), fields.integer("batch", 16, 1 << 20), rate)


class Regression(Tabular):
    """The workload `regression`."""

    name = "regression"

    def parameters(self, spec: TaskSpec) -> Parameters:
        """Read them. Raises InvalidTask."""
        return Parameters.parse(spec.parameters)

    def check_rows(self, spec: TaskSpec, rows: Mapping[str, int]) -> None:
        """There are rows enough for the coefficients, and for one batch."""
        parameters = self.parameters(spec)
        number, coefficients = parameters.split.rows(rows), len(parameters.features) + 1
        batch = parameters.method.batch if isinstance(parameters.method, Descent) else 0
        if number < max(batch, ROWS_PER_COEFFICIENT * coefficients):
            raise OutputRefused(
                f"{number} rows are too few for {coefficients} coefficients or for a batch of {batch}",
                rule="too-few-rows",
                remedy=f"use {ROWS_PER_COEFFICIENT} rows or more for each coefficient, and smaller batches",
            )

    def plan(self, spec: TaskSpec, rows: Mapping[str, int]) -> Plan:
        """Fit, and reveal the coefficients to the receivers."""
        parameters = self.parameters(spec)
        inputs = dict[str, Declared]()
        kind = f"fixed:{parameters.fraction}"
        for part in spec.inputs:
            own = parameters.own(part.party)
            if own:
                inputs[f"features of {part.party}"] = declare(part.party, rows[part.party], [each.column for each in own], kind)
            if parameters.target.party in ("", part.party):
                inputs[f"target of {part.party}"] = declare(part.party, rows[part.party], parameters.target.column, kind)

        def program(**arrays: SecretArray) -> None:
            features, target = _table(parameters, spec, arrays)
            coefficients = fit(features, target, parameters.family, parameters.method, parameters.ridge)
            reveal(coefficients, to=spec.receivers, name="coefficients")
            if parameters.evaluate:
                for name, value in _quality(parameters.family, features, target, coefficients).items():
                    reveal(value, to=spec.receivers, name=name)

        return plan_of(program, inputs, spec.receivers, parameters.fraction)

    def prepare(self, spec: TaskSpec, party: str, table: pa.Table, session: Session) -> Numbers:
        """The owner's scaled columns."""
        parameters = self.parameters(spec)
        table = parameters.split.matched(spec, party, table, session)
        own, prepared = parameters.own(party), {}
        if own:
            prepared[f"features of {party}"] = scaled(table, own)
        if parameters.target.party in ("", party):
            prepared[f"target of {party}"] = scaled(table, [parameters.target])[:, 0]
        return prepared

    def words(self, spec: TaskSpec, shown: Numbers, rows: Mapping[str, int]) -> Mapping[str, Any]:
        """Coefficients for the columns as they stand in the data, and for the scaled ones."""
        parameters = self.parameters(spec)
        found = shown["coefficients"]
        centers, scales = (np.array([getattr(each, name) for each in parameters.features]) for name in ("center", "scale"))
        slopes = found[1:] * parameters.target.scale / scales
        intercept = found[0] * parameters.target.scale + parameters.target.center - float(slopes @ centers)
        values: dict[str, Any] = {
            "family": parameters.family,
            "rows": parameters.split.rows(rows),
            "intercept": _text(intercept),
            "coefficients": [
                {"party": each.party or None, "column": each.column, "value": _text(slope), "scaled": _text(scaled_slope)}
                for each, slope, scaled_slope in zip(parameters.features, slopes, found[1:], strict=True)
            ],
            "scaled_intercept": _text(found[0]),
        }
        if parameters.evaluate:
            values["quality"] = _quality_words(parameters, shown, parameters.split.rows(rows))
        return values


def _table(parameters: Parameters, spec: TaskSpec, arrays: Mapping[str, SecretArray]) -> tuple[SecretArray, SecretArray]:
    """The joint features, in the order of the parameters, and the target."""
    parts = [arrays[f"features of {each.party}"] for each in spec.inputs if f"features of {each.party}" in arrays]
    targets = [arrays[f"target of {each.party}"] for each in spec.inputs if f"target of {each.party}" in arrays]
    if parameters.split.join is None:
        return concatenate(parts), concatenate(targets)
    held = {
        (each.party, feature.column): arrays[f"features of {each.party}"][:, place : place + 1]
        for each in spec.inputs
        for place, feature in enumerate(parameters.own(each.party))
    }
    return column_stack([held[each.party, each.column] for each in parameters.features]), targets[0]


def _quality(family: Family, features: SecretArray, target: SecretArray, coefficients: SecretArray) -> dict[str, SecretArray]:
    expected = predict(features, coefficients, family)
    if family == "logistic":
        return {"positives": target.sum(), "ranks of positives": (rank(expected) * target).sum()}
    error = target - expected
    return {"mean squared error": (error * error).mean()}


def _quality_words(parameters: Parameters, shown: Numbers, rows: int) -> dict[str, Any]:
    if parameters.family != "logistic":
        return {"mean_squared_error": _text(float(shown["mean squared error"]) * parameters.target.scale**2)}
    positives = round(float(shown["positives"]))
    pairs = positives * (rows - positives)
    above = round(float(shown["ranks of positives"])) - positives * (positives - 1) // 2
    return {"auc": _text(above / pairs) if pairs else None}  # Mann and Whitney's U over the number of pairs


def _text(number: float) -> str:
    return repr(float(number))

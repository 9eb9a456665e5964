"""`prediction`: a secret model of one owner is applied to secret features of others.

The model's architecture is public; its weights are a dataset of its owner. Nothing is shown but the predictions, one for each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidData, InvalidTask
from tallystick.protocol.task import TaskInput, TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.array import column_stack, concatenate, declare, plan_of, reveal
from tallystick_node.engines.mpc.array.program import Declared
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.models.answers import answer
from tallystick_node.engines.mpc.models.network import Network
from tallystick_node.engines.mpc.models.trees import Trees
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.engines.mpc.plan.kinds import INTEGER, fixed
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.alignment import align
from tallystick_node.workloads.features import numbered, places, scaled
from tallystick_node.workloads.planned import Numbers, Planned, column
from tallystick_node.workloads.plans.architecture import WEIGHT
from tallystick_node.workloads.plans.prediction_parameters import Parameters

PART = 1 << 22  # numbers that are held at a time, about: longer tables are computed part by part
PLACES = "rows"  # of an owner's table, prepared beside the plan's inputs
EXTRACTION = (
    "Predictions tell of the model too: whoever chooses rows and sees many scores or probabilities may rebuild it closely, and from"
    " classes less so. The uses of a grant bound how many."
)


class Prediction(Planned):
    """The workload `prediction`."""

    name = "prediction"

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a prediction that can run."""
        parameters = Parameters.parse(spec.parameters)
        model = [part for part in spec.inputs if part.party == parameters.party]
        if not model or tuple(model[0].columns) != (WEIGHT,):
            raise InvalidTask(
                f"the model's owner brings exactly the column {WEIGHT!r}",
                party=parameters.party,
                remedy="make its dataset the task's input",
            )
        if len(spec.inputs) < 2:
            raise InvalidTask("nobody brings features", remedy="name an input besides the model's")
        parameters.split.check(replace(spec, inputs=_feature_inputs(spec, parameters)), parameters.features)
        self.check_protocol(spec)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The weights, or the features that the party has and its keys."""
        parameters = Parameters.parse(spec.parameters)
        return [WEIGHT] if party == parameters.party else parameters.split.columns(party, parameters.features)

    def protocol(self, spec: TaskSpec) -> str:
        """As the parameters say."""
        return Parameters.parse(spec.parameters).protocol

    def minimum_group(self, spec: TaskSpec) -> int:
        """As the parameters say: of each owner of features."""
        return Parameters.parse(spec.parameters).minimum_group

    def least_rows(self, spec: TaskSpec, party: str) -> int:
        """The model's owner brings its weights."""
        parameters = Parameters.parse(spec.parameters)
        return parameters.model.weights if party == parameters.party else parameters.minimum_group

    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """What the join tells."""
        return Parameters.parse(spec.parameters).split.learns()

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """Besides what the plan shows: what predictions tell of a model."""
        promised = super().security(spec)
        return replace(promised, learns={**promised.learns, "receiver": f"{promised.learns['receiver']} {EXTRACTION}"})

    def check_rows(self, spec: TaskSpec, rows: Mapping[str, int]) -> None:
        """There are as many weights as the architecture says, and the owners of one table bring equally many rows."""
        parameters = Parameters.parse(spec.parameters)
        if rows[parameters.party] != parameters.model.weights:
            raise InvalidTask(
                "the model's owner brings another number of weights than the architecture has", party=parameters.party
            )
        parameters.split.rows(_feature_rows(spec, parameters, rows))

    def plan(self, spec: TaskSpec, rows: Mapping[str, int]) -> Plan:
        """Scores of all rows, and what is asked of them."""
        parameters = Parameters.parse(spec.parameters)
        kind = fixed(parameters.fraction)
        inputs = _declared_model(parameters)
        for part in _feature_inputs(spec, parameters):
            columns = [each.column for each in parameters.own(part.party)]
            inputs[_features(part.party)] = declare(part.party, rows[part.party], columns, kind)

        def program(**arrays: SecretArray) -> None:
            table = _table(parameters, spec, arrays)
            length = max(1, PART // parameters.model.widest)
            found = [
                answer(_scores(parameters, table[first : first + length], arrays), parameters.model.link, parameters.output)
                for first in range(0, table.shape[0], length)
            ]
            reveal(concatenate(found) if len(found) > 1 else found[0], to=spec.receivers, name="predictions")

        return plan_of(program, inputs, spec.receivers, parameters.fraction)

    def prepare(self, spec: TaskSpec, party: str, table: pa.Table, session: Session) -> Numbers:
        """The weights in the form that the model takes, or the owner's features and the rows of its table that they are of."""
        parameters = Parameters.parse(spec.parameters)
        if party == parameters.party:
            return _prepared_model(parameters.model, column(table, WEIGHT))
        join = parameters.split.join
        if join is not None:
            owners = [spec.parties.index(part.party) for part in _feature_inputs(spec, parameters)]
            table = align(join, session, party, owners, numbered(table))
        features = scaled(table, parameters.own(party))
        rows = np.arange(table.num_rows) if join is None else places(table)
        return {_features(party): features, PLACES: rows + 1}

    def words(self, spec: TaskSpec, shown: Numbers, rows: Mapping[str, int]) -> Mapping[str, Any]:
        """The predictions, in the order of the joint rows."""
        parameters = Parameters.parse(spec.parameters)
        counts = _feature_rows(spec, parameters, rows)
        split = [{"party": party, "rows": count} for party, count in counts.items()] if parameters.split.join is None else None
        return {
            "output": parameters.output,
            "rows": parameters.split.rows(counts),
            "owners": split,
            "classes": list(parameters.architecture.classes),
            "predictions": _predictions(parameters, shown["predictions"]),
        }

    def words_for(
        self, spec: TaskSpec, party: str, shown: Numbers, rows: Mapping[str, int], prepared: Numbers
    ) -> Mapping[str, Any]:
        """An owner of features also gets which of its own rows, counted from 1, the joint rows are."""
        values = self.words(spec, shown, rows)
        by_columns = Parameters.parse(spec.parameters).split.join is not None
        own = [int(each) for each in prepared[PLACES]] if by_columns and PLACES in prepared else None
        return {**values, "own_rows": own}


def _feature_inputs(spec: TaskSpec, parameters: Parameters) -> tuple[TaskInput, ...]:
    return tuple(part for part in spec.inputs if part.party != parameters.party)


def _feature_rows(spec: TaskSpec, parameters: Parameters, rows: Mapping[str, int]) -> dict[str, int]:
    return {part.party: rows[part.party] for part in _feature_inputs(spec, parameters)}


def _features(party: str) -> str:
    return f"features of {party}"


def _table(parameters: Parameters, spec: TaskSpec, arrays: Mapping[str, SecretArray]) -> SecretArray:
    """All rows with the features in the model's order."""
    owners = [part.party for part in _feature_inputs(spec, parameters)]
    parts = [arrays[_features(party)] for party in owners]
    if parameters.split.join is None:
        return concatenate(parts)
    held = [each for party in owners for each in parameters.own(party)]
    order = [held.index(each) for each in parameters.features]
    return column_stack(parts)[:, order]


def _declared_model(parameters: Parameters) -> dict[str, Declared]:
    model, owner, kind = parameters.model, parameters.party, fixed(parameters.fraction)
    if isinstance(model, Network):
        return {"weights": Declared(owner, (model.weights,), kind, (WEIGHT,))}
    return {
        "selectors": Declared(owner, (model.nodes, model.features), INTEGER, ()),
        "thresholds": Declared(owner, (model.nodes,), kind, ()),
        "leaves": Declared(owner, (model.leaves, model.outputs), kind, ()),
        "base": Declared(owner, (model.outputs,), kind, ()),
    }


def _prepared_model(model: Network | Trees, weights: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    if len(weights) != model.weights:
        raise InvalidData(
            f"the dataset has {len(weights)} weights, the architecture {model.weights}",
            remedy="publish the weights that were made with the architecture",
        )
    prepared: dict[str, NDArray[Any]] = {"weights": weights}
    if isinstance(model, Trees):
        chosen, thresholds, leaves, base = np.split(weights, np.cumsum([model.nodes, model.nodes, model.leaves * model.outputs]))
        if not np.isin(chosen, np.arange(model.features)).all():
            raise InvalidData(f"a node's feature is not a whole number from 0 to {model.features - 1}")
        prepared["selectors"] = np.eye(model.features, dtype=np.int64)[chosen.astype(np.int64)]
        prepared["thresholds"], prepared["base"] = thresholds, base
        prepared["leaves"] = leaves.reshape(model.leaves, model.outputs)
    return prepared


def _scores(parameters: Parameters, rows: SecretArray, arrays: Mapping[str, SecretArray]) -> SecretArray:
    model = parameters.model
    if isinstance(model, Network):
        return model.scores(rows, arrays["weights"])
    return model.scores(rows, *(arrays[name] for name in ("selectors", "thresholds", "leaves", "base")))


def _predictions(parameters: Parameters, found: NDArray[Any]) -> list[Any]:
    if parameters.output == "class":
        names = parameters.architecture.classes
        return [names[each] if names else int(each) for each in found]
    if found.shape[1] == 1:
        return [repr(float(each)) for each in found[:, 0]]
    return [[repr(float(each)) for each in row] for row in found]

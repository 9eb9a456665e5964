"""`transfer`: an owner of labels and one of other columns have few people in common; the other gets a model on its own columns.

The source learns a representation of all its rows by itself; what it wants of the common rows and the columns of the other owner
meet on secret shares (:mod:`tallystick_node.engines.fl.transfer`). Nothing is shown but the weights, to the owner without labels,
the destination. It scores the rest of its rows at home.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from tallystick.protocol.errors import InvalidData, InvalidTask, MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.transfer.objective import Destination, Settings, Source
from tallystick_node.engines.fl.transfer.representation import MAX_WIDTH, represent
from tallystick_node.engines.fl.transfer.shared import SharedTransfer
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.encodings import Encoded, measured
from tallystick_node.workloads.features import MAX_FEATURES, Split, decimal, numbered, places, require_distinct
from tallystick_node.workloads.planned import Numbers, Planned
from tallystick_node.workloads.protocols import protocol_of
from tallystick_node.workloads.reading import TaskParameters
from tallystick_node.workloads.tabular import text
from tallystick_node.workloads.vertical.parameters import matrix, read_target

AXES = "\0axes"  # of the destination, prepared beside the plan's inputs
FEW = (
    " With no more common rows than columns of its own, the destination can find from the weights what the source wanted of each"
    " common row, a mixture of its label and its representation: their labels are as good as shown to it."
)


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``target`` is the source's; the features of the other owner are the model's. ``fraction`` is the bits after the point."""

    split: Split
    features: tuple[Encoded, ...]
    target: Category
    settings: Settings
    protocol: str
    fraction: int
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        keys = ("split", "features", "target", "width", "alignment", "penalty", "protocol", "fraction", "minimum_group")
        fields = Fields(dict(value), keys, "parameters")
        target = read_target(value["target"], "parameters.target", numbers=False)
        assert isinstance(target, Category)  # it was read so
        numbers = {name: decimal(value[name], f"parameters.{name}") for name in ("alignment", "penalty")}
        try:
            settings = Settings(fields.integer("width", 1, MAX_WIDTH), **numbers)
        except ValueError as error:
            raise MalformedDocument(f"parameters: {error}") from None
        parsed = cls(
            split=Split.read(value["split"], "parameters.split"),
            features=fields.items("features", 2, MAX_FEATURES, measured),
            target=target,
            settings=settings,
            protocol=protocol_of(fields),
            fraction=fields.integer("fraction", 12, 24),
            minimum_group=fields.integer("minimum_group", 2, 1_000_000),
        )
        if parsed.split.join is None:
            raise MalformedDocument("parameters.split.by: must be columns: the owners have different ones of few people")
        require_distinct((*parsed.features, target), "features", "name a column twice, or the target among them")
        return parsed

    def own(self, party: str) -> list[Encoded]:
        """The features that ``party`` brings, in the order of the parameters."""
        return [each for each in self.features if each.party == party]

    def names(self, party: str) -> list[str]:
        """The columns that are made of them."""
        return [name for each in self.own(party) for name in each.names]


class Transfer(Planned):
    """The workload `transfer`."""

    name = "transfer"

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a transfer that can run."""
        parameters = _parameters(spec)
        if len(spec.inputs) != 2:
            raise InvalidTask("a transfer is between two owners", remedy="name the source and the destination as inputs")
        parameters.split.check(spec, (*parameters.features, parameters.target))
        destination = _destination(spec, parameters)
        if spec.receivers != (destination,):
            raise InvalidTask("the model is the destination's alone", party=destination, remedy="name it as the only receiver")
        for party in (parameters.target.party, destination):
            if not parameters.own(party):
                raise InvalidTask("an owner brings no features", party=party, remedy="name some of its columns")
        if len(parameters.names(parameters.target.party)) < parameters.settings.width:
            raise InvalidTask(
                "the source has fewer columns than parameters.width", remedy="lower width, or name more of its columns"
            )
        self.check_protocol(spec)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The party's features, and the label at the source, and its keys."""
        parameters = _parameters(spec)
        return parameters.split.columns(party, (*parameters.features, parameters.target))

    def protocol(self, spec: TaskSpec) -> str:
        """As the parameters say."""
        return _parameters(spec).protocol

    def minimum_group(self, spec: TaskSpec) -> int:
        """As the parameters say: of the common rows."""
        return _parameters(spec).minimum_group

    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """What the join tells."""
        return _parameters(spec).split.learns()

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """Besides what the plan shows: what the weights of few rows tell."""
        promised = super().security(spec)
        return replace(promised, learns={**promised.learns, "receiver": promised.learns["receiver"] + FEW})

    def check_rows(self, spec: TaskSpec, rows: Mapping[str, int]) -> None:
        """Both bring as many."""
        _parameters(spec).split.rows(rows)

    def plan(self, spec: TaskSpec, rows: Mapping[str, int]) -> Plan:
        """One product, one division, and the weights to the destination."""
        return _engine(spec, min(rows.values())).plan()

    def prepare(self, spec: TaskSpec, party: str, table: pa.Table, session: Session) -> Numbers:
        """What the source wants of the common rows, by a representation that it learns from all its rows; or the destination's
        columns of the common rows, turned."""
        parameters = _parameters(spec)
        joint = parameters.split.matched(spec, party, numbered(table), session)
        engine = _engine(spec, joint.num_rows)
        try:
            if party != parameters.target.party:
                own = Destination.of(matrix(parameters.own(party), joint))
                return {**engine.take(own), AXES: own.axes}
            labels = 2 * parameters.target.indicators(table)[:, 1].astype(np.float64) - 1
            representations = represent(matrix(parameters.own(party), table), labels, parameters.settings.width)
            return engine.give(Source.of(representations, labels, places(joint), parameters.settings))
        except ValueError as error:
            raise InvalidData(str(error), remedy="use rows of both values of the target, and more common rows") from None

    def words(self, spec: TaskSpec, shown: Numbers, rows: Mapping[str, int]) -> Mapping[str, Any]:
        """How many rows were common, and what a score says."""
        return {"rows": min(rows.values()), "target": spec.parameters["target"]}

    def words_for(
        self, spec: TaskSpec, party: str, shown: Numbers, rows: Mapping[str, int], prepared: Numbers
    ) -> Mapping[str, Any]:
        """The weights of the destination's columns. A row's score is their sum product with its columns; above 0 it is the target's
        second value."""
        weights = prepared[AXES] @ shown["weights"][:, 0]
        named = zip(_parameters(spec).names(party), weights, strict=True)
        return {**self.words(spec, shown, rows), "weights": [{"column": name, "value": text(each)} for name, each in named]}


def _parameters(spec: TaskSpec) -> Parameters:
    return Parameters.parse(spec.parameters)


def _destination(spec: TaskSpec, parameters: Parameters) -> str:
    return next(part.party for part in spec.inputs if part.party != parameters.target.party)


def _engine(spec: TaskSpec, rows: int) -> SharedTransfer:
    parameters = _parameters(spec)
    destination = _destination(spec, parameters)
    columns = len(parameters.names(destination))
    return SharedTransfer(parameters.target.party, destination, rows, columns, parameters.settings, parameters.fraction)

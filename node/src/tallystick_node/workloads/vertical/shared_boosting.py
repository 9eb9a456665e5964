"""`shared-boosting`: the trees of `boosting`, grown on secret shares by the parties that the task names to compute.

Nothing is shown but the model's parts, each to its owner, and to the owner of the label the scores of rows that were held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tallystick.protocol.errors import InvalidData
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.vertical.shared import SharedBoosting as Engine
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.workloads.base import Outcome
from tallystick_node.workloads.model_card import CARD
from tallystick_node.workloads.planned import Numbers, Planned
from tallystick_node.workloads.vertical.boosting import nodes
from tallystick_node.workloads.vertical.boosting_parameters import SharedParameters
from tallystick_node.workloads.vertical.card import vertical_card
from tallystick_node.workloads.vertical.model_kinds import TREES
from tallystick_node.workloads.vertical.training import measures

COLUMNS, HELD_OUT = "\0columns", "\0labels held out"  # of an owner, prepared beside the plan's inputs
PART = "\0part"  # of the model, among the values until it is a file


class SharedBoosting(Planned):
    """The workload `shared-boosting`."""

    name = "shared-boosting"

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a boosting that can run."""
        _parameters(spec).check(spec)
        self.check_protocol(spec)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The party's features, and the label where it has that, and its keys."""
        parameters = _parameters(spec)
        return parameters.split.columns(party, parameters.used)

    def protocol(self, spec: TaskSpec) -> str:
        """As the parameters say."""
        return _parameters(spec).protocol

    def minimum_group(self, spec: TaskSpec) -> int:
        """As the parameters say."""
        return _parameters(spec).minimum_group

    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """What the join tells."""
        return _parameters(spec).split.learns()

    def check_rows(self, spec: TaskSpec, rows: Mapping[str, int]) -> None:
        """There are rows enough to divide."""
        parameters = _parameters(spec)
        parameters.require_rows(parameters.split.rows(rows))

    def plan(self, spec: TaskSpec, rows: Mapping[str, int]) -> Plan:
        """Grow the trees, and reveal each owner's part."""
        return _engine(spec, min(rows.values())).plan()

    def prepare(self, spec: TaskSpec, party: str, table: pa.Table, session: Session) -> Numbers:
        """Which rows each cut sends left, and the label, the rows to train on first."""
        parameters = _parameters(spec)
        table = parameters.split.matched(spec, party, table, session)
        train, test = parameters.drawn(table.num_rows)
        labels = parameters.labels(table) if party == parameters.target.party else None
        columns = parameters.matrix(party, table)[np.concatenate([train, test])]
        try:
            engine = _engine(spec, table.num_rows)
            inputs = engine.prepare(party, columns, None if labels is None else labels[train])
        except ValueError as error:
            raise InvalidData(str(error), remedy="use rows of both values of the target") from None
        return {COLUMNS: columns, **inputs, **({} if labels is None else {HELD_OUT: labels[test]})}

    def words(self, spec: TaskSpec, shown: Numbers, rows: Mapping[str, int]) -> Mapping[str, Any]:
        """What every owner is told."""
        engine = _engine(spec, min(rows.values()))
        return {"rows": engine.rows, "held_out": engine.held_out, "owners": list(engine.owners)}

    def words_for(
        self, spec: TaskSpec, party: str, shown: Numbers, rows: Mapping[str, int], prepared: Numbers
    ) -> Mapping[str, Any]:
        """An owner's part of the model, and at the owner of the label how good the model is."""
        engine = _engine(spec, min(rows.values()))
        names = _parameters(spec).names(party)
        part = engine.part(party, prepared[COLUMNS], names, shown)
        values = {**self.words(spec, shown, rows), "splits": len(part.splits), PART: part}
        if part.ensemble is not None:
            scores = shown["scores"] if engine.held_out else np.empty(0)
            values |= {
                "validation": measures(_parameters(spec), scores, prepared[HELD_OUT].astype(np.float64)),
                "nodes": nodes(part, list(engine.owners)),
            }
        return values

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """As every plan; an owner's part of the model becomes a file."""
        outcome = super().run(spec, party, table, session, scratch)
        if outcome.result is None:
            return outcome
        values = dict(outcome.result)
        files = {TREES.file: scratch / TREES.file, CARD: scratch / CARD}
        files[TREES.file].write_bytes(TREES.to_bytes(values.pop(PART)))
        files[CARD].write_text(vertical_card(spec, _parameters(spec), party, values, TREES.file), encoding="utf-8")
        return replace(outcome, result=values, files=files)


def _parameters(spec: TaskSpec) -> SharedParameters:
    return SharedParameters.parse(spec.parameters)


def _engine(spec: TaskSpec, rows: int) -> Engine:
    """For so many joint rows."""
    parameters = _parameters(spec)
    owners = {account: len(parameters.own(account)) for account in parameters.owners(spec)}
    train, test = parameters.drawn(rows)
    return Engine(owners, len(train), len(test), parameters.settings, parameters.fraction)

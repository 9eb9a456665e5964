"""What a task of the workload `joint-prediction` says, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import MAX_PARTIES, TaskSpec

from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.encodings import Encoded
from tallystick_node.workloads.features import MAX_FEATURES, Feature, Split, require_distinct
from tallystick_node.workloads.reading import TaskParameters
from tallystick_node.workloads.vertical.model_kinds import KINDS, Division, ModelKind
from tallystick_node.workloads.vertical.parameters import model_owners, read_target

OUTPUTS = ("score", "probability", "class")
SAME = ("features", "target")  # of the model's task, word by word


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``task`` made the model, by ``workload``; ``told`` are the receivers who get what is predicted; ``said`` is of the model's
    task."""

    task: str
    workload: str
    features: tuple[Encoded, ...]
    target: Category | Feature
    said: Mapping[str, Any]
    split: Split
    output: str
    told: tuple[str, ...]
    explain: bool
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        fields = Fields(dict(value), ("model", "split", "output", "told", "explain", "minimum_group"), "parameters")
        model = Fields(value["model"], ("task", "workload", *SAME), "parameters.model")
        workload = model.choice("workload", tuple(KINDS))
        kind, said = KINDS[workload], value["model"]
        parsed = cls(
            task=model.hex32("task"),
            workload=workload,
            features=model.items("features", 1, MAX_FEATURES, kind.feature),
            target=read_target(said["target"], "parameters.model.target", numbers=kind.numbers),
            said={name: said[name] for name in SAME},
            split=Split.read(value["split"], "parameters.split"),
            output=fields.choice("output", OUTPUTS),
            told=fields.accounts("told", 1, MAX_PARTIES),
            explain=fields.boolean("explain"),
            minimum_group=fields.integer("minimum_group", 2, 1_000_000),
        )
        require_distinct((*parsed.features, parsed.target), "model.features", "name a column twice, or the target among them")
        if parsed.split.join is None:
            raise MalformedDocument("parameters.split.by: must be columns: the owners of the model have different ones")
        if isinstance(parsed.target, Feature) and parsed.output != "score":
            raise MalformedDocument("parameters.output: must be score: the model predicts a number")
        return parsed

    @property
    def kind(self) -> ModelKind[Any]:
        """The kind of the model."""
        return KINDS[self.workload]

    @property
    def division(self) -> Division[Any] | None:
        """How scores are divided, where the task asks for that."""
        return self.kind.division if self.explain else None

    def own(self, party: str) -> list[Encoded]:
        """The features that ``party`` brings, in the order of the model."""
        return [each for each in self.features if each.party == party]

    def columns(self, party: str) -> list[str]:
        """The columns that are read of ``party``'s dataset, key columns among them."""
        return self.split.columns(party, self.features)

    def owners(self, spec: TaskSpec) -> list[str]:
        """The owner of the label, then the others in the task's order."""
        return model_owners(spec, self.target.party)

    def widths(self, spec: TaskSpec) -> list[int]:
        """How many columns of the model each of :meth:`owners` has."""
        return [sum(len(each.names) for each in self.own(account)) for account in self.owners(spec)]

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec has the model's owners and columns, and receivers that may get what they are to get."""
        owners = {part.party for part in spec.inputs}
        assert self.split.join is not None  # it was read so
        if owners != {self.target.party, *(each.party for each in self.features)} or owners != set(self.split.join.keys):
            raise InvalidTask("the owners are not those of the model and the join", remedy="name every owner of the model in both")
        for part in spec.inputs:
            if set(part.columns) != set(self.columns(part.party)):
                raise InvalidTask(
                    "an input's columns are not those that the parameters read",
                    party=part.party,
                    remedy=f"list exactly {', '.join(self.columns(part.party))}",
                )
        if not set(self.told) <= set(spec.receivers):
            raise InvalidTask("somebody is told who is no receiver", remedy="name everybody of parameters.told as a receiver")
        if self.division is not None:
            try:
                self.division.require(self.widths(spec))
            except ValueError as error:
                raise InvalidTask(f"parameters.explain: {error}", remedy="ask for predictions without explanation") from None
        others = set(spec.receivers) - set(self.told)
        if others and not (self.explain and others <= owners):
            raise InvalidTask(
                "a receiver gets nothing",
                remedy="name it in parameters.told; with explain, owners may receive values of their own columns",
            )

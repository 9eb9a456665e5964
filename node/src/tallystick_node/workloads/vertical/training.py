"""What the workloads have in common in which the owners alone train a model on different columns of the same people.

Rows are matched first; then the owners train, and each keeps the part of the model that is about its own columns, as a file of its
result, and no other. Rows that were held out are scored by all owners together, so that the owner of the label learns how good
the model is.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
from tallystick.protocol.errors import InvalidData, InvalidTask
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.vertical.boosting import quality
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Outcome, Workload, require_owners_compute
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.commitment import commit
from tallystick_node.workloads.model_card import CARD
from tallystick_node.workloads.tabular import text
from tallystick_node.workloads.vertical.card import vertical_card
from tallystick_node.workloads.vertical.model_kinds import ModelKind
from tallystick_node.workloads.vertical.parameters import Floats, Vertical

P = TypeVar("P")
V = TypeVar("V", bound=Vertical)


@dataclass(frozen=True)
class Owned:
    """One owner's rows to train on: ``columns`` of shape (rows, names), and ``answers`` where it has the label. ``owners`` are all
    owners' numbers in the session, ``accounts`` their accounts, in the model's order."""

    session: Session
    owners: Sequence[int]
    accounts: Sequence[str]
    columns: Floats
    names: Sequence[str]
    answers: Floats | None


@dataclass(frozen=True)
class Fitted(Generic[P]):
    """An owner's part, and what else its result says: to it, and of the training at the owner of the label."""

    part: P
    words: Mapping[str, Any] = field(default_factory=dict)


class VerticalTraining(Workload, Generic[P, V]):
    """A workload that trains such a model; ``P`` is an owner's part and ``V`` what the task says."""

    name: str
    kind: ModelKind[P]
    proofs: tuple[str, ...] = ("signed-by-all",)
    kernels: tuple[str, ...] = ("intersection",)  # which matches the rows

    @abstractmethod
    def parameters(self, spec: TaskSpec) -> V:
        """Read them. Raises InvalidTask."""

    @abstractmethod
    def promised(self, spec: TaskSpec) -> SecurityStatement:
        """What the training itself promises."""

    @abstractmethod
    def train(self, parameters: V, own: Owned) -> Fitted[P]:
        """One owner's side of the training. Raises ValueError for unfit rows; ProtocolViolation, ChannelError."""

    # -- what follows from these

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a training that can run."""
        parameters = self.parameters(spec)
        require_owners_compute(spec)
        parameters.check(spec)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The party's features, and the label where it has that, and its keys."""
        parameters = self.parameters(spec)
        return parameters.split.columns(party, parameters.used)

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """That of the training, and what the scoring of the held-out rows and the join tell."""
        parameters, promised = self.parameters(spec), self.promised(spec)
        learns = dict(promised.learns)
        if parameters.held_out:
            for role, words in self.kind.told.items():
                learns[role] = f"{learns[role]}; of the rows held out: {words}"
        return replace(promised, learns={**learns, **parameters.split.learns(), "receiver": "its own part of the model"})

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one owner's side. Raises OutputRefused where too few rows match, and InvalidData for unfit rows."""
        if table is None:
            raise InvalidTask("an owner has no rows", party=party, remedy="name exactly the owners as receivers")
        parameters = self.parameters(spec)
        session.progress("matching the rows", 0.01)
        table = parameters.split.matched(spec, party, table, session)
        parameters.require_rows(table.num_rows)
        train, test = parameters.drawn(table.num_rows)
        columns = parameters.matrix(party, table)
        answers = parameters.answers(table) if party == parameters.target.party else None
        commitment, opening = commit(columns, b"" if answers is None else answers.tobytes())
        (scratch / "opening.json").write_text(json.dumps(opening))
        accounts = parameters.owners(spec)
        owners = [spec.parties.index(account) for account in accounts]
        own = Owned(session, owners, accounts, columns[train], parameters.names(party), None if answers is None else answers[train])
        try:
            fitted = self.train(parameters, own)
        except (ValueError, ArithmeticError) as error:
            raise InvalidData(str(error), remedy="change the columns or the settings of the task") from None
        scores = self.kind.score(session, owners, fitted.part, columns[test]) if len(test) else np.empty(0)
        values: dict[str, Any] = {"rows": len(train), "held_out": len(test), "owners": accounts, **fitted.words}
        if answers is not None:
            values["validation"] = measures(parameters, scores, answers[test])
        files = {self.kind.file: scratch / self.kind.file, CARD: scratch / CARD}
        files[self.kind.file].write_bytes(self.kind.to_bytes(fitted.part))
        files[CARD].write_text(vertical_card(spec, parameters, party, values, self.kind.file), encoding="utf-8")
        unknown = [""] * len(spec.parties)  # each owner's commitment is its own word: the run does not show it to others
        return Outcome(commitment=commitment, all_commitments=unknown, result=values, files=files)


def measures(parameters: Vertical, scores: Floats, answers: Floats) -> dict[str, str]:
    """How good scores of rows are: loss, accuracy and area under the ROC curve, or for a number the squared error and the share of
    the variance that is explained. Nothing without rows."""
    if not len(answers):
        return {}
    if isinstance(parameters.target, Category):
        labels = answers > 0
        found = {**quality(scores, labels), "accuracy": float(np.mean((scores > 0) == labels))}
    else:
        spread = float(np.mean((answers - answers.mean()) ** 2))
        error = float(np.mean((answers - scores) ** 2))
        found = {"mse": error * parameters.target.scale**2}
        if spread:
            found["r2"] = 1 - error / spread
    return {name: text(value) for name, value in found.items()}

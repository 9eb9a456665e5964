"""`joint-prediction`: rows are scored by a model that its owners hold in parts, each by its own columns.

The model was trained by an earlier task; each owner's node has its part as a file of that task's result, as the statement binds it.
The owner of the label learns every score, since it puts them together, and tells the receivers that the task names. With
``explain`` scores are divided among owners, and each owner gets the values of its own columns
(:mod:`tallystick_node.engines.fl.explanation`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tallystick.protocol.errors import InvalidData, OutputRefused
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.explanation.joint_trees import Explanation
from tallystick_node.engines.fl.vertical.boosting import MAX_ROWS
from tallystick_node.engines.fl.vertical.scoring import mean
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import EARLIER, SPEC, Cost, Outcome, Workload, require_owners_compute
from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.commitment import commit
from tallystick_node.workloads.features import numbered, places
from tallystick_node.workloads.tabular import text
from tallystick_node.workloads.vertical.joint_prediction_parameters import SAME, Parameters
from tallystick_node.workloads.vertical.parameters import Floats, matrix

STEP = "told"


@dataclass(frozen=True)
class Scored:
    """What the owner of the label has: scores, and where they are explained the mean score and the owners' values."""

    scores: Floats
    base: float = 0.0
    owners: Floats | None = None


class JointPrediction(Workload):
    """The workload `joint-prediction`."""

    name = "joint-prediction"
    proofs: tuple[str, ...] = ("signed-by-all",)
    kernels: tuple[str, ...] = ("intersection",)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a prediction that can run."""
        parameters = Parameters.parse(spec.parameters)
        require_owners_compute(spec)
        parameters.check(spec)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The party's features of the model and its keys; the label is not read."""
        return Parameters.parse(spec.parameters).columns(party)

    def earlier(self, spec: TaskSpec) -> Sequence[str]:
        """The task that made the model."""
        return (Parameters.parse(spec.parameters).task,)

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """What scoring and explaining tell, and the join."""
        parameters = Parameters.parse(spec.parameters)
        learns = dict(parameters.kind.told)
        if division := parameters.division:
            learns = {role: f"{words}; for the explanation {division.told[role]}" for role, words in learns.items()}
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=1,
            parties=len(spec.parties),
            computational_bits=128,
            statistical_bits=64,
            trusted=(),
            learns={
                **learns,
                **parameters.split.learns(),
                "receiver": "what is predicted for each joint row, where it is told; predictions tell of the model and of the"
                " columns too, the more of them are asked for: the uses of a grant bound how many",
            },
            references=("Cheng et al., SecureBoost, IEEE Intelligent Systems, 2021", "docs/explanation/vertical.md"),
        )

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of the owner of the label, or where explaining takes more of another, of that one. As if all rows matched; how large the
        model is the task does not say."""
        parameters = Parameters.parse(spec.parameters)
        matched, owners = min(rows.values(), default=0), len(spec.inputs)
        widths, division = parameters.widths(spec), parameters.division
        width = max(widths)
        hybrids = 0 if division is None else max(division.hybrids(each) for each in widths[1:])
        numbers = len(parameters.told) * (1 + parameters.explain * owners) + parameters.explain * width * (owners - 1)
        told = parameters.kind.row_bytes * (owners - 1) + 8 * numbers
        return Cost(
            bytes_sent=matched * (max(told, parameters.kind.row_bytes * hybrids) + 50) + 1000,
            rounds=30,
            seconds=1.5 + matched * (1e-5 + parameters.explain * 3e-4 + hybrids * (1 << owners) * 2e-7),
            memory_bytes=200_000_000 + 8 * matched * (width + 8) + parameters.explain * 500 * matched,
        )

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one party's side. Raises OutputRefused where too few rows match, and InvalidData where this owner's part is not one
        of the task's model."""
        parameters = Parameters.parse(spec.parameters)
        accounts = parameters.owners(spec)
        owners = [spec.parties.index(account) for account in accounts]
        unknown = [""] * len(spec.parties)  # each owner's commitment is its own word: the run does not show it to others
        if table is None:
            scored = _hear(parameters, spec, session, owners[0], None)
            return Outcome("", unknown, _words(parameters, accounts, scored, None, None))
        content = _content(parameters, spec, party, scratch / EARLIER / parameters.task)
        part = parameters.kind.read(content)
        if list(parameters.kind.names(part)) != [name for each in parameters.own(party) for name in each.names]:
            raise InvalidData("the part of the model is of other columns than its task says", party=party)
        session.progress("matching the rows", 0.05)
        table = parameters.split.matched(spec, party, numbered(table), session)
        if table.num_rows < parameters.minimum_group:
            raise OutputRefused(
                f"{table.num_rows} joint rows are fewer than {parameters.minimum_group}",
                remedy="lower minimum_group, or use larger datasets",
            )
        columns = matrix(parameters.own(party), table)
        commitment, opening = commit(columns, hashlib.sha256(content).digest())
        (scratch / "opening.json").write_text(json.dumps(opening))
        session.progress("scoring the rows", 0.2)
        scored, explained = _score(parameters, session, owners, part, columns, parameters.widths(spec))
        if session.index == owners[0]:
            _tell(parameters, spec, session, scored)
        elif party in parameters.told:
            scored = _hear(parameters, spec, session, owners[0], len(columns))
        if party not in spec.receivers:
            return Outcome(commitment, unknown)
        own = _own_words(parameters, party, explained)
        own["own_rows"] = [int(each) + 1 for each in places(table)]
        told = scored if party in parameters.told else None
        return Outcome(commitment, unknown, _words(parameters, accounts, told, own, len(columns)))


def _content(parameters: Parameters, spec: TaskSpec, party: str, folder: Path) -> bytes:
    """The file with an owner's part of the model. Raises InvalidData unless the earlier task is the one that the parameters
    tell."""
    earlier = TaskSpec.parse((folder / SPEC).read_bytes())
    same = all(earlier.parameters.get(name) == parameters.said[name] for name in SAME)
    owners = [each.party for each in earlier.inputs]
    if earlier.workload != parameters.workload or not same or owners != [each.party for each in spec.inputs]:
        raise InvalidData(
            "the model's task has another workload, other features, target or owners than the parameters say",
            party=party,
            remedy="copy features and target from that task's parameters",
        )
    return (folder / parameters.kind.file).read_bytes()


def _score(
    parameters: Parameters, session: Session, owners: Sequence[int], part: Any, columns: Floats, widths: Sequence[int]
) -> tuple[Scored, Explanation | None]:
    """What the owner of the label has, nothing of worth elsewhere; and this owner's values."""
    try:
        scores = parameters.kind.score(session, owners, part, columns)
        division = parameters.division
        if division is None:
            return Scored(scores), None
        session.progress("explaining the scores", 0.6)
        explained = division.explain(session, owners, part, columns, widths)
    except ValueError as error:
        raise InvalidData(
            f"the model does not fit the rows: {error}", remedy="name the model's own columns, or other rows"
        ) from None
    base = float(scores.mean()) if explained.base is None else explained.base
    return Scored(scores, base, explained.owners), explained


def _tell(parameters: Parameters, spec: TaskSpec, session: Session, scored: Scored) -> None:
    """Send everybody who is told the scores, and the owners' values where there are some."""
    for account in parameters.told:
        peer = spec.parties.index(account)
        if peer == session.index:
            continue
        session.channels[peer].mark(STEP)
        send_array(session, peer, np.array([len(scored.scores)], np.uint64))
        send_array(session, peer, scored.scores)
        if scored.owners is not None:
            send_array(session, peer, np.append(scored.owners.reshape(-1), scored.base))


def _hear(parameters: Parameters, spec: TaskSpec, session: Session, label: int, rows: int | None) -> Scored:
    """What :func:`_tell` sent; ``rows`` where this party knows how many there are. Raises ProtocolViolation."""
    session.channels[label].mark(STEP)
    session.patience(label)
    count = int(receive_array(session, label, (1,), STEP)[0])
    if rows not in (None, count) or not parameters.minimum_group <= count <= MAX_ROWS:
        raise ProtocolViolation(label, STEP, "tells another number of scores than there are joint rows")
    scores, owners, base = receive_array(session, label, (count,), STEP, np.float64), None, 0.0
    if parameters.explain:
        values = receive_array(session, label, (count * len(spec.inputs) + 1,), STEP, np.float64)
        owners, base = values[:-1].reshape(count, len(spec.inputs)), float(values[-1])
    if not (np.isfinite(scores).all() and np.isfinite(base) and (owners is None or np.isfinite(owners).all())):
        raise ProtocolViolation(label, STEP, "tells a score that is not finite")
    return Scored(scores, base, owners)


def _words(
    parameters: Parameters, accounts: Sequence[str], scored: Scored | None, own: Mapping[str, Any] | None, rows: int | None
) -> dict[str, Any]:
    """The values of a receiver's result: what it is told, and as an owner which of its rows and columns they are about."""
    predictions, explanation = None, None
    if scored is not None:
        rows, predictions = len(scored.scores), _predictions(parameters, scored.scores)
        if scored.owners is not None:
            explanation = {
                "base": text(scored.base),
                "owners": [
                    {"party": account, "values": _texts(values)} for account, values in zip(accounts, scored.owners.T, strict=True)
                ],
            }
    target = parameters.target
    return {
        "output": parameters.output,
        "rows": rows,
        "classes": list(target.values) if isinstance(target, Category) else [],
        "predictions": predictions,
        "explanation": explanation,
        "columns": None if own is None else own["columns"],
        "own_rows": None if own is None else own["own_rows"],
    }


def _own_words(parameters: Parameters, party: str, explained: Explanation | None) -> dict[str, Any]:
    """The values of an owner's own columns, and their importance: the mean magnitude over the rows."""
    if explained is None:
        return {"columns": None}
    names = [name for each in parameters.own(party) for name in each.names]
    return {
        "columns": [
            {"column": name, "importance": text(np.abs(values).mean()), "values": _texts(values)}
            for name, values in zip(names, explained.columns.T, strict=True)
        ]
    }


def _predictions(parameters: Parameters, scores: Floats) -> list[str]:
    target = parameters.target
    if not isinstance(target, Category):
        return _texts(scores * target.scale + target.center)
    if parameters.output == "class":
        return [target.values[int(each)] for each in scores > 0]
    return _texts(mean("logistic", scores) if parameters.output == "probability" else scores)


def _texts(numbers: Floats) -> list[str]:
    return [text(each) for each in numbers]

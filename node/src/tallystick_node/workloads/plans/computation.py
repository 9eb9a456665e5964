"""`computation`: whatever an analyst's plan says, on secret shares, between the parties that the task names to compute.

The task carries the plan itself (:mod:`tallystick_node.engines.mpc.plan`): who brings which columns, every operation, and what is
shown to whom. Nothing else runs: no code of the analyst's. An owner authorises the plan by its digest (``computation:sha256:…`` in
a grant), or any plan (``computation``).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask, MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.plan import pieces
from tallystick_node.engines.mpc.plan.document import Input, InvalidPlan, Plan
from tallystick_node.engines.mpc.plan.explain import effort, explain, memory, too_large
from tallystick_node.engines.mpc.plan.kinds import Kind, encode, exact_text
from tallystick_node.engines.mpc.plan.leakage import leakage
from tallystick_node.engines.mpc.plan.roles import Part
from tallystick_node.engines.mpc.ring import OutOfRange, Ring, decode_integers
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.engines.store import MEMORY, Store
from tallystick_node.workloads.base import Cost, Outcome, Workload
from tallystick_node.workloads.protocols import Choice, protocol_of
from tallystick_node.workloads.reading import TaskParameters

MAX_MINIMUM = 1_000_000
MAX_PART = 16 << 30  # bytes of one part of the values that are alive together
MAX_EFFORT = 1 << 27  # elements that a node rehearses to foretell a plan's cost
WHOLE = (pa.int64(), pa.bool_(), pa.date32())


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``minimum_group``: how many rows each input has at least."""

    plan: Plan
    protocol: str
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        return _cached(canonical.encode(value))


@lru_cache(maxsize=8)
def _cached(document: bytes) -> Parameters:
    value = canonical.decode(document, len(document))
    fields = Fields(value, ("plan", "protocol", "minimum_group"), "parameters")
    try:
        plan = Plan.from_json(fields.object("plan"))
    except InvalidPlan as error:
        raise MalformedDocument(f"parameters.{error}", remedy="record the plan with plan_of") from None
    return Parameters(plan, protocol_of(fields), fields.integer("minimum_group", 2, MAX_MINIMUM))


class Computation(Workload):
    """The workload `computation`."""

    name = "computation"
    proofs: tuple[str, ...] = ("signed-by-all",)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the plan's parties, columns and receivers are the spec's, and its protocol is for as many as
        compute."""
        parameters = Parameters.parse(spec.parameters)
        plan, choice = parameters.plan, Choice.of(parameters.protocol)
        if memory(plan).kept > MAX_PART or effort(plan) > MAX_EFFORT:
            raise InvalidTask("the plan's arrays are too large together", remedy="compute in pieces, or on fewer rows")
        choice.check(spec)
        if reason := too_large(plan, len(choice.computing(spec)), choice.offer, MEMORY):
            raise InvalidTask(f"the plan is too large: {reason}", remedy="compute in pieces, or on fewer rows")
        for what, planned, named in (
            ("owners", plan.owners, [part.party for part in spec.inputs]),
            ("receivers", plan.receivers, spec.receivers),
            ("parties", plan.parties, {*(part.party for part in spec.inputs), *spec.receivers}),
        ):
            if set(planned) != set(named):
                raise InvalidTask(f"the plan's {what} are not those of the task", remedy="name accounts as the plan's parties")
        for part in spec.inputs:
            own = _inputs_of(plan, part.party)
            if any(not each.columns for each in own):
                raise InvalidTask("an input of the plan names no columns", party=part.party, remedy="declare its columns")
            if set(part.columns) != {column for each in own for column in each.columns}:
                raise InvalidTask("an input's columns are not those that the plan reads", party=part.party)
            if len({each.shape[0] for each in own}) != 1:
                raise InvalidTask("the plan reads one dataset with different numbers of rows", party=part.party)
            if own[0].shape[0] < parameters.minimum_group:
                raise InvalidTask(
                    f"an input has {own[0].shape[0]} rows, fewer than the task's minimum of {parameters.minimum_group}",
                    party=part.party,
                    remedy="use a larger dataset",
                )

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The columns that the plan reads of the party's dataset, each once."""
        plan = Parameters.parse(spec.parameters).plan
        return list(dict.fromkeys(column for each in _inputs_of(plan, party) for column in each.columns))

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """The protocol's statement, and in words what the plan shows to whom."""
        parameters = Parameters.parse(spec.parameters)
        promised = Choice.of(parameters.protocol).security(spec)
        shown = [each for each in leakage(parameters.plan, promised) if " learns " in each and not each.startswith("Besides")]
        return replace(promised, learns={**promised.learns, "receiver": " ".join(shown)})

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """The engine's own prediction: the plan says how many rows there are, whatever ``rows``."""
        parameters = Parameters.parse(spec.parameters)
        choice = Choice.of(parameters.protocol)
        foretold = explain(parameters.plan, choice.offer, choice.cast(spec))
        return Cost(
            bytes_sent=foretold.bytes_most,
            rounds=foretold.rounds,
            seconds=1.5 + foretold.seconds,
            memory_bytes=foretold.memory_bytes,
        )

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one party's part: share its columns, compute, receive, whichever it does."""
        parameters = Parameters.parse(spec.parameters)
        plan = parameters.plan
        commitment, inputs = "", dict[str, Ring]()
        if table is not None:
            session.progress("preparing the columns", 0.05)
            inputs = {each.name: _input(each, table, session.store) for each in _inputs_of(plan, party)}
            commitment, opening = _commit(table.select(list(self.columns(spec, party))))
            (scratch / "opening.json").write_text(json.dumps(opening))
        session.progress("computing", 0.1)
        choice = Choice.of(parameters.protocol)
        found = Part(plan, choice.offer, choice.cast(spec), session).run(inputs)
        unknown = [""] * len(spec.parties)  # each owner's commitment is its own word: the run does not show it to others
        if party not in spec.receivers:
            return Outcome(commitment=commitment, all_commitments=unknown)
        kinds = {each.name: plan.types[each.value].kind for each in plan.reveals}
        outputs = [_output(each.name, found[each.name], kinds[each.name]) for each in plan.reveals if party in each.receivers]
        values = {"plan": canonical.text(plan.digest()), "outputs": outputs}
        return Outcome(commitment=commitment, all_commitments=unknown, result=values)


def _inputs_of(plan: Plan, party: str) -> list[Input]:
    return [each for each in plan.inputs if each.owner == party]


def _input(declared: Input, table: pa.Table, store: Store) -> Ring:
    """The elements of an input, piece by piece. Raises InvalidData, which names the column and never a value."""
    if table.num_rows != declared.shape[0]:
        raise InvalidData(
            f"the dataset has {table.num_rows} rows, the plan says {declared.shape[0]}",
            remedy="record the plan for the dataset as it is published",
        )

    def rows(first: int, count: int) -> Ring:
        some = table.slice(first, count)
        columns = [_encoded(declared.kind, some.schema.field(name), some.column(name)) for name in declared.columns]
        return columns[0] if len(declared.shape) == 1 else np.ascontiguousarray(np.stack(columns, axis=1))

    length = max(1, pieces.PIECE // len(declared.columns))
    found: Ring = pieces.gathered(store, declared.shape[:1], rows, length, declared.shape[1:])
    return found


def _encoded(kind: Kind, field: pa.Field, column: pa.ChunkedArray) -> Ring:
    scale = int((field.metadata or {}).get(b"scale", b"0"))
    if field.type not in WHOLE:
        raise InvalidData(f"column {field.name!r} holds no numbers", remedy="leave it out of the plan")
    if column.null_count:
        raise InvalidData(f"column {field.name!r} has empty cells", remedy="publish a dataset without them")
    if kind.name != "fixed" and scale:
        raise InvalidData(f"column {field.name!r} has digits after the point", remedy="declare the input as fixed point")
    numbers = _whole(column)
    try:
        return encode(numbers / 10**scale if kind.name == "fixed" else numbers, kind)
    except ValueError:  # OutOfRange among them
        raise InvalidData(f"column {field.name!r} has a number that does not fit {kind}", remedy="declare another kind") from None


def _whole(column: pa.ChunkedArray) -> NDArray[np.int64]:
    days = column.cast(pa.int32()) if column.type == pa.date32() else column
    numbers: NDArray[np.int64] = days.cast(pa.int64()).to_numpy()
    return numbers


def _commit(table: pa.Table) -> tuple[str, dict[str, str]]:
    """A hiding commitment to the cells that went in, column by column, and its opening, which stays with the owner."""
    salt = secrets.token_bytes(32)
    state = hashlib.sha256(salt)
    for name in sorted(table.column_names):
        state.update(hashlib.sha256(name.encode()).digest())
        cells = hashlib.sha256()
        for first, count in pieces.parts(table.num_rows):
            cells.update(_whole(table.column(name).slice(first, count)).astype("<i8").tobytes())
        state.update(cells.digest())
    return canonical.text(state.digest()), {"salt": salt.hex()}


def _output(name: str, elements: Ring, kind: Kind) -> dict[str, Any]:
    """A result in words of the result file: numbers as exact decimal text, in C order."""
    try:
        whole = decode_integers(elements)
    except OutOfRange:
        raise InvalidData(
            f"{name}: a number has left the range of {kind}", remedy="scale the inputs, or take fewer fraction bits"
        ) from None
    numbers = [exact_text(int(each), kind.fraction) for each in np.asarray(whole).ravel()]
    return {"name": name, "kind": str(kind), "shape": list(np.shape(elements)), "numbers": numbers}

"""What the workloads have in common whose computation is a plan that follows from the spec and from how many rows the owners bring.

Every party derives the same plan from the same public facts, so that nothing needs to be agreed: the spec, and the number of rows
that each owner announces after it has prepared its table. The parties of ``compute`` run it on shares; the receivers get what it
reveals to them and put the result together.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.mpc.array.immediate import decoded
from tallystick_node.engines.mpc.plan import pieces
from tallystick_node.engines.mpc.plan.document import InvalidPlan, Plan
from tallystick_node.engines.mpc.plan.explain import explain, too_large
from tallystick_node.engines.mpc.plan.kinds import Kind, encode
from tallystick_node.engines.mpc.plan.leakage import leakage
from tallystick_node.engines.mpc.plan.roles import Part
from tallystick_node.engines.mpc.ring import OutOfRange, Ring
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.engines.store import MEMORY
from tallystick_node.workloads.base import Cost, Outcome, Workload
from tallystick_node.workloads.protocols import Choice

MAX_ROWS = 50_000_000
Numbers = Mapping[str, NDArray[Any]]


class Planned(Workload, ABC):
    """A workload that derives a plan. Subclasses say how parameters are read, tables prepared, and results put in words."""

    name: str
    proofs: tuple[str, ...] = ("signed-by-all",)

    @abstractmethod
    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask naming the field, the rule and the remedy unless ``spec`` can run; call :meth:`check_protocol`."""

    @abstractmethod
    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The columns of ``party``'s dataset that the run reads."""

    @abstractmethod
    def protocol(self, spec: TaskSpec) -> str:
        """The text by which the parameters ask for a protocol."""

    @abstractmethod
    def minimum_group(self, spec: TaskSpec) -> int:
        """How many rows an owner brings at least."""

    @abstractmethod
    def plan(self, spec: TaskSpec, rows: Mapping[str, int]) -> Plan:
        """The plan for owners who bring so many rows. Raises InvalidTask."""

    @abstractmethod
    def prepare(self, spec: TaskSpec, party: str, table: pa.Table, session: Session) -> Numbers:
        """An owner's inputs to the plan by their names; the first has an element for each row. Rows may be matched with other
        owners here. What is no input of the plan stays with the owner.

        Raises InvalidData.
        """

    @abstractmethod
    def words(self, spec: TaskSpec, shown: Numbers, rows: Mapping[str, int]) -> Mapping[str, Any]:
        """The values of the result document from what the plan reveals to this receiver."""

    @abstractmethod
    def check_rows(self, spec: TaskSpec, rows: Mapping[str, int]) -> None:
        """Raise OutputRefused when the owners bring too few rows for what the plan shows, besides the minimum of each."""

    # -- what follows from these

    def check_protocol(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the protocol is for as many parties as compute, and its dealer for nothing else."""
        self._choice(spec).check(spec)

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """The protocol's statement, and in words what is shown to whom."""
        promised = self._choice(spec).security(spec)
        rows = {part.party: self.least_rows(spec, part.party) for part in spec.inputs}
        sentences = leakage(self._derived(spec, rows), promised)
        shown = [each for each in sentences if " learns " in each and not each.startswith("Besides")]
        return replace(promised, learns={**promised.learns, **self.learns(spec), "receiver": " ".join(shown)})

    def least_rows(self, spec: TaskSpec, party: str) -> int:
        """How many rows this owner brings at least: as all do, unless a subclass tells owners apart."""
        return self.minimum_group(spec)

    def words_for(
        self, spec: TaskSpec, party: str, shown: Numbers, rows: Mapping[str, int], prepared: Numbers
    ) -> Mapping[str, Any]:
        """The values for one receiver: :meth:`words`, unless a subclass adds what only this party knows, by what it prepared."""
        return self.words(spec, shown, rows)

    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """What roles learn before the plan runs, besides the numbers of rows."""
        return {}

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """The engine's prediction for the registered numbers of rows."""
        least = {part.party: self.least_rows(spec, part.party) for part in spec.inputs}
        plan = self._derived(spec, {party: max(rows.get(party, 0), few) for party, few in least.items()})
        choice = self._choice(spec)
        foretold = explain(plan, choice.offer, choice.cast(spec))
        return Cost(foretold.bytes_most, foretold.rounds + 1, 1.5 + foretold.seconds, foretold.memory_bytes)

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one party's part: prepare and share its rows, compute, receive, whichever it does."""
        inputs: Numbers = {}
        if table is not None:
            session.progress("preparing the rows", 0.05)
            inputs = self.prepare(spec, party, table, session)
        rows = self._announce(spec, party, inputs, session)
        self.check_rows(spec, rows)
        plan = self._derived(spec, rows)
        kinds = {each.name: each.kind for each in plan.inputs}
        commitment, encoded = "", {}
        if table is not None:
            try:
                encoded = {name: _encoded(values, kinds[name], session) for name, values in inputs.items() if name in kinds}
            except OutOfRange:
                raise InvalidData("a number does not fit the task's fraction bits", remedy="scale it, or take fewer bits") from None
            commitment, opening = _commit(encoded)
            (scratch / "opening.json").write_text(json.dumps(opening))
        session.progress("computing", 0.1)
        choice = self._choice(spec)
        found = Part(plan, choice.offer, choice.cast(spec), session).run(encoded)
        unknown = [""] * len(spec.parties)  # each owner's commitment is its own word: the run does not show it to others
        if party not in spec.receivers:
            return Outcome(commitment=commitment, all_commitments=unknown)
        types = {each.name: plan.types[each.value].kind for each in plan.reveals}
        try:
            shown = {name: decoded(elements, types[name]) for name, elements in found.items()}
        except OutOfRange:
            raise InvalidData("a result has left the range of the task's numbers", remedy="scale the columns") from None
        return Outcome(commitment=commitment, all_commitments=unknown, result=self.words_for(spec, party, shown, rows, inputs))

    def _choice(self, spec: TaskSpec) -> Choice:
        return Choice.of(self.protocol(spec))

    def _derived(self, spec: TaskSpec, rows: Mapping[str, int]) -> Plan:
        try:
            plan = self.plan(spec, rows)
        except InvalidPlan as error:
            raise InvalidTask(f"the {self.name} is too large: {error}", remedy="ask for less in one task") from None
        choice = self._choice(spec)
        if reason := too_large(plan, len(choice.computing(spec)), choice.offer, MEMORY):
            raise InvalidTask(f"the {self.name} is too large: {reason}", remedy="ask for less in one task, or of fewer rows")
        return plan

    def _announce(self, spec: TaskSpec, party: str, inputs: Numbers, session: Session) -> dict[str, int]:
        """Every owner tells everybody how many rows it brings, as soon as they are prepared, however long that takes. Raises
        OutputRefused for too few, ProtocolViolation for nonsense."""
        session.mark("rows")
        rows: dict[str, int] = {}
        if inputs:
            rows[party] = len(next(iter(inputs.values())))
            for peer in session.channels:
                send_array(session, peer, np.array([rows[party]], np.uint64))
        for part in spec.inputs:
            if part.party != party:
                peer = spec.parties.index(part.party)
                session.patience(peer)
                rows[part.party] = int(receive_array(session, peer, (1,), "rows")[0])
                if rows[part.party] > MAX_ROWS:
                    raise ProtocolViolation(peer, "rows", f"it announces more than {MAX_ROWS} rows")
        for owner, count in rows.items():
            if count < self.least_rows(spec, owner):
                raise OutputRefused(
                    f"an owner brings {count} rows, fewer than {self.least_rows(spec, owner)}",
                    party=owner,
                    remedy="use a larger dataset or another filter",
                )
        return rows


def column(table: pa.Table, name: str) -> NDArray[np.float64]:
    """The numbers of a column: integers, decimals, truth values as 0 and 1. Raises InvalidData for others and for empty cells."""
    field, cells = table.schema.field(name), table.column(name)
    if field.type not in (pa.int64(), pa.bool_()):
        raise InvalidData(f"column {name!r} holds no numbers", remedy="name a numeric column")
    if cells.null_count:
        raise InvalidData(f"column {name!r} has empty cells", remedy="fill them, or publish a dataset without such rows")
    whole: NDArray[Any] = cells.cast(pa.int64()).to_numpy()
    numbers: NDArray[np.float64] = whole / 10 ** int((field.metadata or {}).get(b"scale", b"0"))
    return numbers


def _encoded(values: NDArray[Any], kind: Kind, session: Session) -> Ring:
    """Elements of numbers, piece by piece. Raises OutOfRange."""
    flat = values.reshape(-1)
    found: Ring = pieces.gathered(session.store, values.shape, lambda first, count: encode(flat[first : first + count], kind))
    return found


def _commit(inputs: Mapping[str, NDArray[np.uint64]]) -> tuple[str, dict[str, str]]:
    """A hiding commitment to the numbers that are shared, and its opening, which stays with the owner."""
    salt = secrets.token_bytes(32)
    state = hashlib.sha256(salt)
    for name in sorted(inputs):
        state.update(hashlib.sha256(name.encode()).digest())
        elements = np.ascontiguousarray(inputs[name]).astype("<u8", copy=False)
        state.update(hashlib.sha256(elements.reshape(-1).view(np.uint8).data).digest())
    return canonical.text(state.digest()), {"salt": salt.hex()}

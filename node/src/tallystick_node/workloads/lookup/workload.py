"""`lookup`: rows of one owner's table by keys that only the asker knows, and nothing more of the table for the asker.

The owner sees how many lookups a task takes, as it declares, and nothing of the keys. Each attempt takes so many
uses of the grants, on chain.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, OutputRefused
from tallystick.protocol.result import file_digest
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import ProtocolViolation, Session
from tallystick_node.engines.pir import lookup
from tallystick_node.engines.pir.kept import Rows, held_public, keep_public, offer_of
from tallystick_node.engines.pir.public import DIGEST, LABEL, Public, expected_stash, layout_for
from tallystick_node.engines.pir.table import sealed_width
from tallystick_node.engines.psi.curve25519 import POINT
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost, Outcome, Workload
from tallystick_node.workloads.keys import commit, distinct
from tallystick_node.workloads.lookup.parameters import FOUND, Parameters
from tallystick_node.workloads.lookup.rows import NotARow, decode_row, encode_rows

RESULT = "rows.csv"
MAX_ROWS = 1 << 24  # of a table
START = 1.0  # seconds that the worker processes take to begin
BUILD, READ, QUERY, SCAN = 80e-6, 3e-6, 4e-3, 1.2e-10  # seconds for each row made and read, each query made, each byte read for one


class Lookup(Workload):
    """The workload `lookup`."""

    name = "lookup"
    proofs: tuple[str, ...] = ("signed-by-all",)
    kernels: tuple[str, ...] = ("lookup",)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a lookup between two owners."""
        Parameters.parse(spec.parameters).check(spec)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The owner's key and value columns, or the asker's key columns."""
        return Parameters.parse(spec.parameters).columns(party)

    def lookups(self, spec: TaskSpec, party: str) -> int:
        """Of the table's owner, as many as the task declares."""
        parameters = Parameters.parse(spec.parameters)
        return parameters.lookups if party == parameters.owner else 0

    def kept(self, spec: TaskSpec) -> Sequence[str]:
        """The table's, at its owner and at the asker."""
        parameters = Parameters.parse(spec.parameters)
        return [parameters.table_name(part.dataset) for part in spec.inputs if part.party == parameters.owner]

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """That of the engine."""
        return lookup.security()

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of a first lookup: the owner makes the table, and the asker gets all that it holds of it. Later ones send only queries
        and answers, and what changed."""
        parameters = Parameters.parse(spec.parameters)
        records = min(rows.get(parameters.owner, 0), MAX_ROWS)
        layout = layout_for(records, sealed_width(parameters.row_bytes))
        stash = expected_stash(records, layout.columns, layout.bands) * (LABEL + layout.width)
        points = (parameters.lookups + 1) * POINT
        owner = layout.hint_bytes + layout.columns * DIGEST + int(stash) + points + parameters.lookups * layout.answer_bytes
        asker = DIGEST + points + parameters.lookups * layout.query_bytes
        query = QUERY + layout.matrix_bytes * SCAN
        return Cost(
            bytes_sent=max(owner, asker),
            rounds=3 + -(-parameters.lookups // lookup.BATCH),
            seconds=START + (BUILD + READ) * records + query * parameters.lookups,
            memory_bytes=150_000_000 + 3 * layout.matrix_bytes + 600 * records,
        )

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one party's side. Raises OutputRefused for a table with fewer keys than the minimum, InvalidData for an asker with
        more keys than the task declares."""
        assert table is not None  # both parties have input
        parameters = Parameters.parse(spec.parameters)
        owner = spec.parties.index(parameters.owner)
        (name,) = self.kept(spec)
        folder = (session.kept or scratch) / name
        version = session.versions[owner]
        if party == parameters.owner:
            return _serve(parameters, table, session, 1 - owner, folder / "table", version)
        return _ask(parameters, table, session, owner, folder / "held", version, scratch)


def _serve(parameters: Parameters, table: pa.Table, session: Session, asker: int, folder: Path, version: bytes) -> Outcome:
    def rows() -> Rows:
        session.progress("preparing the table", 0.05)
        items, places = distinct(parameters.rules, table.select(list(parameters.keys)))
        if len(items) > MAX_ROWS:
            raise InvalidData(f"a table has at most {MAX_ROWS} keys", remedy="use a smaller dataset")
        values = encode_rows(table.select(list(parameters.values)).take(pa.array(places)), parameters.row_bytes)
        return list(items), values

    offer = offer_of(folder, version, parameters.row_bytes, rows)
    if len(offer.table.names) < parameters.minimum_group:
        raise OutputRefused(f"the table has fewer than {parameters.minimum_group} distinct keys", remedy="use a larger dataset")
    lookup.serve(session, asker, offer, parameters.lookups)
    return Outcome(commitment=canonical.text(offer.table.public.digest), all_commitments=["", ""])


def _ask(
    parameters: Parameters, table: pa.Table, session: Session, owner: int, folder: Path, version: bytes, scratch: Path
) -> Outcome:
    keys = table.select(list(parameters.asked))
    items, places = distinct(parameters.rules, keys)
    if len(items) > parameters.lookups:
        raise InvalidData(
            "the asker's dataset has more distinct keys than the task declares lookups",
            remedy="declare more, or ask for fewer keys",
        )
    commitment, opening = commit(items)
    (scratch / "opening.json").write_text(json.dumps(opening))
    latest = held = held_public(folder)

    def keep(public: Public) -> None:
        nonlocal latest
        latest = public
        keep_public(folder, public)

    rows = lookup.ask(session, owner, list(items), parameters.lookups, version, parameters.row_bytes, held, keep)
    assert latest is not None
    digest = canonical.text(latest.digest)
    try:
        cells = [None if row is None else decode_row(row, len(parameters.values)) for row in rows]
    except NotARow as error:
        raise ProtocolViolation(owner, "rows", str(error)) from None
    path = scratch / RESULT
    _write(path, parameters, keys.take(pa.array(places)), cells)
    values = {
        "lookups": parameters.lookups,
        "keys": len(items),
        "found": sum(row is not None for row in rows),
        "table": digest,
        "file": {"name": RESULT, "sha256": file_digest(path.read_bytes()), "rows": len(items)},
    }
    commitments = [commitment, commitment]
    commitments[owner] = digest
    return Outcome(commitment=commitment, all_commitments=commitments, result=values, files={RESULT: path})


def _write(path: Path, parameters: Parameters, keys: pa.Table, cells: Sequence[Sequence[str] | None]) -> None:
    """The asker's own keys, in its own order; whether each is in the table; and the row's cells, empty for a key that is not."""
    nothing = [""] * len(parameters.values)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*parameters.asked, FOUND, *parameters.values])
        for own, found in zip(zip(*(column.to_pylist() for column in keys.columns), strict=True), cells, strict=True):
            writer.writerow([*own, "false", *nothing] if found is None else [*own, "true", *found])

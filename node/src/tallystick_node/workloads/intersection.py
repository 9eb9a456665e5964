"""`intersection`: which keys two owners have in common, or only how many, by elliptic-curve Diffie-Hellman PSI.

Keys are typed and composite. The output goes to the designated receivers, which are among the two owners: with this protocol
the party that learns the matches learns them from its own rows.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask, MalformedDocument, OutputRefused
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.psi.ecdh import intersect
from tallystick_node.workloads.base import Cost, Outcome, SecurityStatement

TYPES = ("int64", "string", "date")
MODES = ("ids", "cardinality")
DUPLICATES = ("reject", "group")
RESULT = "matches.csv"
ARROW = {"int64": pa.int64(), "string": pa.string(), "date": pa.date32()}


@dataclass(frozen=True)
class Parameters:
    """``keys``: for each owner its key columns, in the order of ``types``. ``fold``: compare strings without case."""

    keys: Mapping[str, tuple[str, ...]]
    types: tuple[str, ...]
    fold: bool
    duplicates: str
    mode: Literal["ids", "cardinality"]
    minimum_group: int

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Parameters:
        """Check and read. Raises InvalidTask."""
        try:
            names = ("keys", "types", "fold", "duplicates", "mode", "minimum_group")
            fields = Fields(dict(value), names, "parameters")
            keys = dict(fields.items("keys", 2, 2, _key))
            types = value["types"]
            if not isinstance(types, list) or not 1 <= len(types) <= 16 or not set(types) <= set(TYPES):
                raise MalformedDocument(f"parameters.types: 1 to 16 of {', '.join(TYPES)}")
            if any(len(columns) != len(types) for columns in keys.values()):
                raise MalformedDocument("parameters.keys: each owner names one column for each type")
            mode: Any = fields.choice("mode", MODES)
            return cls(
                keys=keys,
                types=tuple(types),
                fold=fields.boolean("fold"),
                duplicates=fields.choice("duplicates", DUPLICATES),
                mode=mode,
                minimum_group=fields.integer("minimum_group", 2, 1000),
            )
        except MalformedDocument as error:
            raise InvalidTask(error.message, remedy=error.remedy or "see docs/reference/workloads.md") from None


class Intersection:
    """The workload `intersection`."""

    name = "intersection"
    proofs: tuple[str, ...] = ("signed-by-all",)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is an intersection of two owners with receivers among them."""
        parameters = Parameters.parse(spec.parameters)
        owners = [part.party for part in spec.inputs]
        if len(owners) != 2 or set(parameters.keys) != set(owners):
            raise InvalidTask("an intersection has two owners, each with its key columns", remedy="name both in keys")
        if not set(spec.receivers) <= set(owners):
            raise InvalidTask(
                "the receivers of an intersection are among its owners",
                remedy="let an owner receive; it can pass the result on under its own responsibility",
            )
        for part in spec.inputs:
            if set(part.columns) != set(parameters.keys[part.party]):
                raise InvalidTask("an input's columns are not its key columns", party=part.party)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The party's key columns."""
        return Parameters.parse(spec.parameters).keys[party]

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """Secure against one owner who follows the protocol, under decisional Diffie-Hellman, hashes as random oracles."""
        mode = Parameters.parse(spec.parameters).mode
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=1,
            parties=2,
            computational_bits=126,
            statistical_bits=40,
            trusted=(),
            learns={
                "owner": "how many distinct keys the other owner has",
                "receiver": "which of its own keys match" if mode == "ids" else "how many keys match",
                "public": "the spec and who took part",
            },
            references=("Meadows 1986", "Huberman, Franklin and Hogg 1999", "De Cristofaro, Gasti and Tsudik 2012"),
        )

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Two curve points or tags for each key; two scalar multiplications for each key at each side."""
        own, other = ([*rows.values(), 0, 0])[:2]
        return Cost(
            bytes_sent=32 * own + 16 * other,
            rounds=4,
            seconds=1.0 + (own + other) * 4e-5,
            memory_bytes=150_000_000 + 300 * (own + other),
        )

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one owner's side. Raises OutputRefused when this owner has fewer keys than the minimum."""
        assert table is not None  # every party of this workload is an owner
        parameters = Parameters.parse(spec.parameters)
        session.progress("preparing the keys", 0.05)
        columns = [table.column(name) for name in parameters.keys[party]]
        items, rows = _distinct(parameters, columns)
        if len(items) < parameters.minimum_group:
            raise OutputRefused(
                f"an owner has fewer than {parameters.minimum_group} distinct keys",
                remedy="use a larger dataset",
            )
        commitment, opening = _commit(items)
        (scratch / "opening.json").write_text(json.dumps(opening))
        receivers = [spec.parties.index(account) for account in spec.receivers]
        session.mark("intersect")
        found = intersect(
            session,
            items,
            peer=1 - session.index,
            receivers=receivers,
            mode=parameters.mode,
            context=spec.digest(),
        )
        if found.cardinality is None:
            return Outcome(commitment=commitment, all_commitments=["", ""])
        values: dict[str, Any] = {"cardinality": found.cardinality, "mode": parameters.mode}
        files = {}
        if found.positions is not None:
            path = scratch / RESULT
            matched = table.take(pa.array([rows[position] for position in found.positions.tolist()], pa.int64()))
            pa.csv.write_csv(matched.select(list(parameters.keys[party])), path)
            values["file"] = {"name": RESULT, "sha256": _file_digest(path), "rows": found.cardinality}
            files[RESULT] = path
        return Outcome(commitment=commitment, all_commitments=["", ""], result=values, files=files)


def encode_key(parameters: Parameters, cells: Sequence[Any]) -> bytes:
    """The bytes of a composite key: for each cell its type, its length and its content, so that no two keys collide."""
    parts = []
    for kind, cell in zip(parameters.types, cells, strict=True):
        if kind == "string":
            text = unicodedata.normalize("NFC", str(cell)).strip()
            raw = unicodedata.normalize("NFC", text.casefold()).encode() if parameters.fold else text.encode()
        elif kind == "int64":
            raw = int(cell).to_bytes(8, "big", signed=True)
        else:
            raw = cell.isoformat().encode()
        parts.append(kind[:1].encode() + len(raw).to_bytes(4, "big") + raw)
    return b"".join(parts)


def _distinct(parameters: Parameters, columns: Sequence[pa.ChunkedArray]) -> tuple[list[bytes], list[int]]:
    """The distinct keys, and for each the first row that has it. Rows with an empty key cell have no key."""
    for kind, column in zip(parameters.types, columns, strict=True):
        if column.type != ARROW[kind]:
            raise InvalidData(f"a key column is not of type {kind}", remedy="name the column's own type in `types`")
    first: dict[bytes, int] = {}
    total = 0
    for row, cells in enumerate(zip(*(column.to_pylist() for column in columns), strict=True)):
        if any(cell is None for cell in cells):
            continue
        total += 1
        first.setdefault(encode_key(parameters, cells), row)
    if parameters.duplicates == "reject" and len(first) != total:
        raise InvalidData(
            f"{total - len(first)} rows repeat a key",
            remedy="clean the data, or let the task group duplicates",
        )
    return list(first), list(first.values())


def _commit(items: Sequence[bytes]) -> tuple[str, dict[str, str]]:
    """A hiding commitment to the set of keys that went in, and its opening, which stays with the owner."""
    salt = secrets.token_bytes(32)
    state = hashlib.sha256(salt)
    for item in sorted(hashlib.sha256(each).digest() for each in items):
        state.update(item)
    return canonical.text(state.digest()), {"salt": salt.hex()}


def _file_digest(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            state.update(part)
    return canonical.text(state.digest())


def _key(value: Any, where: str) -> tuple[str, tuple[str, ...]]:
    fields = Fields(value, ("party", "columns"), where)
    return fields.address("party"), fields.names("columns", 1, 16)

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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask, MalformedDocument, OutputRefused
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.psi.curve25519 import POINT
from tallystick_node.engines.psi.ecdh import intersect, tag_bytes
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost, Outcome, require_owners_compute

TYPES = ("int64", "string", "date")
MODES = ("ids", "cardinality")
DUPLICATES = ("reject", "group")
RESULT = "matches.csv"
ARROW = {"int64": pa.int64(), "string": pa.string(), "date": pa.date32()}
ASCII_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f "  # what str.strip takes away, so that all text is treated alike
BATCH = 1 << 16  # rows whose keys are encoded at a time
BIND_BYTES = 72 + 32  # what the protocol sends before the first key


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
            if not isinstance(types, list) or not 1 <= len(types) <= 16 or not all(each in TYPES for each in types):
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
        require_owners_compute(spec)
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
        """Of the owner who sends more: a curve point for each own key, and a tag for each of the other's if that one receives."""
        sizes = {part.party: rows.get(part.party, 0) for part in spec.inputs}
        total = sum(sizes.values())
        tag = tag_bytes(*sizes.values())
        sent = [POINT * own + (total - own) * tag * any(r != party for r in spec.receivers) for party, own in sizes.items()]
        return Cost(
            bytes_sent=BIND_BYTES + max(sent),
            rounds=4,
            seconds=1.0 + 2 * max(sizes.values(), default=0) * 2.5e-5,  # both mask each key, batch by batch in turn
            memory_bytes=150_000_000 + 300 * total,
        )

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one owner's side. Raises OutputRefused when this owner has fewer keys than the minimum."""
        assert table is not None  # every party of this workload is an owner
        parameters = Parameters.parse(spec.parameters)
        session.progress("preparing the keys", 0.05)
        keys = table.select(list(parameters.keys[party]))
        items, rows = _distinct(parameters, keys)
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
            context=session.context,
        )
        if found.cardinality is None:
            return Outcome(commitment=commitment, all_commitments=["", ""])
        values: dict[str, Any] = {"cardinality": found.cardinality, "mode": parameters.mode}
        files = {}
        if found.positions is not None:
            path = scratch / RESULT
            pa.csv.write_csv(keys.take(pa.array(rows[found.positions])), path)
            values["file"] = {"name": RESULT, "sha256": _file_digest(path), "rows": found.cardinality}
            files[RESULT] = path
        return Outcome(commitment=commitment, all_commitments=["", ""], result=values, files=files)


def encode_keys(parameters: Parameters, columns: Sequence[pa.Array]) -> pa.Array:
    """The bytes of each row's composite key: for each cell its type, its length and its content, so that no two keys collide.

    Null where a cell is empty: such a row has no key. Text is compared in Unicode NFC, without white space around it.
    """
    pieces: list[pa.Array] = []
    for kind, column in zip(parameters.types, columns, strict=True):
        content = _content(kind, column, fold=parameters.fold)
        lengths = pc.binary_length(content).fill_null(0).to_numpy().astype(">u4")
        letter = np.full((len(content), 1), ord(kind[0]), np.uint8)
        pieces += [_fixed_width(np.hstack([letter, _bytes_of(lengths)])), content]
    return pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary()))


def _content(kind: str, column: pa.Array, *, fold: bool) -> pa.Array:
    if kind == "int64":
        packed = _fixed_width(_bytes_of(column.fill_null(0).to_numpy().astype(">i8")))
        return pc.if_else(column.is_valid(), packed, pa.scalar(None, pa.large_binary()))
    if kind == "date":
        return column.cast(pa.large_string()).cast(pa.large_binary())
    text = column.cast(pa.large_string())
    cleaned = pc.ascii_trim(text, ASCII_SPACE)
    if fold:
        cleaned = pc.ascii_lower(cleaned)
    foreign = pc.invert(pc.string_is_ascii(text)).fill_null(False)
    if pc.any(foreign).as_py():
        words = [_clean(word, fold=fold) for word in text.filter(foreign).to_pylist()]
        cleaned = pc.replace_with_mask(cleaned, foreign, pa.array(words, pa.large_string()))
    filled = pc.greater(pc.binary_length(cleaned), 0)
    return pc.if_else(filled, cleaned, pa.scalar(None, pa.large_string())).cast(pa.large_binary())


def _clean(text: str, *, fold: bool) -> str:
    text = unicodedata.normalize("NFC", text).strip()
    return unicodedata.normalize("NFC", text.casefold()) if fold else text


def _bytes_of(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    return numbers.view(np.uint8).reshape(len(numbers), numbers.dtype.itemsize)


def _fixed_width(cells: NDArray[np.uint8]) -> pa.Array:
    """A row of bytes for each row, as Arrow's binary."""
    offsets = np.arange(len(cells) + 1, dtype=np.int64) * cells.shape[1]
    return pa.Array.from_buffers(pa.large_binary(), len(cells), [None, pa.py_buffer(offsets), pa.py_buffer(cells.tobytes())])


def _distinct(parameters: Parameters, keys: pa.Table) -> tuple[list[bytes], NDArray[np.int64]]:
    """The distinct keys, and for each the first row that has it. Rows with an empty key cell have no key."""
    for kind, field in zip(parameters.types, keys.schema, strict=True):
        # A decimal is an int64 at its scale: 1.50 would match 150.
        if field.type != ARROW[kind] or int((field.metadata or {}).get(b"scale", b"0")):
            raise InvalidData(f"a key column is not of type {kind}", remedy="name the column's own type in `types`")
    first: dict[bytes, int] = {}
    total = 0
    for start in range(0, keys.num_rows, BATCH):
        batch = keys.slice(start, BATCH)
        encoded = encode_keys(parameters, [column.combine_chunks() for column in batch.columns]).to_pylist()
        for row, key in enumerate(encoded, start):
            if key is not None:
                total += 1
                first.setdefault(key, row)
    if parameters.duplicates == "reject" and len(first) != total:
        raise InvalidData(
            f"{total - len(first)} rows repeat a key",
            remedy="clean the data, or let the task group duplicates",
        )
    return list(first), np.fromiter(first.values(), np.int64, len(first))


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

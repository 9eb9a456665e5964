"""`intersection`: which keys two owners have in common, or only how many, by elliptic-curve Diffie-Hellman PSI.

Keys are typed and composite. The output goes to the designated receivers, which are among the two owners: with this protocol
the party that learns the matches learns them from its own rows.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidTask, MalformedDocument, OutputRefused
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.psi.curve25519 import POINT
from tallystick_node.engines.psi.ecdh import intersect, tag_bytes
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost, Outcome, Workload, require_owners_compute
from tallystick_node.workloads.keys import KeyRules, distinct, key_columns
from tallystick_node.workloads.reading import TaskParameters

MODES = ("ids", "cardinality")
RESULT = "matches.csv"
BIND_BYTES = 72 + 32  # what the protocol sends before the first key


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``keys``: for each owner its key columns, in the order of the rules' types."""

    keys: Mapping[str, tuple[str, ...]]
    rules: KeyRules
    mode: Literal["ids", "cardinality"]
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        fields = Fields(dict(value), ("keys", "types", "fold", "duplicates", "mode", "minimum_group"), "parameters")
        keys = dict(fields.items("keys", 2, 2, key_columns))
        rules = KeyRules.read(fields, value["types"], "parameters")
        if any(len(columns) != len(rules.types) for columns in keys.values()):
            raise MalformedDocument("parameters.keys: each owner names one column for each type")
        mode: Any = fields.choice("mode", MODES)
        return cls(keys, rules, mode, fields.integer("minimum_group", 2, 1000))


class Intersection(Workload):
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
        items, rows = distinct(parameters.rules, keys)
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

"""`intersection-sum`: how many keys two owners have in common, and the sums of one owner's columns over them, and no more.

One owner, the *holder*, has numbers beside its keys; the other, the *joiner*, has keys only. Neither learns which keys match.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidData, InvalidTask, MalformedDocument, OutputRefused
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.psi.join_sum import KEY_BITS, MAX_ITEMS, TooFewMatches, bytes_sent, join_and_sum, number_bound
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost, Outcome, Workload, require_owners_compute
from tallystick_node.workloads.keys import KeyRules, commit, distinct, key_columns
from tallystick_node.workloads.reading import TaskParameters

MAX_COLUMNS = 16


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``keys``: for each owner its key columns, in the order of the rules' types; ``sums``: the holder's columns, each with its
    scale."""

    keys: Mapping[str, tuple[str, ...]]
    rules: KeyRules
    holder: str
    sums: Mapping[str, int]
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        names = ("keys", "types", "fold", "duplicates", "holder", "sums", "minimum_group")
        fields = Fields(dict(value), names, "parameters")
        keys = dict(fields.items("keys", 2, 2, key_columns))
        rules = KeyRules.read(fields, value["types"], "parameters")
        if any(len(columns) != len(rules.types) for columns in keys.values()):
            raise MalformedDocument("parameters.keys: each owner names one column for each type")
        holder = fields.address("holder")
        if holder not in keys:
            raise MalformedDocument("parameters.holder: one of the two owners in keys")
        listed = fields.items("sums", 1, MAX_COLUMNS, _column)
        sums = dict(listed)
        if len(sums) != len(listed) or set(sums) & set(keys[holder]):
            raise MalformedDocument("parameters.sums: different columns that are not key columns")
        return cls(keys, rules, holder, sums, fields.integer("minimum_group", 2, 1000))


def _column(value: Any, where: str) -> tuple[str, int]:
    fields = Fields(value, ("name", "scale"), where)
    return fields.string("name", 128), fields.integer("scale", 0, 9)


class IntersectionSum(Workload):
    """The workload `intersection-sum`."""

    name = "intersection-sum"
    proofs: tuple[str, ...] = ("signed-by-all",)
    kernels: tuple[str, ...] = ("intersection",)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a join of two owners with receivers among them."""
        parameters = Parameters.parse(spec.parameters)
        require_owners_compute(spec)
        owners = [part.party for part in spec.inputs]
        if len(owners) != 2 or set(parameters.keys) != set(owners):
            raise InvalidTask("a join has two owners, each with its key columns", remedy="name both in keys")
        if not set(spec.receivers) <= set(owners):
            raise InvalidTask(
                "the receivers of a join are among its owners",
                remedy="let an owner receive; it can pass the result on under its own responsibility",
            )
        for part in spec.inputs:
            if set(part.columns) != set(self.columns(spec, part.party)):
                raise InvalidTask("an input's columns are not its keys and the columns to sum", party=part.party)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The party's key columns, and the columns that the holder sums."""
        parameters = Parameters.parse(spec.parameters)
        return (*parameters.keys[party], *(parameters.sums if party == parameters.holder else ()))

    def compared(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The other: whoever receives, one learns how many keys match or what they add up to."""
        return [part.party for part in spec.inputs if part.party != party]

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """Secure against one owner who follows the protocol."""
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=1,
            parties=2,
            computational_bits=126,
            statistical_bits=40,
            trusted=(),
            learns={
                "owner": "how many distinct keys the other owner has, and whether the minimum is reached",
                "owner of keys only": "how many keys match, below the minimum too",
                "receiver": "how many keys match, and the sums over them: not which",
                "public": "the spec and who took part",
            },
            references=(
                "Ion et al., EuroS&P 2020: decisional Diffie-Hellman in Curve25519, the hash to the curve as a random oracle",
                f"Paillier, EUROCRYPT 1999, with {KEY_BITS} bits: decisional composite residuosity",
            ),
        )

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of the owner who sends more, which is the holder but for much shorter tables than the other's."""
        parameters = Parameters.parse(spec.parameters)
        (joiner,) = set(parameters.keys) - {parameters.holder}
        holds, joins = rows.get(parameters.holder, 0), rows.get(joiner, 0)
        return Cost(
            bytes_sent=max(bytes_sent(holds, joins, holds=True), bytes_sent(joins, holds, holds=False)),
            rounds=6,
            seconds=3.0 + 7e-4 * holds + 5e-5 * (holds + joins),
            memory_bytes=150_000_000 + 300 * (holds + joins),
        )

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one owner's side. Raises OutputRefused when this owner has fewer keys than the minimum, or fewer match."""
        assert table is not None  # every party of this workload is an owner
        parameters = Parameters.parse(spec.parameters)
        session.progress("preparing the keys", 0.05)
        items, first = distinct(parameters.rules, table.select(list(parameters.keys[party])))
        remedy = "use a larger dataset"
        if len(items) < parameters.minimum_group:
            raise OutputRefused(f"an owner has fewer than {parameters.minimum_group} distinct keys", remedy=remedy)
        if len(items) > MAX_ITEMS:
            raise InvalidData(f"more than {MAX_ITEMS} distinct keys", remedy="use a smaller dataset")
        numbers = _numbers(table.take(pa.array(first)), parameters.sums) if party == parameters.holder else None
        commitment, opening = commit(items, b"" if numbers is None else numbers.tobytes())
        (scratch / "opening.json").write_text(json.dumps(opening))
        session.mark("join")
        try:
            found = join_and_sum(
                session,
                items,
                numbers,
                peer=1 - session.index,
                columns=len(parameters.sums),
                receivers=[spec.parties.index(account) for account in spec.receivers],
                minimum=parameters.minimum_group,
                context=session.context,
            )
        except TooFewMatches:
            raise OutputRefused(f"fewer than {parameters.minimum_group} keys match", remedy=remedy) from None
        if found.sums is None:
            return Outcome(commitment=commitment, all_commitments=["", ""])
        sums = {
            name: f"{Decimal(f'{total}E-{scale}'):f}"
            for (name, scale), total in zip(parameters.sums.items(), found.sums, strict=True)
        }
        return Outcome(commitment=commitment, all_commitments=["", ""], result={"matches": found.matches, "sums": sums})


def _numbers(table: pa.Table, sums: Mapping[str, int]) -> NDArray[np.int64]:
    """One row for each key. Raises InvalidData for an empty cell, another type or scale, or a number whose sums could not fit."""
    bound = number_bound(table.num_rows)
    columns = []
    for name, scale in sums.items():
        field, column = table.schema.field(name), table.column(name)
        if field.type != pa.int64() or int((field.metadata or {}).get(b"scale", b"0")) != scale:
            raise InvalidData(
                f"column {name!r} is no number with {scale} digits after the point", remedy="say the column's own scale in `sums`"
            )
        if column.null_count:
            raise InvalidData(f"column {name!r} has empty cells in rows with a key", remedy="fill them, or leave the rows out")
        numbers = column.to_numpy()
        if len(numbers) and not (-bound <= numbers.min() and numbers.max() < bound):
            raise InvalidData(f"column {name!r} has numbers beyond {bound} at its scale", remedy="use a smaller scale")
        columns.append(numbers)
    return np.ascontiguousarray(np.stack(columns, axis=1))

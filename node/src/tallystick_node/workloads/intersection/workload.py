"""`intersection`: which keys two to eight owners have in common, or, of two, only how many; and what one of two has beside them.

Keys are typed and composite. The output goes to the designated receivers, which are among the owners: with these protocols
the party that learns the matches learns them from its own rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.psi import multi_party, parts, unbalanced
from tallystick_node.engines.psi.handshake import Intersection as Found
from tallystick_node.engines.psi.handshake import Prediction
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.labelled import Labelled, intersect_labelled, predict_labelled
from tallystick_node.engines.psi.labels import Bytes, Labels
from tallystick_node.engines.psi.openings import Check, Show
from tallystick_node.engines.psi.two_party import chosen, intersect, predict
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost, Outcome, Workload, require_owners_compute
from tallystick_node.workloads.intersection.labels import LabelTerms
from tallystick_node.workloads.intersection.openings import Checker, Shower
from tallystick_node.workloads.intersection.parameters import ASSUMES, MALICIOUS, MANY, UNBALANCED, Parameters
from tallystick_node.workloads.keys import commit, distinct

RESULT = "matches"  # the file's name, before its format
BATCH = 1 << 16  # matches that are written at a time
PARTS = "parts"  # the folder of what a large intersection has found, from one attempt to the next
OPENED = 2500  # bytes of a row of a few keys that is opened, about
START = 1.0  # seconds that the worker processes take to begin


class Intersection(Workload):
    """The workload `intersection`."""

    name = "intersection"
    proofs: tuple[str, ...] = ("signed-by-all",)
    kernels: tuple[str, ...] = ("intersection",)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is an intersection of its owners with receivers among them."""
        parameters = Parameters.parse(spec.parameters)
        require_owners_compute(spec)
        owners = [part.party for part in spec.inputs]
        if set(parameters.keys) != set(owners):
            raise InvalidTask("the owners are not those that have keys in the task", remedy="name every owner in keys")
        if not set(spec.receivers) <= set(owners):
            raise InvalidTask(
                "the receivers of an intersection are among its owners",
                remedy="let an owner receive; it can pass the result on under its own responsibility",
            )
        if parameters.protocol in (MALICIOUS, UNBALANCED) and len(spec.receivers) != 1:
            raise InvalidTask(
                f"{parameters.protocol} has one receiver: the other would have to take its word for the matches",
                remedy="name one receiver, or ask for two tasks",
            )
        if parameters.openings and len(spec.receivers) != 1:
            raise InvalidTask("openings are of one receiver, who shows rows to the other owner", remedy="name one receiver")
        for part in spec.inputs:
            if set(part.columns) != set(self.columns(spec, part.party)):
                raise InvalidTask("an input's columns are not its key columns, and those of labels", party=part.party)
        if parameters.labels is not None and (len(spec.receivers) != 1 or parameters.labels.party in spec.receivers):
            raise InvalidTask(
                "labels are for one receiver, who is the other owner",
                remedy="let the owner that labels does not name receive, alone",
            )

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The party's key columns, and the columns of its labels."""
        parameters = Parameters.parse(spec.parameters)
        given = parameters.labels
        return (*parameters.keys[party], *(given.names if given is not None and given.party == party else ()))

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """Against one owner, or all but one of many, who follow the protocol unless that is for others."""
        parameters = Parameters.parse(spec.parameters)
        owners = len(parameters.keys)
        receives = "which of its own keys match" if parameters.mode == "ids" else "how many keys match"
        if parameters.labels is not None:
            receives += f", and with each the other owner's cells in {', '.join(parameters.labels.names)}"
        other = "how many distinct keys the other owner has" if owners == 2 else "how many distinct keys each owner has"
        if parameters.openings:
            other += f", and {parameters.openings} of the receiver's rows in each attempt, drawn by a coin"
        colluding = {"colluding owners": "which keys of their receiver those who do not collude all have"} if owners > 2 else {}
        return SecurityStatement(
            adversary="malicious-with-abort" if parameters.protocol == MALICIOUS else "semi-honest",
            corruptions=owners - 1,
            parties=owners,
            computational_bits=126 if parameters.may_run("ecdh") or parameters.may_run(UNBALANCED) else 128,
            statistical_bits=40,
            trusted=(),
            learns={
                "owner": other,
                "receiver": receives,
                "public": "the spec and who took part",
                **colluding,
            },
            references=tuple(reference for each in ASSUMES if parameters.may_run(each) for reference in ASSUMES[each]),
        )

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """That of the owner who sends more, for the protocol that these numbers of rows choose."""
        parameters = Parameters.parse(spec.parameters)
        found = _predict(spec, parameters, rows)
        return Cost(
            bytes_sent=max(found.bytes_sent) + OPENED * parameters.openings,
            rounds=found.rounds + 2 * (parameters.openings > 0),
            seconds=START + found.seconds + 1.5e-6 * sum(rows.get(part.party, 0) for part in spec.inputs),
            memory_bytes=150_000_000 + found.memory_bytes,
        )

    def compared(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """All, unless the party alone receives."""
        return [part.party for part in spec.inputs if part.party != party and set(spec.receivers) != {party}]

    def shown_rows(self, spec: TaskSpec, party: str) -> Mapping[str, int]:
        """Of a receiver that opens rows, to the other owner."""
        number = Parameters.parse(spec.parameters).openings
        return {each.party: number for each in spec.inputs if number and party in spec.receivers and each.party != party}

    def kept(self, spec: TaskSpec) -> Sequence[str]:
        """Of `unbalanced` the holder's tags, at the holder and at the receiver."""
        parameters = Parameters.parse(spec.parameters)
        if parameters.protocol != UNBALANCED:
            return ()
        return [parameters.table_name(part.dataset, part.party) for part in spec.inputs if part.party not in spec.receivers]

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
        given = parameters.labels
        labels = given.encode(table.select(list(given.names)).take(pa.array(rows))) if given and given.party == party else None
        commitment, opening = commit(items, b"" if labels is None else labels.tobytes())
        (scratch / "opening.json").write_text(json.dumps(opening))
        session.mark("intersect")
        found, ran = _intersect(spec, parameters, items, keys, labels, session, scratch)
        nobody = [""] * len(spec.parties)
        if found.cardinality is None:
            return Outcome(commitment=commitment, all_commitments=nobody)
        values: dict[str, Any] = {"cardinality": found.cardinality, "mode": parameters.mode, "protocol": ran}
        files = {}
        if found.positions is not None:
            path = scratch / f"{RESULT}.{parameters.format}"
            unreadable = _write(path, keys, rows[found.positions], given, found.labels)
            if given is not None:
                values["labels"] = {"columns": list(given.names), "unreadable": unreadable}
            values["file"] = {"name": path.name, "sha256": _file_digest(path), "rows": found.cardinality}
            files[path.name] = path
        return Outcome(commitment=commitment, all_commitments=nobody, result=values, files=files)


def _intersect(
    spec: TaskSpec, parameters: Parameters, items: Items, keys: pa.Table, labels: Bytes | None, session: Session, scratch: Path
) -> tuple[Found, str]:
    """What was found, and by which protocol. ``labels``: the rows beside the items, at the owner that gives them."""
    receivers = [spec.parties.index(account) for account in spec.receivers]
    if parameters.protocol == UNBALANCED:
        return _ask_or_hold(spec, parameters, items, labels, session, scratch), UNBALANCED
    shows, checks = _openings(spec, parameters, items, keys, session) if parameters.openings else (None, None)
    if parameters.labels is not None:
        protocol, beside = _labelled(parameters), Labels(parameters.labels.width, labels)
        terms: dict[str, Any] = {"peer": 1 - session.index, "receiver": receivers[0], "context": session.context}
        terms |= {"shows": shows, "checks": checks, "folder": scratch / PARTS}
        return intersect_labelled(session, items, beside, protocol=protocol, **terms), protocol
    if len(parameters.keys) > 2:
        parties, context = range(session.parties), session.context
        return multi_party.intersect_all(session, items, parties=parties, receivers=receivers, context=context), MANY
    found = intersect(
        session,
        items,
        peer=1 - session.index,
        receivers=receivers,
        mode=parameters.mode,
        protocol=parameters.protocol,
        context=session.context,
        folder=scratch / PARTS,
        shows=shows,
        checks=checks,
    )
    return found, chosen(parameters.protocol, parameters.mode, len(items), found.peer_items)


def _labelled(parameters: Parameters) -> Labelled:
    return "rr22-malicious" if parameters.protocol == MALICIOUS else "rr22"


def _openings(
    spec: TaskSpec, parameters: Parameters, items: Items, keys: pa.Table, session: Session
) -> tuple[Show | None, Check | None]:
    """What this owner shows or checks. Raises OutputRefused and InvalidData where it cannot."""
    if len(items) > parts.UNCUT:
        raise InvalidData(f"rows of more than {parts.UNCUT} keys cannot be opened", remedy="ask for no openings")
    number, rules, receiver = parameters.openings, parameters.rules, spec.receivers[0]
    columns = parameters.keys[receiver]
    if spec.parties[session.index] != receiver:
        return None, Checker(number, session.versions[1 - session.index], rules, columns)
    assert session.registered is not None  # its node gives it, by `shown_rows`
    return Shower(number, session.registered, keys, rules, columns, items), None


def _ask_or_hold(
    spec: TaskSpec, parameters: Parameters, items: Items, labels: Bytes | None, session: Session, scratch: Path
) -> Found:
    """The receiver asks, the other holds; each keeps its side of the holder's tags in a folder that outlives the run."""
    asker = spec.parties.index(spec.receivers[0])
    (name,) = Intersection().kept(spec)
    folder = (session.kept or scratch) / name
    version = hashlib.sha256(name.encode() + session.versions[1 - asker]).digest()
    width = 0 if parameters.labels is None else parameters.labels.width
    if session.index == asker:
        if len(items) > unbalanced.MAX_ASKED:
            raise InvalidData(f"more than {unbalanced.MAX_ASKED} keys are asked for", remedy="use another protocol")
        found = unbalanced.ask(session, 1 - asker, items, version, folder / "held", width)
        return Found(found.number, found.places, len(found.places), found.labels if width else None)
    prepared = unbalanced.kept(
        folder / "tags",
        version,
        lambda: items,
        lambda fraction: session.progress("preparing the tags", fraction),
        width,
        None if labels is None else lambda: labels,
        session.executor,
    )
    return Found(unbalanced.serve(session, asker, prepared), None, None)


def _predict(spec: TaskSpec, parameters: Parameters, rows: Mapping[str, int]) -> Prediction:
    sizes = {number: rows.get(account, 0) for number, account in enumerate(spec.parties)}
    receivers = [spec.parties.index(account) for account in spec.receivers]
    if len(sizes) > 2:
        return multi_party.predict(sizes, receivers)
    width = 0 if parameters.labels is None else parameters.labels.width
    if parameters.protocol == UNBALANCED:
        return unbalanced.predict((sizes[0], sizes[1]), receivers[0], width)
    if width:
        return predict_labelled(_labelled(parameters), (sizes[0], sizes[1]), receivers[0], width)
    return predict(parameters.protocol, parameters.mode, (sizes[0], sizes[1]), receivers)


def _write(path: Path, table: pa.Table, places: NDArray[np.int64], given: LabelTerms | None, labels: Bytes | None) -> int:
    """The rows at ascending places, and the labels beside them, some at a time, so that memory holds few of them; with the columns'
    types in Parquet. Returns how many cells of labels could not be read."""
    kind = pa.parquet.ParquetWriter if path.suffix == ".parquet" else pa.csv.CSVWriter
    schema = table.schema if given is None else pa.schema([*table.schema, *given.fields])
    unreadable = 0
    with kind(path, schema) as writer:
        for start in range(0, len(places), BATCH):
            part = places[start : start + BATCH]
            near = table.slice(part[0], part[-1] - part[0] + 1)  # taking from the whole table looks into all of it
            columns = near.take(pa.array(part - part[0])).columns
            if given is not None and labels is not None:
                more, wrong = given.decode(labels[start : start + BATCH])
                columns, unreadable = [*columns, *more], unreadable + wrong
            writer.write_table(pa.table(columns, schema=schema))
    return unreadable


def _file_digest(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            state.update(part)
    return canonical.text(state.digest())

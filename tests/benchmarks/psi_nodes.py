"""The workload `intersection` between two nodes, beside SPU's PSI on the same files: by ECDH, and by RR22."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tallystick.client import Client
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import NotFound
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import TaskSpec
from tallystick.testing.network import Network
from tallystick_node.data.connect import open_table
from tallystick_node.engines.channel import Session
from tallystick_node.workloads.intersection.workload import Intersection

from benchmarks.parties import measure
from benchmarks.peers import python_with

REPEATS = 3
SPU = "spu==0.9.5"


def run_ecdh() -> dict[str, Any]:
    """ECDH-PSI of 2^18 ids a side, half of them common: two nodes over mutual TLS, beside SPU in the same run."""
    return _compare(18, "ecdh", "ECDH-PSI (Curve25519)")


def run_small() -> dict[str, Any]:
    """RR22-PSI of 2^16 ids a side, half of them common: two nodes over mutual TLS, beside SPU's in the same run."""
    return _compare(16, "rr22", "RR22-PSI (fast mode)")


def run_million() -> dict[str, Any]:
    """RR22-PSI of 2^20 ids a side, half of them common: two nodes over mutual TLS, beside SPU's in the same run."""
    return _compare(20, "rr22", "RR22-PSI (fast mode)")


def _compare(log_items: int, protocol: str, peer_name: str) -> dict[str, Any]:
    """Ours: the time that the nodes' own statement gives, from the start of the run to the end of the worker processes: reading
    the CSV files, the protocol, the result file. Each node has a spare worker, as by default. SPU: ``psi_execute`` on the same
    files, over plain TCP, whose processes have begun and met before its time starts. ``begun`` are ours measured like that: the
    same work in two processes that are joined by TLS.
    """
    interpreter = python_with("spu", SPU)
    ours: list[float] = []
    peer: list[float] = []
    with tempfile.TemporaryDirectory() as name, Network(Path(name) / "network") as network:
        folder = Path(name)
        _write(folder, 1 << log_items)
        owners = [network.join(each) for each in ("Left", "Right")]
        for rank, owner in enumerate(owners):
            (owner.data / "ids.csv").write_bytes((folder / f"{rank}.csv").read_bytes())
        network.launch(*owners, link_seconds=120, spare_workers=1)
        clients = [network.client(owner) for owner in owners]
        receiver = clients[0]
        published = {c.account: c.publish("ids", "ids.csv", [Column("id", "string", nullable=False)])[0] for c in clients}
        terms = {"purpose": "benchmark", "algorithms": ["intersection"], "columns": ["id"], "receivers": [receiver.account]}
        grants = {c.account: c.grant(published[c.account], receiver.account, uses=REPEATS + 1, **terms) for c in clients}
        parameters = {
            "keys": [{"party": account, "columns": ["id"]} for account in published],
            "types": ["string"],
            "fold": False,
            "duplicates": "reject",
            "mode": "ids",
            "protocol": protocol,
            "minimum_group": 10,
        }
        for number in range(REPEATS + 1):  # the first compiles and warms up, and is not counted
            spec = receiver.draft(
                "intersection",
                parameters,
                grants,
                {account: ["id"] for account in published},
                receivers=[receiver.account],
                purpose="benchmark",
                proof="signed-by-all",
            )
            task = receiver.submit(spec, grants.values())
            state = receiver.wait(task, 600)
            if state != "Proved":
                sys.exit(f"the task ended {state}")
            statement = statement_of(receiver, task, folder / f"bundle{number}")
            answer = subprocess.run(
                [str(interpreter), str(Path(__file__).parent / "peers" / "spu_psi.py"), protocol, str(folder)],
                capture_output=True,
                text=True,
                check=True,
            )
            found = json.loads(answer.stdout.splitlines()[-1])
            sys.stderr.write(f"ours {statement.cost.seconds_ms / 1000:.2f} s, SPU {found['seconds']:.2f} s\n")
            if number:
                ours.append(statement.cost.seconds_ms / 1000)
                peer.append(found["seconds"])
            if found["intersection"] != 1 << log_items - 1:
                sys.exit("SPU found another intersection")
        paths = {owner.account: owner.data / "ids.csv" for owner in owners}
        variants = (protocol, "rr22-malicious") if protocol == "rr22" else (protocol,)
        begun = {}
        for each in variants:
            content = replace(spec, parameters=parameters | {"protocol": each}).to_bytes()
            begun[each] = measure(2, _nothing, partial(_side, content, paths), 2)
    middle = statistics.median(ours)
    other = statistics.median(peer)
    malicious = {"ratio_malicious": begun["rr22-malicious"].median / other} if len(variants) == 2 else {}
    return {
        "ours": middle,
        "unit": "s",
        "peer": f"SPU {SPU.split('==')[1]} {peer_name}",
        "peer_value": other,
        "ratio": middle / other,
        "items": 1 << log_items,
        "bytes": statement.cost.bytes,
        "ratio_begun": begun[protocol].median / other,
        **malicious,
        "begun": {each: found.row() for each, found in begun.items()},
        "runs": [{"ours": a, "peer_value": b, "ratio": a / b} for a, b in zip(ours, peer, strict=True)],
    }


def _nothing(_session: Session) -> None:
    pass


def _side(content: bytes, paths: dict[str, Path], session: Session, _state: None) -> None:
    """What a worker does, without its beginning."""
    spec = TaskSpec.parse(content)
    party = spec.parties[session.index]
    with tempfile.TemporaryDirectory() as scratch:
        table = open_table(paths[party], [Column("id", "string", nullable=False)], Path(scratch))
        Intersection().run(spec, party, table, session, Path(scratch))


def _write(folder: Path, size: int) -> None:
    """Ids of 16 hex digits, half of each side's common to both, in random order."""
    order = random.Random(size)
    ids = [f"{i * 0x9E3779B97F4A7C15 % 2**64:016x}" for i in range(1, size + size // 2 + 1)]
    for rank, side in enumerate((ids[:size], ids[size // 2 :])):
        order.shuffle(side)
        (folder / f"{rank}.csv").write_text("id\n" + "\n".join(side) + "\n")


def statement_of(client: Client, task: str, folder: Path) -> Statement:
    """The statement of a proved task, from the bundle of the client's own node."""
    for _ in range(100):
        try:
            bundle = Bundle.read(client.bundle(task, client.account, folder))
            return Statement.parse(Envelope.parse(bundle.statement).payload)
        except NotFound:
            time.sleep(0.1)
    sys.exit("the node does not give the bundle")

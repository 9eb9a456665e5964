"""Four hospitals train; one is killed, or hangs, and the others finish, with its absence on record."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from integration.processes import anchor, number, patiently, stopped, until, workers
from integration.story.conftest import PURPOSE, data
from integration.story.test_training import COLUMNS, parameters
from tallystick.chain.contract import Event
from tallystick.client import Client
from tallystick.client.result_files import beside
from tallystick.protocol import canonical
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import PROJECTION_ABSENT
from tallystick.protocol.verify import verify_bundle
from tallystick.provenance.build import build
from tallystick.testing.network import Institution, Network
from tallystick.wire import node_pb2
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.fl.aggregation.base import coordinators

pytestmark = pytest.mark.slow
ROUNDS = 24


class Town:
    """The network and its actors. Alder asks and receives; all own data."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.hospitals: list[Institution] = [network.join(name) for name in ("Alder", "Birch", "Cedar", "Dogwood")]
        data.deal([who.data for who in self.hospitals])
        network.launch(*self.hospitals, link_seconds=20)
        self.clients: list[Client] = [network.client(who) for who in self.hospitals]
        self.alder = self.clients[0]
        self.datasets = {c.account: c.publish("clinical", "clinical.csv", data.CLINICAL)[0] for c in self.clients}

    def train(self) -> str:
        """Submit a training that may end without one owner."""
        terms: dict[str, Any] = {"algorithms": ["training"], "columns": COLUMNS, "receivers": [self.alder.account], "uses": 5}
        grants = {c.account: c.grant(self.datasets[c.account], self.alder.account, purpose=PURPOSE, **terms) for c in self.clients}
        asked = parameters() | {"minimum_group": 10}
        asked["schedule"] |= {"rounds": ROUNDS, "epochs": 30, "batch": 4}
        spec = self.alder.draft(
            "training",
            asked,
            grants,
            dict.fromkeys(grants, COLUMNS),
            proof=PROJECTION_ABSENT[0],
            receivers=[self.alder.account],
            purpose=PURPOSE,
            corruptions=1,
        )
        return self.alder.submit(spec, list(grants.values()))

    def events(self, task: str, name: str) -> list[Event]:
        chain = self.network.governor.chain
        return [e for e in chain.events(0, chain.head()) if e.name == name and e["task"] == canonical.unhex32(task)]

    def done(self, client: Client, task: str) -> int:
        """How many rounds are done, by what a client's own node says."""
        status = client.nodes.call(client.account, "GetTask", node_pb2.TaskRequest(task=task))
        found = re.match(r"round (\d+) of", status.phase)
        return int(found[1]) if found else 0

    @contextmanager
    def idle(self, task: str) -> Iterator[Institution]:
        """When some rounds are done: an owner that coordinates neither of the next two, and does not receive. All stand still as
        long as the block takes."""
        until(lambda: self.done(self.alder, task) >= 3)
        with stopped(*(worker for who in self.hospitals for worker in workers(who))):
            yield self.chosen(task, max(self.done(client, task) for client in self.clients))

    def chosen(self, task: str, done: int) -> Institution:
        assert 3 <= done < ROUNDS - 4
        started = self.events(task, "Started")[0]
        deployment = self.network.deployment
        context = context_of(deployment.chain_id, deployment.contracts["ProofRegistry"], canonical.unhex32(task), 1)
        session = replace(local_sessions(4)[0], context=context, beacon=bytes.fromhex(started.block_hash[2:]))
        parties = sorted(self.hospitals, key=lambda who: int(who.account, 16))
        order = [parties[place] for place in coordinators(session, range(4), done)]
        return next(who for who in order[2:] if who is not self.hospitals[0])

    def require_absent(self, task: str, gone: Institution, folder: Path) -> None:
        """The task is proved, by all others, who say who was absent; everything that was asked for is there."""
        assert self.alder.wait(task, 300) == "Proved"
        (absent,) = self.events(task, "PartiesAbsent")
        assert absent["parties"] == [gone.account]
        paths = {path.name: path for path in patiently(lambda: self.alder.result(task, folder / "result"))}
        (place, *_) = patiently(lambda: [self.alder.bundle(task, self.alder.account, folder / "bundle")])
        bundle = Bundle.read(place)
        content = paths["result.json"].read_bytes()
        report = verify_bundle(
            bundle,
            trusted_blocks=[anchor(self.network, task)],
            contracts=self.network.deployment.contracts,
            result_file=content,
            files=beside(paths["result.json"], content),
            aggregate=[paths["aggregate.bin"].read_bytes()],
        )
        report.require(complete=True)
        assert gone.account in report.rules[11].detail and report.rules[12].detail == "3 parties, 1 absent"
        envelope = Envelope.parse(bundle.statement)
        stated = Statement.parse(envelope.payload)
        assert stated.absent == (gone.account,) and set(envelope.signatures) == {c.account for c in self.clients} - {gone.account}
        assert canonical.decode(content, 1 << 20)["values"]["rounds"] == ROUNDS
        debits = {each["grant"]: each["used"] for each in self.events(task, "Debited")}
        assert list(debits.values()) == [1] * 4  # its data were used until it left

        chain = self.network.governor.chain
        head = chain.head()
        graph = build(chain.events(0, head), chain_id=chain.deployment.chain_id, block=head, block_hash="", bundles=[bundle])
        (edge,) = [each for each in graph.edges if each.relation == "was absent from the end of" and task in each.target]
        assert gone.account in edge.source


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Network(tmp_path / "network", kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Town(network)


def test_owners_that_die_or_hang_are_absent_and_the_trainings_are_proved(town: Town, tmp_path: Path) -> None:
    task = town.train()
    with town.idle(task) as gone:
        town.network.halt(gone, by=signal.SIGKILL)
    town.network.launch(gone, link_seconds=20)  # it finds that it was in a run, and leaves that to the others
    town.require_absent(task, gone, tmp_path / "killed")
    client = town.clients[town.hospitals.index(gone)]
    until(lambda: [each.state for each in client.nodes.watch(gone.account, task)][-1] == "proved")
    assert not town.events(task, "Failed")
    until(lambda: any(b"attempt 1 without this party" in each for each in client.audit(gone.account, "run")))

    task = town.train()
    with ExitStack() as hung:
        with town.idle(task) as gone:
            hung.enter_context(stopped(number(gone)))
        hung.enter_context(stopped(*workers(gone)))
        town.require_absent(task, gone, tmp_path / "hung")
    assert not town.events(task, "Failed")

"""Two banks compute in a realm at one of them, whose evidence no contract can check: nodes ask verifiers, and wait for enough."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.enclave import realm
from integration.processes import anchor, patiently, until
from tallystick.attestation.cca import verify_cca
from tallystick.attestation.documents import write_evidence, write_policy
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.verifier import Evidence
from tallystick.client import Client
from tallystick.protocol import canonical
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import Refused
from tallystick.protocol.fields import order
from tallystick.protocol.proof.attested import Appraisal, EnclaveTerms
from tallystick.protocol.proof.quorum import KIND, QuorumTerms
from tallystick.protocol.proof.subject import subject_of
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import TaskSpec
from tallystick.protocol.verify import verify_bundle
from tallystick.testing.network import Institution, Network
from tallystick.wire import node_pb2
from unit.attestation.test_cca import Platform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

QUERY = b"SELECT count(*) AS group_size, sum(north.balance + east.balance) AS total FROM north JOIN east USING (person)"
COLUMNS = [Column("person", "string"), Column("balance", "int64")]
NAMES, PURPOSE = ("north", "east"), "risk/joint exposure"
ALGORITHM = hashlib.sha256(QUERY).digest()


class World:
    """North asks and receives, East hosts the realm. One, Two and Three may vouch; Three's node never runs."""

    def __init__(self, network: Network) -> None:
        self.network, self.arm = network, Platform()
        self.banks = [network.join(name) for name in NAMES]
        self.verifiers = [network.join(name) for name in ("one", "two", "three")]
        for number, bank in enumerate(self.banks):
            rows = "".join(f"P-{person},{person}\n" for person in range(number, 30 + number))
            (bank.data / "accounts.csv").write_text("person,balance\n" + rows)
        self.policy = AppraisalPolicy("arm", cca_platforms=frozenset({self.arm.fingerprint}))
        shown = Evidence(realm.token(self.arm, bytes(64)), self.arm.endorsements)
        self.identity = verify_cca(shown.raw, self.arm.endorsements, self.policy.cca_platforms).identity
        self.endorsements, self.keys = network.folder / "endorsements.json", network.folder / "realm.pem"
        self.endorsements.write_bytes(write_evidence(shown))
        self.keys.write_bytes(realm.saved(self.arm))
        quorum = network.governor.chain.quorum
        for each in self.verifiers:
            quorum.name_verifier(each.account)
        quorum.set_threshold(2)
        quorum.allow(self.identity)
        self.floor = {"cca_platforms": [self.arm.fingerprint.hex()]}
        self.launch_banks()
        self.north, self.east = (network.client(bank) for bank in self.banks)

    def launch_banks(self) -> None:
        policy = {"workloads": ["enclave"], "appraisal": self.floor}
        north, east = self.banks
        self.network.launch(north, link_seconds=60, policy=policy)
        device = {"enclave_device": "cca", "enclave_endorsements": str(self.endorsements)}
        config = self.network.write_settings(east, link_seconds=60, policy=policy, **device)
        with (east.folder / "node.log").open("ab") as log:
            east.process = subprocess.Popen(
                [sys.executable, realm.__file__, "run", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "REALM_KEYS": str(self.keys)},
                start_new_session=True,
            )
        self.network._await(east)

    def vouch(self, verifier: Institution) -> None:
        """Start a verifier's node."""
        self.network.launch(verifier, policy={"vouches": True, "appraisal": self.floor})

    def submit(self, **changes: Any) -> str:
        clients: list[Client] = [self.north, self.east]
        terms: dict[str, Any] = {"purpose": PURPOSE, "algorithms": [f"enclave:{canonical.text(ALGORITHM)}"]}
        terms |= {"columns": ["person", "balance"], "receivers": [self.north.account], "uses": 1}
        datasets = [client.publish("accounts", "accounts.csv", COLUMNS)[0] for client in clients]
        grants = {
            client.account: client.grant(dataset, self.north.account, **terms)
            for client, dataset in zip(clients, datasets, strict=True)
        }
        named = sorted((each.account for each in self.verifiers), key=order)
        parameters = {
            "algorithm": {"kind": "sql", "content": QUERY.decode()},
            "enclave": EnclaveTerms(ALGORITHM, (self.identity,)).to_json(),
            "attestation": {"family": "hardware", "policy": json.loads(write_policy(self.policy))},
            "quorum": QuorumTerms(tuple(named), 2, self.policy.digest).to_json(),
            "tables": [{"party": client.account, "name": name} for client, name in zip(clients, NAMES, strict=True)],
            "limits": {"memory_mib": 128, "seconds": 60, "fuel": 0, "output_bytes": 10_000},
            "minimum_group": 10,
            **changes,
        }
        read = {account: ["person", "balance"] for account in grants}
        asked: dict[str, Any] = {"receivers": [self.north.account], "purpose": PURPOSE, "compute": [self.east.account]}
        spec = self.north.draft(
            "enclave", parameters, grants, read, proof=KIND.name, attempts=1, corruptions=0, run_seconds=600, **asked
        )
        return self.north.submit(spec, grants.values())

    def waiting(self, client: Client, task: str) -> bool:
        status = client.nodes.call(client.account, "GetTask", node_pb2.TaskRequest(task=task))
        return status.phase == "waiting for verifiers"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Network(tmp_path_factory.mktemp("quorum"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield World(network)


def test_parties_wait_until_enough_verifiers_vouch_and_one_that_never_comes_costs_nothing(world: World, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cca_platforms"):  # a key that no party's operator named
        other = AppraisalPolicy("other", cca_platforms=frozenset({bytes(32)}))
        quorum = QuorumTerms(tuple(sorted((each.account for each in world.verifiers), key=order)), 2, other.digest)
        world.submit(attestation={"family": "hardware", "policy": json.loads(write_policy(other))}, quorum=quorum.to_json())
    one, two, _ = world.verifiers
    world.vouch(one)
    task = world.submit()
    for client in (world.north, world.east):
        until(lambda client=client: world.waiting(client, task), 240)
    world.vouch(two)
    assert world.north.wait(task, 240) == "Proved"

    paths = {path.name: path for path in patiently(lambda: world.north.result(task, tmp_path / "result"))}
    people = range(1, 30)
    assert paths["result.csv"].read_text() == f"group_size,total\n{len(people)},{2 * sum(people)}\n"
    content = paths["result.json"].read_bytes()
    assert json.loads(content)["values"]["evidence"] == "attested, hardware"
    for client in (world.north, world.east):  # each has a proof that holds by itself
        bundle = Bundle.read(patiently(lambda client=client: client.bundle(task, client.account, tmp_path / client.account)))
        given: dict[str, Any] = {"trusted_blocks": [anchor(world.network, task)], "contracts": world.network.deployment.contracts}
        report = verify_bundle(
            bundle, **given, result_file=content, appraisal=Appraisal(paths["evidence.json"].read_bytes(), world.policy)
        )
        report.require(complete=True)
        assert "2 of 3 verifiers vouch" in report.rules[15].detail
        assert "evidence appraised: attested, hardware, cca" in report.rules[15].detail
        stated = Statement.parse(Envelope.parse(bundle.statement).payload)
        vouched = KIND.vouched_by(subject_of(stated, TaskSpec.parse(bundle.spec).parties), bundle.proof)
        assert set(vouched) == {one.account, two.account}
    for verifier in (one, two):
        records = world.network.client(verifier).audit(verifier.account, "statement")
        assert [AuditRecord.parse(each).task for each in records] == [task]

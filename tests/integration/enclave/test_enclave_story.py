"""Three banks join and sum in an enclave at one of them: only the receiver reads, uses are counted, the chain checks the quote."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from integration.processes import anchor, patiently
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.chain.enclaves import key_words, register_platform
from tallystick.client import Client, GrantFile
from tallystick.protocol import canonical
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import NotFound, Refused, TallystickError
from tallystick.protocol.proof.attested import Appraisal
from tallystick.protocol.verify import verify_bundle
from tallystick.testing.network import Network
from tallystick_node.workloads.enclave_trial import answer, chain_of
from wasmtime import wat2wasm

pytestmark = pytest.mark.slow

PURPOSE = "risk/joint exposure"
NAMES = ("north", "east", "south")
COLUMNS = [Column("person", "string"), Column("balance", "decimal", 2)]
QUERY = b"""SELECT count(*) AS group_size, sum(north.balance + east.balance + south.balance) AS total
FROM north JOIN east USING (person) JOIN south USING (person)"""
LIMITS = {"memory_mib": 128, "seconds": 60, "fuel": 0, "output_bytes": 10_000}
FUEL: dict[str, dict[str, int]] = {"sql": {}, "python": {}, "wasm": {"fuel": 10_000_000}}
FUNCTION = b"""from statistics import median
from tallystick_node.engines.tee.tables import decode

def run(inputs):
    return str(median(cell for each in inputs for cell in decode(each).columns[0].cells)).encode()
"""
HOWTO = Path(__file__).parents[3] / "docs/how-to/compute-in-an-enclave.md"
MODULE = bytes(wat2wasm(re.findall(r"```wat\n(.*?)```", HOWTO.read_text(), re.DOTALL)[0]))  # adds up the first columns
MINIMUM = 10


class Banks:
    """The network: East hosts the enclave, North asks and receives. Bank number n has the people n, ..., 29 + n."""

    def __init__(self, network: Network) -> None:
        self.network = network
        homes = [network.join(name) for name in NAMES]
        for number, home in enumerate(homes):
            rows = "".join(f"P-{person},{person}.25\n" for person in range(number, 30 + number))
            (home.data / "accounts.csv").write_text("person,balance\n" + rows)
        now = int(time.time())
        authority = ProvisioningAuthority((now - 1_000, now + 100_000))
        self.fingerprint = canonical.hex32(authority.fingerprint)
        exported, secret = authority.export(b"word"), os.urandom(32)
        paths = {network.folder / "authority.json": exported, network.folder / "word": b"word"}
        for path, content in {**paths, homes[1].folder / "platform.secret": secret}.items():
            path.touch(0o600)
            path.write_bytes(content)
        simulation = network.governor.chain.simulation
        simulation.name_authority(*key_words(authority.intermediate))
        register_platform(network.governor.chain, chain_of(exported.decode(), "word", secret.hex()).encode())
        self.simulation = simulation
        network.launch(
            *homes,
            spare_workers=0,
            link_seconds=60,
            enclave_authority=str(network.folder / "authority.json"),
            enclave_password_file=str(network.folder / "word"),
            policy={"workloads": ["enclave"], "simulations": [self.fingerprint]},
        )
        self.clients: list[Client] = [network.client(home) for home in homes]
        self.datasets = [client.publish("accounts", "accounts.csv", COLUMNS)[0] for client in self.clients]
        self.host, self.receiver = self.clients[1].account, self.clients[0].account

    def grants(self, code: bytes, uses: int) -> dict[str, GrantFile]:
        """For this code alone."""
        digest = hashlib.sha256(code).hexdigest()
        terms: dict[str, Any] = {"purpose": PURPOSE, "algorithms": [f"enclave:sha256:{digest}"], "columns": ["person", "balance"]}
        return {
            client.account: client.grant(dataset, self.receiver, receivers=[self.receiver], uses=uses, **terms)
            for client, dataset in zip(self.clients, self.datasets, strict=True)
        }

    def named(self, code: bytes, kind: str = "sql") -> dict[str, Any]:
        asked = {"kind": kind, "code": base64.b64encode(code), "limits": LIMITS | FUEL[kind], "minimum_group": MINIMUM}
        return answer(asked)

    def submit(
        self,
        grants: dict[str, GrantFile],
        code: bytes,
        kind: str = "sql",
        columns: Sequence[str] = ("person", "balance"),
        **change: Any,
    ) -> str:
        named = self.named(code, kind)
        parameters = {
            "algorithm": {"kind": kind, "content": base64.b64encode(code).decode() if kind == "wasm" else code.decode()},
            "enclave": {"algorithm": named["algorithm"], "identities": [named["identity"]]},
            "attestation": {"family": "simulated", "authority": self.fingerprint},
            "tables": [{"party": client.account, "name": name} for client, name in zip(self.clients, NAMES, strict=True)],
            "limits": LIMITS | FUEL[kind],
            "minimum_group": MINIMUM,
            **change,
        }
        read = {account: list(columns) for account in grants}
        asked: dict[str, Any] = {"receivers": [self.receiver], "purpose": PURPOSE, "compute": [self.host], "corruptions": 0}
        spec = self.clients[0].draft("enclave", parameters, grants, read, proof="attested-simulated", attempts=1, **asked)
        return self.clients[0].submit(spec, grants.values())


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Banks]:
    with Network(tmp_path_factory.mktemp("banks"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Banks(network)


def test_three_banks_sum_over_common_people_and_only_the_receiver_reads(banks: Banks, tmp_path: Path) -> None:
    grants = banks.grants(QUERY, 1)
    banks.simulation.allow(canonical.untext(banks.named(QUERY)["identity"]))
    task = banks.submit(grants, QUERY)
    north, east, south = banks.clients
    assert north.wait(task, 120) == "Proved"
    paths = {path.name: path for path in patiently(lambda: north.result(task, tmp_path / "result"))}
    people = range(2, 30)
    assert (
        paths["result.csv"].read_text()
        == f"group_size,total\n{len(people)},{sum(3 * each for each in people) + 0.75 * len(people):.2f}\n"
    )
    content = paths["result.json"].read_bytes()
    values = json.loads(content)["values"]
    assert (values["evidence"], values["status"]) == ("attested, simulated", "contraindicated")
    salted = canonical.unhex32(values["salt"]) + paths["result.csv"].read_bytes()
    assert values["output"] == canonical.text(hashlib.sha256(salted).digest())
    document = paths["evidence.json"].read_bytes()
    for bank in (east, south):
        with pytest.raises(NotFound):
            bank.result(task, tmp_path / "none")
    bundle = Bundle.read(patiently(lambda: south.bundle(task, south.account, tmp_path / "bundle")))
    blocks, contracts = [anchor(banks.network, task)], banks.network.deployment.contracts
    policy = AppraisalPolicy("auditor", simulations=frozenset({canonical.unhex32(banks.fingerprint)}))
    given = {"trusted_blocks": blocks, "contracts": contracts, "result_file": content}
    verify_bundle(bundle, **given, appraisal=Appraisal(document, policy)).require(complete=True)
    assert verify_bundle(bundle, **given, appraisal=Appraisal(document, AppraisalPolicy("hardware only"))).failed == (16,)
    with pytest.raises(TallystickError):  # the grants' only use
        banks.submit(grants, QUERY)


def test_other_code_another_root_and_an_enclave_that_the_chain_does_not_allow_are_refused(banks: Banks, tmp_path: Path) -> None:
    grants = banks.grants(QUERY, 5)
    with pytest.raises(Refused) as refused:
        banks.submit(grants, QUERY + b" ")
    assert "is not allowed" in str(refused.value)
    with pytest.raises(Refused) as refused:
        banks.submit(grants, QUERY, attestation={"family": "simulated", "authority": "0x" + "11" * 32})
    assert "accepts no evidence of the simulated authority" in str(refused.value)
    unknown = QUERY + b"\n"  # another enclave, which the governor has not allowed
    other = banks.submit(banks.grants(unknown, 5), unknown)
    assert banks.clients[0].wait(other, 120) == "Failed"
    with pytest.raises(NotFound):
        banks.clients[0].result(other, tmp_path / "none")
    assert "the enclave is not allowed on chain" in (banks.network.institutions["south"].folder / "node.log").read_text()


@pytest.mark.parametrize(("kind", "code"), [("wasm", MODULE), ("python", FUNCTION)])
def test_a_module_and_a_reviewed_function_run_over_real_nodes(banks: Banks, tmp_path: Path, kind: str, code: bytes) -> None:
    banks.simulation.allow(canonical.untext(banks.named(code, kind)["identity"]))
    task = banks.submit(banks.grants(code, 1), code, kind, ("balance",))
    assert banks.clients[0].wait(task, 120) == "Proved"
    paths = {path.name: path for path in patiently(lambda: banks.clients[0].result(task, tmp_path / "result"))}
    cents = sorted(100 * person + 25 for number in range(3) for person in range(number, 30 + number))
    if kind == "wasm":
        assert int.from_bytes(paths["result.bin"].read_bytes(), "little") == sum(cents)
    else:
        middle = len(cents) // 2
        assert float(paths["result.bin"].read_text()) == (cents[middle - 1] + cents[middle]) / 2

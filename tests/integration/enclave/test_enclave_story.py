"""Four banks join and sum in an enclave at one of them: only the receiver reads, uses are counted, the chain checks the quote."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from integration.processes import anchor, patiently
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.chain.enclaves import key_words, register_platform
from tallystick.client import Client, GrantFile
from tallystick.protocol import canonical
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import NotFound, Refused
from tallystick.protocol.proof.attested import Appraisal
from tallystick.protocol.verify import verify_bundle
from tallystick.testing.network import Network
from tallystick_node.engines.tee.manifest import EnclaveManifest
from tallystick_node.workloads.enclave.parameters import PUBLISHER, read_limits
from tallystick_node.workloads.enclave.trial import answer, chain_of
from wasmtime import wat2wasm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PURPOSE = "risk/joint exposure"
NAMES = ("north", "east", "south", "west")
COLUMNS = [Column("person", "string"), Column("balance", "decimal", 2)]
MODEL = [Column("part", "string"), Column("place", "int64"), Column("value", "string")]
QUERY = b"""SELECT count(*) AS group_size, sum(north.balance + east.balance + south.balance + west.balance) AS total
FROM north JOIN east USING (person) JOIN south USING (person) JOIN west USING (person)"""
LIMITS = {"memory_mib": 128, "seconds": 60, "fuel": 0, "output_bytes": 10_000}
OF_KIND: dict[str, dict[str, int]] = {
    "sql": {},
    "python": {},
    "wasm": {"fuel": 10_000_000},
    "learn": {"seconds": 300},  # of which scikit-learn takes most, as its sources are read anew
}
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
        self._named: dict[tuple[bytes, str], dict[str, Any]] = {}
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
        published = (client.publish("accounts", "accounts.csv", COLUMNS)[0] for client in self.clients)
        self.datasets = dict(zip(NAMES, published, strict=True))
        self.host, self.receiver = self.clients[1].account, self.clients[0].account

    def grants(self, code: bytes, uses: int, datasets: Mapping[str, str] | None = None) -> dict[str, GrantFile]:
        """For this code alone, of each bank's dataset by the bank's name, with all its columns."""
        digest = hashlib.sha256(code).hexdigest()
        terms: dict[str, Any] = {"purpose": PURPOSE, "algorithms": [f"enclave:sha256:{digest}"]}
        given = {}
        for name, dataset in (datasets or self.datasets).items():
            client, columns = self.clients[NAMES.index(name)], MODEL if dataset not in self.datasets.values() else COLUMNS
            named = [column.name for column in columns]
            given[client.account] = client.grant(
                dataset, self.receiver, receivers=[self.receiver], uses=uses, columns=named, **terms
            )
        return given

    def named(self, code: bytes, kind: str = "sql") -> dict[str, Any]:
        """As `tally enclave describe` names an enclave; of a training, which takes long to start, by what is measured alone."""
        if (code, kind) not in self._named:
            limits = LIMITS | OF_KIND[kind]
            if kind == "learn":
                manifest = EnclaveManifest(code, PUBLISHER, kind, limits=read_limits(limits, kind, MINIMUM))
                configuration = manifest.configuration(tuple(self.named(QUERY)["in_force"]))
                identity = hashlib.sha256(b"tallystick/tee/identity/v1\0" + manifest.measurement + configuration).digest()
                found = {"algorithm": canonical.text(hashlib.sha256(code).digest()), "identity": canonical.text(identity)}
            else:
                asked = {"kind": kind, "code": base64.b64encode(code), "limits": limits, "minimum_group": MINIMUM}
                found = answer(asked)
            self._named[code, kind] = found
        return self._named[code, kind]

    def submit(
        self,
        grants: dict[str, GrantFile],
        code: bytes,
        kind: str = "sql",
        columns: Sequence[str] = ("person", "balance"),
        names: Mapping[str, str] | None = None,
        **change: Any,
    ) -> str:
        """``names`` of tables, by bank, and ``columns`` of all but a model's."""
        named, names = self.named(code, kind), names or {name: name for name in NAMES}
        parameters = {
            "algorithm": {"kind": kind, "content": base64.b64encode(code).decode() if kind == "wasm" else code.decode()},
            "enclave": {"algorithm": named["algorithm"], "identities": [named["identity"]]},
            "attestation": {"family": "simulated", "authority": self.fingerprint},
            "tables": [{"party": self.clients[NAMES.index(bank)].account, "name": name} for bank, name in names.items()],
            "limits": LIMITS | OF_KIND[kind],
            "minimum_group": MINIMUM,
            **change,
        }
        model = {self.clients[NAMES.index(bank)].account for bank, name in names.items() if name == "model"}
        read = {account: [each.name for each in MODEL] if account in model else list(columns) for account in grants}
        asked: dict[str, Any] = {"receivers": [self.receiver], "purpose": PURPOSE, "compute": [self.host], "corruptions": 0}
        spec = self.clients[0].draft("enclave", parameters, grants, read, proof="attested-simulated", attempts=1, **asked)
        return self.clients[0].submit(spec, grants.values())


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Banks]:
    with Network(tmp_path_factory.mktemp("banks"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Banks(network)


def test_four_banks_sum_over_common_people_only_the_receiver_reads_and_the_fifth_call_is_refused(
    banks: Banks, tmp_path: Path
) -> None:
    grants = banks.grants(QUERY, 4)
    banks.simulation.allow(canonical.untext(banks.named(QUERY)["identity"]))
    task = banks.submit(grants, QUERY)
    north, *others = banks.clients
    assert north.wait(task, 300) == "Proved"
    paths = {path.name: path for path in patiently(lambda: north.result(task, tmp_path / "result"))}
    people = range(3, 30)
    total = sum(4 * each for each in people) + len(people)
    assert paths["result.csv"].read_text() == f"group_size,total\n{len(people)},{total:.2f}\n"
    content = paths["result.json"].read_bytes()
    values = json.loads(content)["values"]
    assert (values["evidence"], values["status"]) == ("attested, simulated", "contraindicated")
    salted = canonical.unhex32(values["salt"]) + paths["result.csv"].read_bytes()
    assert values["output"] == canonical.text(hashlib.sha256(salted).digest())
    document = paths["evidence.json"].read_bytes()
    for bank in others:
        with pytest.raises(NotFound):
            bank.result(task, tmp_path / "none")
    south = banks.clients[NAMES.index("south")]
    bundle = Bundle.read(patiently(lambda: south.bundle(task, south.account, tmp_path / "bundle")))
    blocks, contracts = [anchor(banks.network, task)], banks.network.deployment.contracts
    policy = AppraisalPolicy("auditor", simulations=frozenset({canonical.unhex32(banks.fingerprint)}))
    given = {"trusted_blocks": blocks, "contracts": contracts, "result_file": content}
    verify_bundle(bundle, **given, appraisal=Appraisal(document, policy)).require(complete=True)
    assert verify_bundle(bundle, **given, appraisal=Appraisal(document, AppraisalPolicy("hardware only"))).failed == (16,)
    for _ in range(3):
        assert north.wait(banks.submit(grants, QUERY), 300) == "Proved"
    with pytest.raises(Refused, match="0 left of 4") as refused:
        banks.submit(grants, QUERY)
    records = [AuditRecord.parse(raw) for bank in banks.clients for raw in bank.audit(bank.account, "refusal")]
    assert any(record.message == refused.value.message for record in records)


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
    assert banks.clients[0].wait(other, 300) == "Failed"
    with pytest.raises(NotFound):
        banks.clients[0].result(other, tmp_path / "none")
    assert "the enclave is not allowed on chain" in (banks.network.institutions["south"].folder / "node.log").read_text()


@pytest.mark.parametrize(("kind", "code"), [("wasm", MODULE), ("python", FUNCTION)])
def test_a_module_and_a_reviewed_function_run_over_real_nodes(banks: Banks, tmp_path: Path, kind: str, code: bytes) -> None:
    banks.simulation.allow(canonical.untext(banks.named(code, kind)["identity"]))
    task = banks.submit(banks.grants(code, 1), code, kind, ("balance",))
    assert banks.clients[0].wait(task, 300) == "Proved"
    paths = {path.name: path for path in patiently(lambda: banks.clients[0].result(task, tmp_path / "result"))}
    cents = sorted(100 * person + 25 for number in range(4) for person in range(number, 30 + number))
    if kind == "wasm":
        assert int.from_bytes(paths["result.bin"].read_bytes(), "little") == sum(cents)
    else:
        middle = len(cents) // 2
        assert float(paths["result.bin"].read_text()) == (cents[middle - 1] + cents[middle]) / 2


def test_a_model_is_trained_published_by_its_receiver_and_predicts_for_rows_of_others(banks: Banks, tmp_path: Path) -> None:
    training = json.dumps(
        {
            "do": "train", "combine": "join", "key": "person", "features": ["east.balance", "south.balance"],
            "label": "west.balance", "estimator": {"name": "LinearRegression"}, "standardise": True, "held_out": 0, "seed": 1,
            "give": "model",
        }
    ).encode()  # fmt: skip
    prediction = json.dumps({"do": "predict", "combine": "join", "key": "person", "model": "model"}).encode()
    for description in (training, prediction):
        banks.simulation.allow(canonical.untext(banks.named(description, "learn")["identity"]))
    north = banks.clients[0]

    def result(description: bytes, grants: dict[str, GrantFile], names: dict[str, str]) -> bytes:
        task = banks.submit(grants, description, "learn", names=names)
        assert north.wait(task, 600) == "Proved"
        folder = tmp_path / task
        return {path.name: path for path in patiently(lambda: north.result(task, folder))}["result.csv"].read_bytes()

    rows = {name: banks.datasets[name] for name in ("east", "south", "west")}
    model = result(training, banks.grants(training, 1, rows), {name: name for name in rows})
    (banks.network.institutions["north"].data / "model.csv").write_bytes(model)
    published = north.publish("model", "model.csv", MODEL)[0]
    given = {"east": banks.datasets["east"], "south": banks.datasets["south"], "north": published}
    names = {"east": "east", "south": "south", "north": "model"}
    told = result(prediction, banks.grants(prediction, 1, given), names).decode().splitlines()
    assert told[0] == "person,west.balance"
    found = {person: float(value) for person, _, value in (line.partition(",") for line in told[1:])}
    assert found == pytest.approx({f"P-{person}": person + 0.25 for person in range(2, 31)}, abs=1e-9)

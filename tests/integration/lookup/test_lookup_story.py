"""A bank looks clients up in a register over real nodes: found rows, evidence, debits, a new version, and what is refused."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.processes import anchor, patiently
from tallystick.client import GrantFile
from tallystick.protocol import canonical
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.dataset import Column, schema_digest
from tallystick.protocol.errors import Refused
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.verify import verify_bundle
from tallystick.testing.network import Institution, Network
from tallystick_node.runs.warm_up import ENGINES, warm

pytestmark = pytest.mark.slow

PURPOSE = "fraud/check"
REGISTER = [
    Column("person", "string"),
    Column("limit", "decimal", 2),
    Column("since", "date", nullable=True),
    Column("blocked", "bool"),
]
PEOPLE = {f"P-{number:05d}": [f"{number}.50", f"20{number % 25:02d}-03-01", str(number % 3 == 0).lower()] for number in range(2000)}
ASKED = ["P-00007", "P-99999", "P-01234", "P-00009"]
LOOKUPS = 8


class Desk:
    """The network: Register owns the table, Bank asks. A day's limit of two tasks and a half."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.homes: list[Institution] = [network.join(name) for name in ("Register", "Bank")]
        self.write(PEOPLE)
        (self.homes[1].data / "clients.csv").write_text("client\n" + "".join(f"{each}\n" for each in ASKED))
        for engine in set(ENGINES) & {"lookup"}:
            warm(engine)
        network.launch(*self.homes, policy={"workloads": ["lookup"], "lookups_per_day": 2 * LOOKUPS + 4})
        self.register, self.bank = (network.client(home) for home in self.homes)
        self.table = self.register.publish("register", "people.csv", REGISTER)[0]
        self.clients = self.bank.publish("clients", "clients.csv", [Column("client", "string")])[0]

    def write(self, people: dict[str, list[str]]) -> None:
        lines = ["person,limit,since,blocked", *(",".join([name, *cells]) for name, cells in people.items())]
        (self.homes[0].data / "people.csv").write_text("\n".join(lines) + "\n")

    def grants(self, lookups: int) -> dict[str, GrantFile]:
        """As many uses as lookups."""
        terms: dict[str, Any] = {"purpose": PURPOSE, "algorithms": ["lookup"], "receivers": [self.bank.account], "uses": lookups}
        columns = {self.register: ["person", "limit", "since", "blocked"], self.bank: ["client"]}
        return {
            each.account: each.grant(
                self.table if each is self.register else self.clients,
                self.bank.account,
                columns=columns[each],
                **terms,
            )
            for each in columns
        }

    def ask(self, grants: dict[str, GrantFile]) -> str:
        parameters = {
            "table": {"party": self.register.account, "keys": ["person"], "values": ["limit", "since", "blocked"]},
            "asker": {"party": self.bank.account, "keys": ["client"]},
            "types": ["string"],
            "fold": False,
            "duplicates": "reject",
            "lookups": LOOKUPS,
            "row_bytes": 32,
            "minimum_group": 1000,
        }
        spec = self.bank.draft(
            "lookup",
            parameters,
            grants,
            {self.register.account: ["person", "limit", "since", "blocked"], self.bank.account: ["client"]},
            receivers=[self.bank.account],
            purpose=PURPOSE,
            proof="signed-by-all",
        )
        return self.bank.submit(spec, grants.values())

    def proved(self, task: str, folder: Path) -> tuple[list[list[str]], dict[str, Any], Statement]:
        """The rows, the result's values and the statement of a task whose bundle verifies completely."""
        assert self.bank.wait(task, 300) == "Proved"
        paths = {path.name: path for path in patiently(lambda: self.bank.result(task, folder / "result"))}
        content = paths["result.json"].read_bytes()
        bundle = Bundle.read(patiently(lambda: self.bank.bundle(task, self.register.account, folder / "bundle")))
        contracts = self.network.deployment.contracts
        blocks = [anchor(self.network, task)]
        verify_bundle(bundle, trusted_blocks=blocks, contracts=contracts, result_file=content).require(complete=True)
        rows = list(csv.reader(paths["rows.csv"].read_text().splitlines()))
        return rows, json.loads(content)["values"], Statement.parse(Envelope.parse(bundle.statement).payload)

    def spent(self, grants: dict[str, GrantFile]) -> list[int]:
        return [self.bank.chain.grants.account_of(file.grant.id())["used"] for file in grants.values()]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Network(tmp_path_factory.mktemp("desk"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Desk(network)


def expected(people: dict[str, list[str]]) -> list[list[str]]:
    found = [[name, "true", *people[name]] if name in people else [name, "false", "", "", ""] for name in ASKED]
    return [["client", "found", "limit", "since", "blocked"], *found]


def test_lookups_a_new_version_and_refusals(desk: Desk, tmp_path: Path) -> None:
    grants = desk.grants(5 * LOOKUPS)
    rows, values, first = desk.proved(desk.ask(grants), tmp_path / "1")
    assert rows == expected(PEOPLE)
    assert (values["lookups"], values["keys"], values["found"]) == (LOOKUPS, 4, 3)
    commitments = {each.party: each.commitment for each in first.inputs}
    assert commitments[desk.register.account] == values["table"]
    assert desk.spent(grants) == [LOOKUPS] * 2  # the number, and nothing else, is on chain

    changed = {**PEOPLE, "P-01234": ["0.00", "2026-01-01", "true"], "P-99999": ["5.00", "", "false"]}
    desk.write(changed)
    descriptor = desk.register.attach("register", "people.csv", REGISTER)
    digests = (descriptor.digest(), canonical.untext(descriptor.root), schema_digest(descriptor))
    desk.register.chain.datasets.revise(canonical.unhex32(desk.table), *digests)
    rows, values, second = desk.proved(desk.ask(grants), tmp_path / "2")
    assert rows == expected(changed)
    assert values["table"] != commitments[desk.register.account]
    assert second.cost.bytes < first.cost.bytes / 2  # the queries, and of the table only what changed
    assert desk.spent(grants) == [2 * LOOKUPS] * 2

    with pytest.raises(Refused) as caught:  # a third of the day
        desk.ask(grants)
    assert "24 hours" in caught.value.message
    with pytest.raises(Refused) as caught:
        desk.ask(desk.grants(LOOKUPS - 1))
    assert f"an attempt takes {LOOKUPS} uses" in caught.value.message
    records = [AuditRecord.parse(record) for each in (desk.register, desk.bank) for record in each.audit(each.account, "refusal")]
    assert {record.rule for record in records} == {"lookup-rate", "grant-state"}  # the latter at the node that was asked first

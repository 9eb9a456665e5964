"""Three airlines find their common route-days in real flights, by every protocol, over real nodes: as a join finds them."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from integration.processes import anchor, patiently
from tallystick.client import Client, GrantFile
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import Refused
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.verify import verify_bundle
from tallystick.testing.network import Network
from tallystick_node.engines.psi.unbalanced import TAG
from tallystick_node.runs.warm_up import warm

sys.path.insert(0, str(Path(__file__).parents[3] / "docs" / "demo"))
import data

pytestmark = pytest.mark.slow

PURPOSE = "network/planning"
KEYS = ["origin", "dest", "date"]
CARRIERS = ("UA", "AA", "DL")


class Airlines:
    """The network: each airline has its route-days of half of 2013, and how many flights it had on each."""

    def __init__(self, network: Network) -> None:
        self.network = network
        homes = [network.join(name) for name in CARRIERS]
        self.frames = []
        for home, carrier in zip(homes, CARRIERS, strict=True):
            frame = data.routes(carrier)
            frame = frame[frame.date < "2013-07-01"]
            frame.to_csv(home.data / "routes.csv", index=False)
            self.frames.append(frame)
        for engine in ("intersection", "two-party", "hidden-join"):
            warm(engine)
        network.launch(*homes, link_seconds=60, spare_workers=1)
        self.clients: list[Client] = [network.client(home) for home in homes]
        self.datasets = [client.publish("routes", "routes.csv", data.ROUTES)[0] for client in self.clients]

    def grants(self, workload: str, owners: list[int]) -> dict[str, GrantFile]:
        first = self.clients[0].account
        terms: dict[str, Any] = {"purpose": PURPOSE, "algorithms": [workload], "columns": [*KEYS, "flights"]}
        return {
            self.clients[owner].account: self.clients[owner].grant(
                self.datasets[owner], first, receivers=[self.clients[each].account for each in owners], uses=9, **terms
            )
            for owner in owners
        }

    def parameters(self, owners: list[int], **change: Any) -> dict[str, Any]:
        keys = [{"party": self.clients[owner].account, "columns": KEYS} for owner in owners]
        rules = {"types": ["string", "string", "date"], "fold": False, "duplicates": "reject", "minimum_group": 10}
        return {"keys": keys, **rules, **change}

    def run(
        self, workload: str, parameters: dict[str, Any], grants: dict[str, GrantFile], receivers: list[int], **options: Any
    ) -> str:
        holder = parameters.get("holder")
        counted = [holder, *(each["party"] for each in parameters.get("columns", []))]
        counted.append(parameters.get("labels", {}).get("party"))
        columns = {account: [*KEYS, "flights"] if account in counted else KEYS for account in grants}
        accounts = [self.clients[each].account for each in receivers]
        asked = {"receivers": accounts, "purpose": PURPOSE, "proof": "signed-by-all", **options}
        spec = self.clients[0].draft(workload, parameters, grants, columns, **asked)
        return self.clients[0].submit(spec, grants.values())

    def proved(self, task: str, receiver: int, folder: Path) -> tuple[dict[str, Any], list[list[str]], Statement]:
        """The result's values, the rows of its file and the statement of a task whose bundle verifies completely."""
        client = self.clients[receiver]
        assert client.wait(task, 300) == "Proved"
        paths = {path.name: path for path in patiently(lambda: client.result(task, folder / "result"))}
        content = paths["result.json"].read_bytes()
        bundle = Bundle.read(patiently(lambda: client.bundle(task, client.account, folder / "bundle")))
        contracts = self.network.deployment.contracts
        blocks = [anchor(self.network, task)]
        verify_bundle(bundle, trusted_blocks=blocks, contracts=contracts, result_file=content).require(complete=True)
        rows = list(csv.reader(paths["matches.csv"].read_text().splitlines())) if "matches.csv" in paths else []
        return json.loads(content)["values"], rows, Statement.parse(Envelope.parse(bundle.statement).payload)

    def joint(self, *owners: int) -> pd.DataFrame:
        return reduce(lambda left, right: left.merge(right[KEYS], on=KEYS), [self.frames[owner] for owner in owners])


@pytest.fixture(scope="module")
def airlines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airlines]:
    with Network(tmp_path_factory.mktemp("airlines"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Airlines(network)


@pytest.mark.parametrize(("protocol", "adversary"), [("automatic", "semi-honest"), ("rr22-malicious", "malicious-with-abort")])
def test_two_airlines(airlines: Airlines, tmp_path: Path, protocol: str, adversary: str) -> None:
    parameters = airlines.parameters([0, 1], mode="ids", protocol=protocol)
    task = airlines.run("intersection", parameters, airlines.grants("intersection", [0, 1]), [0], adversary=adversary)
    values, rows, _ = airlines.proved(task, 0, tmp_path)
    joint = airlines.joint(0, 1)
    assert len(joint) > 1000
    assert rows == [KEYS, *joint[KEYS].astype(str).values.tolist()]
    assert (values["cardinality"], values["protocol"]) == (len(joint), "rr22" if protocol == "automatic" else protocol)


def test_an_airline_gets_the_other_ones_flights_on_common_route_days(airlines: Airlines, tmp_path: Path) -> None:
    labels = {"party": airlines.clients[1].account, "columns": [{"name": "flights", "type": "int64"}]}
    parameters = airlines.parameters([0, 1], mode="ids", protocol="rr22-malicious", labels=labels)
    with pytest.raises(Refused, match="'intersection:labels' is not allowed"):  # a grant of intersections does not include labels
        airlines.run("intersection", parameters, airlines.grants("intersection", [0, 1]), [0])
    grants = airlines.grants("intersection:labels", [0, 1])
    task = airlines.run("intersection", parameters, grants, [0], adversary="malicious-with-abort")
    values, rows, _ = airlines.proved(task, 0, tmp_path)
    joint = airlines.frames[0][KEYS].merge(airlines.frames[1], on=KEYS)
    assert len(joint) > 1000
    assert rows == [[*KEYS, "flights"], *joint[[*KEYS, "flights"]].astype(str).values.tolist()]
    assert values["labels"] == {"columns": ["flights"], "unreadable": 0}


def test_three_airlines(airlines: Airlines, tmp_path: Path) -> None:
    parameters = airlines.parameters([0, 1, 2], mode="ids", protocol="automatic", minimum_group=10)
    grants = airlines.grants("intersection", [0, 1, 2])
    task = airlines.run("intersection", parameters, grants, [0, 2], corruptions=2)
    joint = airlines.joint(0, 1, 2)
    for receiver in (0, 2):
        values, rows, _ = airlines.proved(task, receiver, tmp_path / str(receiver))
        assert values["protocol"] == "kmprt17"
        assert sorted(rows[1:]) == sorted(joint[KEYS].astype(str).values.tolist())


def test_a_prepared_airline_is_asked_twice(airlines: Airlines, tmp_path: Path) -> None:
    """The second task needs no tags: they are kept at both, for the registered version."""
    parameters = airlines.parameters([0, 1], mode="ids", protocol="unbalanced")
    grants = airlines.grants("intersection", [0, 1])
    bytes_ = []
    for number in range(2):
        task = airlines.run("intersection", parameters, grants, [0])
        _, rows, statement = airlines.proved(task, 0, tmp_path / str(number))
        assert rows[1:] == airlines.joint(0, 1)[KEYS].astype(str).values.tolist()
        bytes_.append(statement.cost.bytes)
    assert bytes_[0] - bytes_[1] == TAG * len(airlines.frames[1])


def test_flights_on_common_route_days(airlines: Airlines, tmp_path: Path) -> None:
    holder = airlines.clients[1].account
    sums = [{"name": "flights", "scale": 0}]
    parameters = airlines.parameters([0, 1], holder=holder, sums=sums)
    grants = airlines.grants("intersection-sum", [0, 1])
    task = airlines.run("intersection-sum", parameters, grants, [0])
    values, rows, _ = airlines.proved(task, 0, tmp_path)
    joint = airlines.joint(1, 0)
    assert values == {"matches": len(joint), "sums": {"flights": str(joint["flights"].sum())}}
    assert rows == []


def test_two_airlines_compare_common_route_days_that_neither_learns(airlines: Airlines, tmp_path: Path) -> None:
    accounts = [airlines.clients[each].account for each in (0, 1)]
    parameters = airlines.parameters(
        [0, 1],
        columns=[{"party": account, "column": "flights", "scale": 0, "bits": 10} for account in accounts],
        compute=["sum", "correlation"],
        group_by={"party": accounts[1], "column": "origin", "values": ["LGA", "JFK"]},
        ddof=1,
    )
    task = airlines.run("linked-statistics", parameters, airlines.grants("linked-statistics", [0, 1]), [0, 1])
    joint = airlines.frames[0].merge(airlines.frames[1], on=KEYS)
    for receiver in (0, 1):
        values, rows, _ = airlines.proved(task, receiver, tmp_path / str(receiver))
        assert rows == []
        for found in values["groups"]:
            group = joint[joint.origin == found["group"]]
            assert found["count"] == len(group) > 10
            assert [int(each["sum"]) for each in found["columns"]] == [group.flights_x.sum(), group.flights_y.sum()]
            assert float(found["correlation"][0][1]) == pytest.approx(group.flights_x.corr(group.flights_y))


def test_a_malicious_adversary_is_not_promised_by_a_semi_honest_protocol(airlines: Airlines) -> None:
    parameters = airlines.parameters([0, 1], mode="ids", protocol="rr22")
    with pytest.raises(Refused):
        airlines.run("intersection", parameters, airlines.grants("intersection", [0, 1]), [0], adversary="malicious-with-abort")

"""A chain and three enrolled institutions whose nodes' parts run in this process, one by one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "docs" / "demo"))
import data
from tallystick.client import Client, GrantFile
from tallystick.protocol import canonical
from tallystick.protocol.dataset import DatasetDescriptor, schema_digest
from tallystick.protocol.task import TaskSpec
from tallystick.testing.network import Institution, Network
from tallystick_node.data.attach import attach
from tallystick_node.settings import Policy
from tallystick_node.store.database import Store

PURPOSE = "health/research"
COLUMNS = ["mean radius", "diagnosis"]
PARAMETERS: dict[str, Any] = {
    "columns": [{"name": "mean radius", "scale": 4}],
    "compute": ["count", "mean"],
    "regression": None,
    "histograms": [],
    "where": [],
    "group_by": {"column": "diagnosis", "values": ["benign", "malignant"]},
    "minimum_group": 10,
    "ddof": 1,
}


@dataclass
class Consortium:
    """Alder asks and receives; Birch's node is the one under test; Cedar takes part. Outsider is enrolled and idle."""

    network: Network
    alder: Client
    birch: Client
    cedar: Client
    birch_home: Institution
    outsider: Institution
    store: Store
    policy: Policy = field(default_factory=Policy)
    datasets: dict[str, str] = field(default_factory=dict)

    @property
    def owners(self) -> list[Client]:
        return [self.alder, self.birch, self.cedar]

    def grants(self, **changes: Any) -> dict[str, GrantFile]:
        terms: dict[str, Any] = {
            "purpose": PURPOSE,
            "algorithms": ["statistics"],
            "columns": COLUMNS,
            "receivers": [self.alder.account],
            "uses": 3,
            **changes,
        }
        return {c.account: c.grant(self.datasets[c.account], self.alder.account, **terms) for c in self.owners}

    def draft(self, grants: dict[str, GrantFile], **changes: Any) -> TaskSpec:
        parameters = {**PARAMETERS, **changes.pop("parameters", {})}
        options: dict[str, Any] = {"receivers": [self.alder.account], "purpose": PURPOSE, "corruptions": 2, **changes}
        columns = options.pop("columns", dict.fromkeys(grants, COLUMNS))
        return self.alder.draft("statistics", parameters, grants, columns, proof="sum-verified", **options)

    def hand_over(self, grants: dict[str, GrantFile]) -> None:
        """What a requester gives to Birch's node with a task."""
        for file in grants.values():
            self.store.put_document("terms", file.terms.root(), file.terms.to_bytes())


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    with Network(tmp_path_factory.mktemp("consortium"), kind=os.environ.get("CHAIN", "anvil")) as network:
        homes = [network.join(name) for name in ("Alder", "Birch", "Cedar")]
        outsider = network.join("Outsider", ["regulator"])
        data.deal([home.data for home in homes])
        stores = [Store(f"sqlite:///{home.folder / 'node.db'}") for home in homes]
        clients = [network.client(home) for home in homes]
        made = Consortium(network, *clients, homes[1], outsider, stores[1])
        declared = canonical.encode([column.to_json() for column in data.CLINICAL])
        for client, home, store in zip(clients, homes, stores, strict=True):
            content = attach(store, home.data, home.account, "clinical", "clinical.csv", declared)
            descriptor = DatasetDescriptor.parse(content)
            roots = (descriptor.digest(), canonical.untext(descriptor.root), schema_digest(descriptor))
            receipt = client.chain.send("DatasetRegistry", "publish", *roots)
            made.datasets[client.account] = canonical.hex32(receipt.event("Published")["dataset"])
        yield made
        for store in stores:
            store.close()

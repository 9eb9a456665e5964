"""One network of real processes for all story tests: a chain, three hospitals, a regulator, data published and granted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.processes import patiently

sys.path.insert(0, str(Path(__file__).parents[3] / "docs" / "demo"))
import data
from tallystick.client import Client, GrantFile
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.task import TaskSpec
from tallystick.testing.network import Institution, Network

PURPOSE = "health/research"
COLUMNS = ["mean radius", "mean texture", "diagnosis"]


class Story:
    """The network and its actors. Alder asks and receives; Birch and Cedar give."""

    def __init__(self, network: Network, **settings: Any) -> None:
        self.network = network
        self.hospitals: list[Institution] = [network.join(name) for name in ("Alder", "Birch", "Cedar")]
        self.regulator = network.join("Regulator", ["regulator"])
        data.deal([who.data for who in self.hospitals])
        network.launch(*self.hospitals, **settings)
        self.clients: list[Client] = [network.client(who) for who in self.hospitals]
        self.alder, self.birch, self.cedar = self.clients
        self.datasets = {c.account: c.publish("clinical", "clinical.csv", data.CLINICAL)[0] for c in self.clients}

    def grants(self, **changes: Any) -> dict[str, GrantFile]:
        terms: dict[str, Any] = {
            "purpose": PURPOSE,
            "algorithms": ["statistics"],
            "columns": COLUMNS,
            "receivers": [self.alder.account],
            "uses": 5,
            **changes,
        }
        return {c.account: c.grant(self.datasets[c.account], self.alder.account, **terms) for c in self.clients}

    def spec(self, grants: dict[str, GrantFile], **changes: Any) -> TaskSpec:
        parameters = {
            "columns": [{"name": "mean radius", "scale": 4}, {"name": "mean texture", "scale": 4}],
            "compute": ["count", "sum", "mean", "std", "correlation"],
            "regression": None,
            "histograms": [],
            "where": [],
            "group_by": {"column": "diagnosis", "values": ["benign", "malignant"]},
            "minimum_group": 10,
            "ddof": 1,
            **changes.pop("parameters", {}),
        }
        options: dict[str, Any] = {"receivers": [self.alder.account], "purpose": PURPOSE, "corruptions": 2, **changes}
        columns = options.pop("columns", dict.fromkeys(grants, COLUMNS))
        return self.alder.draft("statistics", parameters, grants, columns, **{"proof": "sum-verified", **options})

    def run(self, spec: TaskSpec, grants: dict[str, GrantFile]) -> tuple[str, str]:
        """Submit and wait; the task's id and final state."""
        task = self.alder.submit(spec, grants.values())
        return task, self.alder.wait(task, 300)

    def result(self, task: str, folder: Path) -> bytes:
        paths = self.patiently(lambda: self.alder.result(task, folder))
        return next(path for path in paths if path.name == "result.json").read_bytes()

    def bundle(self, task: str, folder: Path) -> Bundle:
        return Bundle.read(self.patiently(lambda: self.alder.bundle(task, self.birch.account, folder)))

    patiently = staticmethod(patiently)


@pytest.fixture(scope="package")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Network(tmp_path_factory.mktemp("network"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Story(network)

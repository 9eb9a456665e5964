"""A network of five for secure computation: Alder and Birch own, Cedar and Dogwood compute, Elm asks and receives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from integration.processes import anchor, patiently, until
from sklearn.datasets import load_breast_cancer
from tallystick.client import Client, GrantFile
from tallystick.protocol.dataset import Column
from tallystick.protocol.task import TaskSpec
from tallystick.testing.network import Institution, Network
from tallystick.wire import node_pb2
from tallystick_node.engines.mpc import array as sa
from tallystick_node.runs.warm_up import ENGINES, warm

PURPOSE = "health/research"
PATIENCE = 60  # seconds, of every node with a silent one: some tests wait for their end
ALDER = ("id", "mean radius", "mean texture")
BIRCH = ("id", "mean smoothness", "mean symmetry", "malignant")
ROWS = {"alder": np.arange(0, 400), "birch": np.random.default_rng(1).permutation(np.arange(50, 450))}
TYPES = {
    "id": Column("id", "int64"),
    "malignant": Column("malignant", "int64"),
    "mean radius": Column("mean radius", "decimal", 4),
    "mean texture": Column("mean texture", "decimal", 4),
    "mean smoothness": Column("mean smoothness", "decimal", 5),
    "mean symmetry": Column("mean symmetry", "decimal", 5),
}


def patients() -> pd.DataFrame:
    """The people of whom Alder has measured some things and Birch others, by an id."""
    frame = load_breast_cancer(as_frame=True).frame
    return frame.assign(id=np.arange(len(frame)), malignant=1 - frame["target"])


class Five:
    """The network and its actors."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.homes: list[Institution] = [network.join(name) for name in ("Alder", "Birch", "Cedar", "Dogwood", "Elm")]
        frame = patients()
        for home, names, rows in zip(self.homes, (ALDER, BIRCH), ROWS.values(), strict=False):
            frame.iloc[rows][list(names)].to_csv(home.data / "patients.csv", index=False)
        for engine in ENGINES:
            warm(engine)  # at low priority, beside other tests, the nodes would take long
        computing = [home.account for home in self.homes[2:]]  # whom both owners let compute on their data
        network.launch(*self.homes, link_seconds=PATIENCE, policy={"compute": computing})
        self.clients: list[Client] = [network.client(home) for home in self.homes]
        self.alder, self.birch, self.cedar, self.dogwood, self.elm = self.clients
        self.datasets = {
            client.account: client.publish("patients", "patients.csv", [TYPES[name] for name in names])[0]
            for client, names in ((self.alder, ALDER), (self.birch, BIRCH))
        }

    def grants(
        self, algorithm: str, receivers: Sequence[Client], columns: Mapping[str, Sequence[str]], datasets: Mapping[str, str]
    ) -> dict[str, GrantFile]:
        """What the owners allow Elm."""
        return {
            client.account: client.grant(
                datasets[client.account],
                self.elm.account,
                purpose=PURPOSE,
                algorithms=[algorithm],
                columns=columns[client.account],
                receivers=[each.account for each in receivers],
                uses=3,
            )
            for client in (self.alder, self.birch)
        }

    def draft(
        self, workload: str, parameters: dict[str, Any], compute: Sequence[Client], receivers: Sequence[Client],
        columns: Mapping[str, Sequence[str]], *, datasets: Mapping[str, str] | None = None, **options: Any,
    ) -> tuple[TaskSpec, dict[str, GrantFile]]:  # fmt: skip
        """A task that Elm asks for on the owners' patients, or other ``datasets`` of theirs, and what they allow for it."""
        grants = self.grants(workload, receivers, columns, datasets or self.datasets)
        spec = self.elm.draft(
            workload,
            parameters,
            grants,
            columns,
            receivers=[each.account for each in receivers],
            compute=[each.account for each in compute],
            purpose=PURPOSE,
            proof="signed-by-all",
            **options,
        )
        return spec, grants

    def walk(self, rounds: int, protocol: str, compute: Sequence[Client], **options: Any) -> tuple[TaskSpec, dict[str, GrantFile]]:
        """A computation of which Elm learns the end: as many comparisons one after another as it has rounds."""
        owners = {self.alder.account: ["mean radius"], self.birch.account: ["malignant"]}

        def program(radius: sa.SecretArray, malignant: sa.SecretArray) -> None:
            for _ in range(rounds):
                radius = sa.where(radius < 10 + 10 * malignant, radius + 5, radius - 4)
            sa.reveal(radius, to=[self.elm.account], name="end")

        inputs = {
            "radius": sa.declare(self.alder.account, len(ROWS["alder"]), "mean radius"),
            "malignant": sa.declare(self.birch.account, len(ROWS["birch"]), "malignant", "integer"),
        }
        plan = sa.plan_of(program, inputs, [self.elm.account])
        value = {"plan": plan.to_json(), "protocol": protocol, "minimum_group": 10}
        return self.draft("computation", value, compute, [self.elm], owners, **options)

    def status(self, client: Client, task: str) -> node_pb2.TaskStatus:
        """What a node says of a task now."""
        return client.nodes.call(client.account, "GetTask", node_pb2.TaskRequest(task=task))

    def computing(self, task: str, *clients: Client) -> None:
        """Wait until these nodes' workers compute: the owners' shares have come."""

        def all_compute() -> bool:
            found = [self.status(client, task) for client in clients]
            assert all(each.state in ("received", "admitted", "running") for each in found), [each.state for each in found]
            return all(each.phase == "computing" and each.progress > 0.1 for each in found)

        until(all_compute)

    def anchor(self, task: str) -> bytes:
        return anchor(self.network, task)

    patiently = staticmethod(patiently)


def walked(rounds: int) -> np.ndarray:
    """Where the walk ends."""
    frame = patients()
    place = frame["mean radius"].to_numpy()[ROWS["alder"]]
    malignant = frame["malignant"].to_numpy()[ROWS["birch"]]
    for _ in range(rounds):
        place = np.where(place < 10 + 10 * malignant, place + 5, place - 4)
    return place


@pytest.fixture(scope="package")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Five]:
    with Network(tmp_path_factory.mktemp("five"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Five(network)

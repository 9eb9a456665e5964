"""An owner shows rows of what it registered to the other, between real nodes, where its grant allows that and not elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from integration.processes import anchor, patiently
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import Refused
from tallystick.protocol.verify import verify_bundle
from tallystick.testing.network import Network
from tallystick_node.runs.warm_up import warm

pytestmark = pytest.mark.slow


def test_a_receiver_shows_that_it_compared_what_it_registered(tmp_path: Path) -> None:
    with Network(tmp_path / "network", kind=os.environ.get("CHAIN", "anvil")) as network:
        homes = [network.join(name) for name in ("Left", "Right")]
        for number, home in enumerate(homes):
            ids = [f"id-{each}" for each in range(200 * number, 200 * number + 400)]
            (home.data / "ids.csv").write_text("id\n" + "\n".join(ids) + "\n")
        warm("intersection")
        network.launch(*homes, link_seconds=60)
        clients = [network.client(home) for home in homes]
        first = clients[0].account
        datasets = [client.publish("ids", "ids.csv", [Column("id", "string", nullable=False)])[0] for client in clients]
        parameters = {
            "keys": [{"party": client.account, "columns": ["id"]} for client in clients],
            "types": ["string"],
            "fold": False,
            "duplicates": "reject",
            "mode": "ids",
            "protocol": "rr22-malicious",
            "minimum_group": 10,
            "openings": 20,
        }
        columns = {client.account: ["id"] for client in clients}
        terms: dict[str, Any] = {"purpose": "openings", "algorithms": ["intersection"], "columns": ["id"], "uses": 2}
        asked: dict[str, Any] = {
            "receivers": [first],
            "purpose": "openings",
            "proof": "signed-by-all",
            "adversary": "malicious-with-abort",
        }

        narrow = {c.account: c.grant(d, first, receivers=[first], **terms) for c, d in zip(clients, datasets, strict=True)}
        with pytest.raises(Refused, match="opens 20 of this party's rows"):
            clients[0].submit(clients[0].draft("intersection", parameters, narrow, columns, **asked), narrow.values())

        both = [client.account for client in clients]
        wide = {c.account: c.grant(d, first, receivers=both, **terms) for c, d in zip(clients, datasets, strict=True)}
        task = clients[0].submit(clients[0].draft("intersection", parameters, wide, columns, **asked), wide.values())
        assert clients[0].wait(task, 300) == "Proved"
        paths = {path.name: path for path in patiently(lambda: clients[0].result(task, tmp_path / "result"))}
        assert json.loads(paths["result.json"].read_bytes())["values"]["cardinality"] == 200
        bundle = Bundle.read(patiently(lambda: clients[0].bundle(task, first, tmp_path / "bundle")))
        verify_bundle(
            bundle,
            trusted_blocks=[anchor(network, task)],
            contracts=network.deployment.contracts,
            result_file=paths["result.json"].read_bytes(),
        ).require(complete=True)

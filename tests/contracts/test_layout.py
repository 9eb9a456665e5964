"""Sizes and storage layouts of the deployed contracts, as contracts/snapshots/layout.json shows them in review."""

from __future__ import annotations

import json
from pathlib import Path

from tallystick.chain import artifacts

SNAPSHOT = Path(__file__).parents[2] / "contracts" / "snapshots" / "layout.json"
SIZE_LIMIT = 24_576  # bytes: EIP-170, which consortium chains keep by default


def test_every_contract_fits_on_any_chain_and_the_snapshot_is_of_these_artefacts() -> None:
    found = json.loads(SNAPSHOT.read_text())["contracts"]
    assert set(found) == set(artifacts.CONTRACTS)
    for name, layout in found.items():
        assert layout["bytes"] == len(artifacts.load(name).runtime) <= SIZE_LIMIT, name


def test_verifiers_keep_no_results_and_ledgers_only_private_tables() -> None:
    found = json.loads(SNAPSHOT.read_text())["contracts"]
    for name in artifacts.VERIFIERS:
        stored = [entry for entry in found[name]["storage"] if " threshold" not in entry]  # how many have to vouch
        tables = {
            "Groth16Verifier": 1,
            "HardwareVerifier": 2,
            "SimulationVerifier": 3,
            "QuorumVerifier": 2,
        }  # keys; enclaves, and platforms, authorities or verifiers
        assert len(stored) == tables.get(name, 0)
        assert all("mapping" in entry and " _" in entry for entry in stored)
    tables = [entry for entry in found["Settlement"]["storage"] if "mapping" in entry]
    assert len(tables) == 1 and "_escrows" in tables[0]
    assert found["Disputes"]["storage"][-1].endswith("t_mapping(t_bytes32,t_bytes32)")

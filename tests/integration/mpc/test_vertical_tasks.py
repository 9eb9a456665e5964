"""Regression, a split network and a transfer on two owners' columns, over real processes with their proofs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from integration.mpc.conftest import Five
from integration.mpc.test_tasks_of_every_kind import MALIGNANT, RADIUS, SYMMETRY, TEXTURE, feature, joint, split
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.verify import verify_bundle

pytestmark = pytest.mark.slow


def ran(five: Five, workload: str, parameters: dict[str, Any], receivers: list[Any], compute: list[Any], folder: Path) -> list[Any]:
    """The values of each receiver's result, whose bundle verifies, and the names of its files."""
    columns = {five.alder.account: ["id", RADIUS, TEXTURE], five.birch.account: ["id", SYMMETRY, MALIGNANT]}
    spec, grants = five.draft(workload, parameters, compute, receivers, columns)
    task = five.elm.submit(spec, grants.values())
    assert five.elm.wait(task, 300) == "Proved"
    found = []
    for number, owner in enumerate(receivers):
        paths = {
            path.name: path for path in five.patiently(lambda owner=owner, number=number: owner.result(task, folder / str(number)))
        }
        content = paths["result.json"].read_bytes()
        bundle = Bundle.read(
            five.patiently(lambda owner=owner, number=number: owner.bundle(task, owner.account, folder / f"bundle {number}"))
        )
        contracts = five.network.deployment.contracts
        verify_bundle(bundle, trusted_blocks=[five.anchor(task)], contracts=contracts, result_file=content).require(complete=True)
        found.append((json.loads(content)["values"], sorted(paths)))
    return found


def common(five: Five) -> dict[str, Any]:
    alder, birch = five.alder.account, five.birch.account
    features = [
        feature(alder, RADIUS, "14", "3.5"),
        feature(alder, TEXTURE, "19", "4.3"),
        feature(birch, SYMMETRY, "0.18", "0.027"),
    ]
    target = {"party": birch, "column": MALIGNANT, "values": ["0", "1"]}
    return {"split": split(five), "features": features, "target": target, "minimum_group": 10}


def test_vertical_regression(five: Five, tmp_path: Path) -> None:
    asked = {**common(five), "epochs": 1, "batch": 100, "rate": "1", "ridge": "0.01", "held_out": 30, "seed": 1, "key_bits": 2048}
    (label, files), (other, _) = ran(five, "vertical-regression", asked, [five.birch, five.alder], [], tmp_path)
    assert files == ["model-card.md", "model-part.json", "result.json"]
    assert label["rows"] + label["held_out"] == len(joint()) and float(label["validation"]["auc"]) > 0.9
    assert (label["weights"], other["weights"]) == (1, 2) and "validation" not in other


def test_a_split_network(five: Five, tmp_path: Path) -> None:
    asked = {
        **common(five), "bottom": [32], "cut": 8, "top": [32], "epochs": 30, "batch": 32, "rate": "0.1", "momentum": "0.5",
        "penalty": "0", "divergence": "10", "held_out": 30, "seed": 1,
    }  # fmt: skip
    (label, files), (other, _) = ran(five, "split-training", asked, [five.birch, five.alder], [], tmp_path)
    assert files == ["model-card.md", "model-part.safetensors", "result.json"]
    # Thirty rows, weights and noise from secrets: how good a model gets is the engine's tests' to say; no model at all has 0.5. The
    # layers are as wide as this because of few rectified numbers all may begin at zero, and then none of them ever learns.
    assert float(label["validation"]["auc"]) > 0.7 and "history" not in other


def test_a_transfer(five: Five, tmp_path: Path) -> None:
    asked = {**common(five), "width": 1, "alignment": "0.5", "penalty": "3", "protocol": "replicated", "fraction": 20}
    ((values, files),) = ran(five, "transfer", asked, [five.alder], [five.alder, five.birch, five.elm], tmp_path)
    assert files == ["result.json"] and values["rows"] == len(joint())
    weights = {each["column"]: float(each["value"]) for each in values["weights"]}
    assert list(weights) == [RADIUS, TEXTURE] and weights[RADIUS] > 0

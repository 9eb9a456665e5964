"""Boosted trees on two owners' columns over real processes: each owner gets its part, and together they are the pooled model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from integration.mpc.conftest import Five
from integration.mpc.test_tasks_of_every_kind import MALIGNANT, RADIUS, SYMMETRY, TERMS, TEXTURE, joint, split
from sklearn.metrics import roc_auc_score
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.verify import verify_bundle
from tallystick_node.engines.fl.vertical.parts import Branch, Part

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first of these tests waits for the kernels of all


def asked(five: Five, **changes: Any) -> dict[str, Any]:
    alder, birch = five.alder.account, five.birch.account
    return {
        "split": split(five),
        "features": [
            {"party": alder, "column": RADIUS},
            {"party": alder, "column": TEXTURE},
            {"party": birch, "column": SYMMETRY},
        ],
        "target": {"party": birch, "column": MALIGNANT, "values": ["0", "1"]},
        "trees": 3, "depth": 2, "bins": 8, "rate": "0.5", "penalty": "1", "child_weight": "0", "held_out": 0, "seed": 1,
        "minimum_group": 10,
        **changes,
    }  # fmt: skip


def parts_of(
    five: Five, workload: str, parameters: dict[str, Any], computing: tuple[Any, ...], folder: Path
) -> tuple[str, list[Part]]:
    """The task, and the parts of the owner of the label and of the other, from results whose bundles verify."""
    columns = {five.alder.account: ["id", RADIUS, TEXTURE], five.birch.account: ["id", SYMMETRY, MALIGNANT]}
    spec, grants = five.draft(workload, parameters, computing, [five.alder, five.birch], columns)
    task = five.elm.submit(spec, grants.values())
    assert five.elm.wait(task, 300) == "Proved"
    found = []
    for number, owner in enumerate((five.birch, five.alder)):
        paths = {
            path.name: path for path in five.patiently(lambda owner=owner, number=number: owner.result(task, folder / str(number)))
        }
        content = paths["result.json"].read_bytes()
        bundle = Bundle.read(
            five.patiently(lambda owner=owner, number=number: owner.bundle(task, owner.account, folder / f"bundle {number}"))
        )
        contracts = five.network.deployment.contracts
        verify_bundle(bundle, trusted_blocks=[five.anchor(task)], contracts=contracts, result_file=content).require(complete=True)
        found.append(Part.from_json(paths["model-part.json"].read_bytes()))
    return task, found


def scored_rows(parts: list[Part], people: pd.DataFrame) -> np.ndarray:
    """People's scores by a walk through both parts."""
    columns = {name: people[name].to_numpy() for name in (RADIUS, TEXTURE, SYMMETRY)}
    scores = np.full(len(columns[RADIUS]), parts[0].ensemble.base)
    for tree in parts[0].ensemble.trees:
        waiting = [(0, np.arange(len(scores)))]
        for place, rows in waiting:
            node = tree[place]
            if isinstance(node, Branch):
                split_ = parts[node.owner].splits[node.split]
                left = columns[parts[node.owner].features[split_.feature]][rows] <= split_.threshold
                waiting += [(node.left, rows[left]), (node.right, rows[~left])]
            else:
                scores[rows] += node.value
    return scores


def test_encrypted_and_on_shares(five: Five, tmp_path: Path) -> None:
    _, sealed = parts_of(five, "boosting", asked(five, key_bits=2048), (), tmp_path / "sealed")
    _, shared = parts_of(
        five, "shared-boosting", {**TERMS, **asked(five, fraction=20)}, (five.alder, five.birch, five.elm), tmp_path / "shared"
    )
    areas = [roc_auc_score(joint()[MALIGNANT], scored_rows(parts, joint())) for parts in (sealed, shared)]
    assert min(areas) > 0.93 and abs(areas[0] - areas[1]) < 0.01
    assert [part.features for part in sealed] == [(SYMMETRY,), (RADIUS, TEXTURE)]
